"""Numbers that selectors choose by: measured by a worker, or said by a peer."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from flame.errors import RunError


def number_in(metrics: Mapping[str, Any], name: str) -> float | None:
    """A metric; None if there is none of that name. One that is not finite counts as 0: it teaches nothing."""
    value = metrics.get(name)
    if value is None:
        return None
    value = float(value)
    return value if math.isfinite(value) else 0.0


def in_bounds(said: object, name: str, selector: str, end: str) -> float:
    """A number that a peer has said, 0 or more.

    Raises:
        RunError: it has said none, or none that could be.
    """
    value = said.get(name) if isinstance(said, dict) else None
    if not isinstance(value, float) or not math.isfinite(value) or value < 0:
        raise RunError(
            f"{end} says no {name} that could be (it is {value!r:.40}), by which the selector {selector} chooses;"
            f" give the config of those that are asked the same selector"
        )
    return value
