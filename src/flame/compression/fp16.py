"""Numbers of half the precision: relative errors of at most 2^-11 between 6.1e-5 and 65,504.

Finite numbers beyond that become 65,504 with their sign, those below 6.1e-5 come within 3.0e-8; NaN and the infinities
stay what they are.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flame.common.settings import refuse_others
from flame.compression import Bytes, Code
from flame.compression.planes import apart, together
from flame.weights.layout import Weights

HALF = np.dtype(np.float16)
LARGEST = 65504.0


class Half:
    """Every number as a float16; a quarter to a half of the bytes."""

    relative = False

    def __init__(self, **others: Any) -> None:
        refuse_others("compression", "fp16", others)

    def begin(self, weights: Weights) -> Code:
        """Nothing has to be known of the whole."""
        segments = weights.segments

        def code(number: int, where: slice) -> list[Bytes]:
            return apart(_halves(segments[number][where]))

        return code

    def fits(self, nbytes: int, count: int, dtype: np.dtype[Any]) -> bool:
        """Two bytes a number."""
        return nbytes == count * HALF.itemsize

    def state(self) -> Mapping[str, Any]:
        """Keeps nothing."""
        return {}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Needs nothing."""

    def unpack(self, coded: Bytes, out: NDArray[Any]) -> None:
        """Widen."""
        np.copyto(out, together(coded, HALF))


def _halves(values: NDArray[Any]) -> NDArray[np.float16]:
    if values.dtype == HALF:
        return values
    with np.errstate(over="ignore", invalid="ignore"):
        halves = values.astype(HALF)
        if np.isinf(halves).any():
            finite = np.isfinite(values)
            np.copyto(halves, np.clip(values, -LARGEST, LARGEST), where=finite, casting="unsafe")
    return halves
