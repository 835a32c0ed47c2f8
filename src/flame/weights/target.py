"""Where the values of a model are written, block by block: one flat buffer, or a model's own arrays."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import Any

from numpy.typing import NDArray


class Target:
    """The segments of a layout, each made of arrays that lie anywhere.

    Args:
        pieces: for every segment the flat, writable arrays of its dtype that, one after the other, make it up.
    """

    __slots__ = ("_pieces", "_starts")

    def __init__(self, pieces: Sequence[Sequence[NDArray[Any]]]) -> None:
        self._pieces = pieces
        self._starts = [[0, *accumulate(piece.size for piece in segment)] for segment in pieces]

    def parts(self, number: int, where: slice) -> Iterator[tuple[NDArray[Any], slice]]:
        """What makes up some elements of a segment: views to write to, and which of the elements go there."""
        pieces, starts = self._pieces[number], self._starts[number]
        at = where.start
        index = bisect_right(starts, at) - 1
        while at < where.stop:
            stop = min(where.stop, starts[index + 1])
            yield pieces[index][at - starts[index] : stop - starts[index]], slice(at - where.start, stop - where.start)
            at, index = stop, index + 1
