"""The largest numbers of an update now, the others later: sparse updates with error feedback.

Only a fraction `keep` of the numbers is sent, those of the largest magnitude in the whole update; what is not sent is
remembered where it was made and added to the next update. Nothing is lost, some of it comes late.

One-dimensional tensors of at most `whole` elements are sent whole: biases, and what normalisation measures, whose
differences say how far off the last ones were and must not be counted twice.

Seide et al., *1-bit stochastic gradient descent and its application to data-parallel distributed training of speech
DNNs*, 2014; Stich et al., *Sparsified SGD with memory*, 2018; Karimireddy et al., *Error feedback fixes SignSGD and
other gradient compression schemes*, 2019. Small tensors as in Lin et al., *Deep gradient compression*, 2018.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from operator import itemgetter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flame.common.settings import refuse_others
from flame.compression import Bytes, Code
from flame.compression.chunks import pieces
from flame.compression.planes import apart, together
from flame.errors import ConfigError, DecodeError
from flame.weights.layout import Layout, Weights

Bits = NDArray[np.uint32]

PLACE = np.dtype(np.uint16)
INFINITE = np.uint32(0x7F800000)
"""From here on, bits of a float32 without its sign are those of an infinity or a NaN."""
FIRST = np.uint32(1 << 31)
"""Above the magnitude of any number."""


class TopK:
    """The largest numbers of each update, a fraction `keep` of them; the others are added to the next update."""

    relative = True

    def __init__(self, keep: Any = 0.1, whole: Any = 4096, **others: Any) -> None:
        refuse_others("compression", "topk", others, ("keep", "whole"))
        if isinstance(keep, bool) or not isinstance(keep, int | float) or not 0 < keep <= 1:
            raise ConfigError("compression.kwargs.keep", f"a number above 0 and at most 1 is needed, not {keep!r}")
        if type(whole) is not int or whole < 0:
            raise ConfigError("compression.kwargs.whole", f"a whole number of at least 0 is needed, not {whole!r}")
        self._keep, self._whole = keep, whole
        self._layout: Layout | None = None
        self._rests: list[NDArray[Any] | None] = []
        self._small: list[list[tuple[int, int]]] = []

    @property
    def rests(self) -> Sequence[NDArray[Any] | None]:
        """What has not been sent of each segment: float64 for float64, else float32; None for integers."""
        return self._rests

    def begin(self, weights: Weights) -> Code:
        """Add the update to what was not sent, and find the magnitude from which on numbers are sent."""
        self._meet(weights.layout)
        with np.errstate(over="ignore", invalid="ignore"):
            for rest, values in zip(self._rests, weights.segments, strict=True):
                if rest is not None:
                    np.add(rest, values, out=rest)
        threshold, left = self._threshold()

        def code(number: int, where: slice) -> list[Bytes]:
            nonlocal left
            bits = self._bits(number, where)
            chosen = bits > threshold
            equal = np.flatnonzero(bits == threshold)[:left]
            chosen[equal] = True
            left -= len(equal)
            return self._sent(number, where, np.flatnonzero(chosen))

        return code

    def fits(self, nbytes: int, count: int, dtype: np.dtype[Any]) -> bool:
        """A place and a value for each number that was sent."""
        sent, over = divmod(nbytes, PLACE.itemsize + _carried(dtype).itemsize)
        return not over and sent <= count

    def unpack(self, coded: Bytes, out: NDArray[Any]) -> None:
        """Put the values in their places, and 0 everywhere else."""
        dtype = _carried(out.dtype)
        first = len(coded) // (PLACE.itemsize + dtype.itemsize) * PLACE.itemsize
        # A place is written as how many lie between it and the one before: so they ascend, whatever is written.
        gaps = together(coded[:first], PLACE).astype(np.int64)
        places = np.cumsum(gaps + 1) - 1
        if len(places) and places[-1] >= out.size:
            raise DecodeError(f"packed weights: element {places[-1]} of {out.size}")
        out.fill(0)
        out[places] = together(coded[first:], dtype)

    def state(self) -> Mapping[str, Any]:
        """What has not been sent of each segment, not copied; {} before anything was."""
        return {} if self._layout is None else {"layout": self._layout.to_plain(), "rests": list(self._rests)}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state` returned; the arrays are copied."""
        if state:
            self._meet(Layout.from_plain(state["layout"]))
            self._rests = [None if rest is None else np.array(rest) for rest in state["rests"]]

    def _meet(self, layout: Layout) -> None:
        """Remember nothing of a model of another layout."""
        if self._layout == layout:
            return
        self._layout = layout
        self._rests = [
            None if s.exact else np.zeros(s.size, np.float64 if s.dtype == np.float64 else np.float32)
            for s in layout.segments
        ]
        self._small = [[] for _ in layout.segments]
        for entry, (number, span) in zip(layout.entries, layout.spans, strict=True):
            if entry.dtype.kind == "f" and len(entry.shape) <= 1 and span.stop - span.start <= self._whole:
                self._small[number].append((span.start, span.stop))

    def _threshold(self) -> tuple[np.uint32, int]:
        """The magnitude of the last number that is sent, as bits, and how many of that very magnitude are.

        Found exactly in two passes over counts of 2^16 magnitudes: nothing of the model's size is sorted or copied.
        """
        small = sum(stop - start for spans in self._small for start, stop in spans)
        large = sum(rest.size for rest in self._rests if rest is not None) - small
        if not large:
            return np.uint32(0), 0
        wanted = max(1, math.ceil(self._keep * large))
        high, wanted = _rank(self._counts(None), wanted)
        low, wanted = _rank(self._counts(high), wanted)
        threshold = high << 16 | low
        return np.uint32(threshold), wanted if threshold else 0

    def _counts(self, high: int | None) -> NDArray[np.int64]:
        """How many numbers have each upper half of bits; or, with one given, each lower half below it."""
        counts = np.zeros(1 << 16, np.int64)
        for number, where in self._pieces():
            bits = self._bits(number, where)
            upper = bits >> 16
            counts += np.bincount(upper if high is None else bits[upper == high] & 0xFFFF, minlength=1 << 16)
        if high is None:
            counts[FIRST >> 16 :] = 0  # what is sent in any case takes nobody's place
        return counts

    def _pieces(self) -> list[tuple[int, slice]]:
        sizes = [(number, rest.size) for number, rest in enumerate(self._rests) if rest is not None]
        return [(number, where) for number, size in sizes for where in pieces(size)]

    def _bits(self, number: int, where: slice) -> Bits:
        """Magnitudes as integers of the same order; of what is sent in any case, and is not 0, above all others."""
        rest = self._rests[number]
        assert rest is not None  # integers are not asked for
        with np.errstate(over="ignore"):
            bits: Bits = np.abs(rest[where]).astype(np.float32, copy=False).view(np.uint32)
        small = self._small[number]
        for start, stop in small[bisect_right(small, where.start, key=itemgetter(1)) :]:
            if start >= where.stop:
                break
            part = bits[max(0, start - where.start) : stop - where.start]
            np.bitwise_or(part, FIRST, out=part, where=part != 0)
        return bits

    def _sent(self, number: int, where: slice, places: NDArray[np.intp]) -> list[Bytes]:
        """Places and values, which are no longer among what has not been sent."""
        rest = self._rests[number]
        assert rest is not None and self._layout is not None  # `begin` comes first
        left = rest[where]
        full = left[places]
        values = _rounded(full, _carried(self._layout.segments[number].dtype))
        with np.errstate(invalid="ignore"):
            left[places] = full - values
        # An infinity or a NaN has been sent, if there was any; kept here it would spoil every update to come.
        np.copyto(left, 0, where=~np.isfinite(left))
        gaps = np.diff(places, prepend=-1) - 1
        return [*apart(gaps.astype(PLACE)), *apart(values)]


def _rank(counts: NDArray[np.int64], wanted: int) -> tuple[int, int]:
    """The bin in which the number of a rank from above lies, and its rank within the bin."""
    above = np.cumsum(counts[::-1])
    bin_ = int(np.searchsorted(above, wanted))
    return len(counts) - 1 - bin_, wanted - int(above[bin_ - 1] if bin_ else 0)


def _carried(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """How values of a dtype travel: those of double precision in single, and their rest later."""
    return np.dtype(np.float32) if dtype == np.float64 else dtype


def _rounded(values: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    if values.dtype == dtype:
        return values
    most = np.finfo(dtype).max
    with np.errstate(over="ignore", invalid="ignore"):
        # Clipping leaves a NaN alone; an infinity has to stay one.
        clipped = np.where(np.isinf(values), values, np.clip(values, -most, most))
        return clipped.astype(dtype)
