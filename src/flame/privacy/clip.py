"""The L2 norm of an update, and what is done to one that is too large. Only floating-point numbers count."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flame.privacy.noise import BLOCK, Floats, Stream
from flame.weights.layout import Weights


def norm(update: Weights) -> float:
    """The L2 norm over all floating-point elements, summed in float64 and in one order on every machine.

    NaN where an element is, and infinite where one is or where the squares exceed float64.
    """
    total = 0.0
    with np.errstate(over="ignore", invalid="ignore"):
        for _, _, block in _blocks(update):
            values = block.astype(np.float64)
            total += float(np.add.reduce(np.multiply(values, values, out=values)))
    return float(np.sqrt(total))


def clip(update: Weights, bound: float) -> float:
    """Scale an update down in place until its norm is at most `bound`; returns the norm that it had.

    One whose norm is not above the bound is left as it is, bit by bit. Rounding to the update's dtypes never leaves it
    above the bound.
    """
    before = now = norm(update)
    while bound < now < math.inf:
        factor = bound / now * (1 - _coarsest(update))
        for _, _, block in _blocks(update):
            np.copyto(block, block.astype(np.float64) * factor, casting="same_kind")
        now = norm(update)
    return before


def blur(update: Weights, stream: Stream, std: float) -> None:
    """Add noise to every floating-point element in place; integers become zero: they could not be protected."""
    for number, where, block in _blocks(update):
        values = block.astype(np.float64)
        stream.add(number, where, values, std)
        with np.errstate(over="ignore"):
            np.copyto(block, values, casting="same_kind")
    hide_integers(update)


def hide_integers(update: Weights) -> None:
    """Set every integer to zero: as a difference, the counter stays what it was."""
    for segment, values in zip(update.layout.segments, update.segments, strict=True):
        if segment.exact:
            values[...] = 0


def _blocks(update: Weights) -> Iterator[tuple[int, slice, NDArray[Any]]]:
    for number, (segment, values) in enumerate(zip(update.layout.segments, update.segments, strict=True)):
        if not segment.exact:
            for start in range(0, segment.size, BLOCK):
                where = slice(start, min(start + BLOCK, segment.size))
                yield number, where, values[where]


def _coarsest(update: Weights) -> float:
    """How far rounding may take a number from its value, relative to it, in the coarsest dtype."""
    return max(float(np.finfo(segment.dtype).eps) for segment in update.layout.segments if not segment.exact)


__all__ = ["Floats", "blur", "clip", "hide_integers", "norm"]
