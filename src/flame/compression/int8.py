"""Numbers as multiples of a step, one step for every 256 of them: errors of at most 1/254 of the largest among them.

Symmetric, to the nearest. A block in which there is a NaN or an infinity comes out as NaN throughout: what was no
number is never taken for one.
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

BLOCK = 256
SINGLE = np.dtype(np.float32)
LEVELS = np.float32(127)


class Int8:
    """Every number as one of 255 levels between the largest of its block of 256 and minus that."""

    relative = False

    def __init__(self, **others: Any) -> None:
        refuse_others("compression", "int8", others)

    def begin(self, weights: Weights) -> Code:
        """Nothing has to be known of the whole."""
        segments = weights.segments

        def code(number: int, where: slice) -> list[Bytes]:
            steps, levels = _quantised(segments[number][where])
            return [*apart(steps), levels.view(np.uint8)]

        return code

    def fits(self, nbytes: int, count: int, dtype: np.dtype[Any]) -> bool:
        """A byte a number, and four for each block."""
        return nbytes == count + SINGLE.itemsize * _blocks(count)

    def state(self) -> Mapping[str, Any]:
        """Keeps nothing."""
        return {}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Needs nothing."""

    def unpack(self, coded: Bytes, out: NDArray[Any]) -> None:
        """Multiply."""
        first = SINGLE.itemsize * _blocks(out.size)
        steps, levels = together(coded[:first], SINGLE), coded[first:].view(np.int8)
        whole = out.size // BLOCK
        with np.errstate(over="ignore", invalid="ignore"):
            np.multiply(
                levels[: whole * BLOCK].reshape(whole, BLOCK),
                steps[:whole, None],
                out=out[: whole * BLOCK].reshape(whole, BLOCK),
                casting="unsafe",
            )
            if whole < len(steps):
                np.multiply(levels[whole * BLOCK :], steps[whole:], out=out[whole * BLOCK :], casting="unsafe")


def _blocks(count: int) -> int:
    return -(-count // BLOCK)


def _quantised(values: NDArray[Any]) -> tuple[NDArray[np.float32], NDArray[np.int8]]:
    """The step of every block, and the level of every number."""
    count, blocks = values.size, _blocks(values.size)
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        rows = values.astype(SINGLE)
        if count != blocks * BLOCK:
            rows = np.concatenate([rows, np.zeros(blocks * BLOCK - count, SINGLE)])
        rows = rows.reshape(blocks, BLOCK)
        steps = np.maximum(rows.max(axis=1), -rows.min(axis=1)) / LEVELS
        steps[~np.isfinite(steps)] = np.nan
        # A block of zeros has no step; a NaN divides to NaN, which has no level.
        np.divide(rows, np.where(steps > 0, steps, 1)[:, None], out=rows)
        rows[np.isnan(steps)] = 0
        np.clip(np.rint(rows, out=rows), -LEVELS, LEVELS, out=rows)
        return steps, rows.astype(np.int8).reshape(-1)[:count]
