"""Names for the plain values that go through many rooms."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

#: One number of a metric.
Scalar = bool | bytes | float | int | str

#: What a role reports for a round: a number under each name.
Metrics = Mapping[str, Scalar]

#: A model's tensors: a dict of them for torch, a list of arrays for numpy and Keras.
ModelWeights = Mapping[str, Any] | Sequence[Any]
