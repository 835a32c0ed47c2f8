"""Ring all-reduce: every member of a ring ends with the mean of all members' models, and nobody leads.

The model is cut into pieces. A piece starts with one member and goes round, each member adding its own share in
float64; the last one divides, rounds to the model's dtype once, and sends the result round again. Whoever is in the
ring sends two models' worth of bytes, however many members there are, and all end with the same bits, because each
value is rounded by one member only. A small model is one piece: 2(n - 1) messages in all.

P. Patarasu and X. Yuan: Bandwidth Optimal All-reduce Algorithms for Clusters of Workstations. JPDC 2009.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from flame.errors import WeightsError
from flame.weights.layout import Allocate, Layout, Weights, plain_memory

SMALLEST = 16_384
"""A piece has at least so many elements, unless the model has fewer: each one costs 2(n - 1) messages."""

FLOAT = np.dtype(np.float64)


class Piece(NamedTuple):
    """Some elements of the model, on their way to the next member of the ring.

    Attributes:
        number: which ones.
        mean: whether this is their mean, in the model's dtypes; otherwise it is a sum, in float64.
        values: the values, laid out by themselves.
    """

    number: int
    mean: bool
    values: Weights


class Ring:
    """One member's part in one turn of a ring.

    What is to be sent to the next member is what `begin` and `take` return; the order in which pieces arrive does not
    matter.

    Args:
        model: this member's model; it is read and not changed.
        rank: this member's place in the ring.
        shares: how much each member's model counts, in the order of the ring; at least one counts.
        allocate: memory for what is sent, and for the result.

    Attributes:
        result: the mean, whole once `done`.
    """

    def __init__(self, model: Weights, rank: int, shares: Sequence[float], allocate: Allocate = plain_memory) -> None:
        self._model, self._rank, self._shares, self._allocate = model, rank, shares, allocate
        self._total = float(sum(shares))
        size, members = model.layout.size, len(shares)
        pieces = max(1, min(members, size // SMALLEST))
        self._bounds = [size * number // pieces for number in range(pieces + 1)]
        self.result = Weights(model.layout, allocate(model.layout.nbytes))
        self._open = set(range(pieces))

    @property
    def done(self) -> bool:
        """Whether the whole mean is there; everything that the next member needs has been returned then."""
        return not self._open

    def begin(self) -> list[Piece]:
        """The pieces that start here."""
        if len(self._shares) == 1:
            self._open.clear()
            np.copyto(self.result.data, self._model.data)
        if self._rank not in self._open:
            return []
        return [Piece(self._rank, False, self._summed(self._rank, None))]

    def take(self, piece: Piece) -> list[Piece]:
        """A piece has come from the member before; returns what goes to the next one.

        Raises:
            WeightsError: there is no such piece, or it has come before, or has another size or dtype.
        """
        number = piece.number
        if number not in self._open:
            raise WeightsError(f"piece {number} of {len(self._bounds) - 1} is not due")
        self._check(piece)
        last = (number - 1) % len(self._shares)
        if not piece.mean:
            total = self._summed(number, piece.values)
            if self._rank != last:
                return [Piece(number, False, total)]
            mean = self._divided(number, total)
        else:
            mean = piece.values
        self._open.remove(number)
        for (segment, where), values in zip(self._parts(number), mean.segments, strict=True):
            np.copyto(self.result.segments[segment][where], values)
        return [Piece(number, True, mean)] if (self._rank + 1) % len(self._shares) != last else []

    def _summed(self, number: int, so_far: Weights | None) -> Weights:
        """What was summed so far, and this member's share on top of it, as new memory."""
        layout = self._layout(number, mean=False)
        out = Weights(layout, self._allocate(layout.nbytes))
        total, share, at = out.segments[0], self._shares[self._rank], 0
        with np.errstate(over="ignore", invalid="ignore"):
            for segment, where in self._parts(number):
                part = total[at : at + where.stop - where.start]
                # What does not count may hold anything, and nothing times a NaN is not nothing.
                if share:
                    np.multiply(self._model.segments[segment][where], share, out=part, dtype=FLOAT, casting="unsafe")
                else:
                    part[...] = 0.0
                at += len(part)
            if so_far is not None:
                np.add(so_far.segments[0], total, out=total)
        return out

    def _divided(self, number: int, total: Weights) -> Weights:
        """The mean, rounded once; integers to the nearest, halves to even."""
        layout = self._layout(number, mean=True)
        out = Weights(layout, self._allocate(layout.nbytes))
        at = 0
        with np.errstate(over="ignore", invalid="ignore"):
            for segment in out.segments:
                mean = total.segments[0][at : at + len(segment)] / self._total
                np.copyto(segment, np.rint(mean) if segment.dtype.kind == "i" else mean, casting="unsafe")
                at += len(segment)
        return out

    def _parts(self, number: int) -> Iterator[tuple[int, slice]]:
        """Where a piece lies: elements of some of the model's segments."""
        first, last, start = self._bounds[number], self._bounds[number + 1], 0
        for index, segment in enumerate(self._model.layout.segments):
            low, high = max(first - start, 0), min(last - start, segment.size)
            if low < high:
                yield index, slice(low, high)
            start += segment.size

    def _layout(self, number: int, *, mean: bool) -> Layout:
        if not mean:
            return Layout.plan([("sum", FLOAT, (self._bounds[number + 1] - self._bounds[number],))])
        segments = self._model.layout.segments
        return Layout.plan(
            [(str(index), segments[index].dtype, (where.stop - where.start,)) for index, where in self._parts(number)]
        )

    def _check(self, piece: Piece) -> None:
        wanted: Layout = self._layout(piece.number, mean=piece.mean)
        if piece.values.layout != wanted:
            raise WeightsError(f"piece {piece.number}: {wanted.difference(piece.values.layout)}")
