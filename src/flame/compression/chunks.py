"""How a layout is cut into chunks: at most 65,536 elements of one segment each."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from flame.weights.layout import Layout, Segment

CHUNK = 65_536
"""The block in which updates are folded: a block is one chunk, and is unpacked where it is needed."""


class Chunk(NamedTuple):
    """Elements `where` of segment `segment`: bytes `start` to `stop` of the buffer."""

    segment: int
    where: slice
    start: int
    stop: int
    dtype: np.dtype[Any]
    exact: bool

    @property
    def size(self) -> int:
        """How many elements."""
        return (self.stop - self.start) // self.dtype.itemsize


def number_of(layout: Layout) -> int:
    """How many chunks a layout has; known before any of them exists."""
    return sum(map(_share, layout.segments))


def chunks_of(layout: Layout) -> Iterator[Chunk]:
    """The chunks of a layout, in the order of their bytes."""
    for number, segment in enumerate(layout.segments):
        for where in pieces(segment.size):
            yield _chunk(number, segment, where)


def chunk_at(layout: Layout, start: int) -> tuple[int, Chunk]:
    """The chunk in which a byte of the buffer lies, and its number."""
    before = 0
    for number, segment in enumerate(layout.segments):
        if start < segment.stop:
            index = (start - segment.start) // segment.dtype.itemsize // CHUNK
            where = slice(index * CHUNK, min(segment.size, (index + 1) * CHUNK))
            return before + index, _chunk(number, segment, where)
        before += _share(segment)
    raise IndexError(f"byte {start} of {layout.nbytes}")


def pieces(size: int) -> Iterator[slice]:
    """The elements of a segment, chunk by chunk."""
    return (slice(start, min(start + CHUNK, size)) for start in range(0, size, CHUNK))


def _share(segment: Segment) -> int:
    return -(-segment.size // CHUNK)


def _chunk(number: int, segment: Segment, where: slice) -> Chunk:
    width = segment.dtype.itemsize
    start, stop = segment.start + where.start * width, segment.start + where.stop * width
    return Chunk(number, where, start, stop, segment.dtype, segment.exact)
