"""The plan of a flat buffer, and the buffer itself.

All tensors of one dtype lie next to each other, in the model's order, and form a *segment*; the segments
follow each other without holes, floating-point ones first and wide ones before narrow ones. These are the
bytes of a safetensors file, of a message and of a shared-memory block alike.

Seven dtypes are laid out. The rest is carried as the narrowest of them that holds its values *and their
differences*: bfloat16 as float32, bool as int8, an unsigned integer as the next wider signed one.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from flame.errors import WeightsError

TYPE_NAMES = ("float64", "float32", "float16", "int64", "int32", "int16", "int8")
BYTE = np.dtype(np.uint8)
RANK = {np.dtype(name): rank for rank, name in enumerate(TYPE_NAMES)}
CARRIED = {
    np.dtype(own): np.dtype(carried)
    for own, carried in {"bool": "int8", "uint8": "int16", "uint16": "int32", "uint32": "int64"}.items()
} | {dtype: dtype for dtype in RANK}

MOST_BYTES = 2**40
MOST_TENSORS = 2**20
MOST_DIMENSIONS = 32
LONGEST_NAME = 4096

Allocate = Callable[[int], NDArray[np.uint8]]


def plain_memory(nbytes: int) -> NDArray[np.uint8]:
    """Fresh, private memory: shape (nbytes,), not cleared."""
    return np.empty(nbytes, np.uint8)


@dataclass(frozen=True, slots=True)
class Entry:
    """Where one tensor lies: bytes `start` to `stop` of the buffer, in C order."""

    name: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    start: int
    stop: int

    def __str__(self) -> str:
        return f"{self.name} {self.dtype.name}{list(self.shape)}"


@dataclass(frozen=True, slots=True)
class Segment:
    """All tensors of one dtype: bytes `start` to `stop` of the buffer, `size` elements."""

    dtype: np.dtype[Any]
    start: int
    stop: int
    size: int

    @property
    def exact(self) -> bool:
        """Whether these are integers."""
        return self.dtype.kind == "i"


@dataclass(frozen=True, slots=True)
class Layout:
    """Which tensors a flat buffer holds, and where.

    Two layouts are equal when their entries are. Build one with `of` or `plan`, which check every name and
    size.

    Attributes:
        entries: the tensors, in the order of their bytes.
        segments: one per dtype, in the order of their bytes.
        nbytes: the size of the buffer.
        size: the number of elements.
        spans: for every entry the number of its segment, and where it lies there, in elements.
    """

    entries: tuple[Entry, ...]
    segments: tuple[Segment, ...] = field(init=False, compare=False)
    nbytes: int = field(init=False, compare=False)
    size: int = field(init=False, compare=False)
    spans: tuple[tuple[int, slice], ...] = field(init=False, compare=False)
    _digest: str = field(init=False, compare=False, repr=False, default="")

    def __post_init__(self) -> None:
        segments = tuple(_segments(self.entries))
        object.__setattr__(self, "segments", segments)
        object.__setattr__(self, "nbytes", self.entries[-1].stop if self.entries else 0)
        object.__setattr__(self, "size", sum(segment.size for segment in segments))
        object.__setattr__(self, "spans", tuple(_spans(self.entries, segments)))

    @property
    def digest(self) -> str:
        """32 hex digits that are the same wherever the layout is the same; computed when first asked for."""
        if not self._digest:
            from hashlib import blake2b  # it brings OpenSSL, 3.5 MB that most workers never need

            plain = json.dumps(self.to_plain(), separators=(",", ":")).encode()
            object.__setattr__(self, "_digest", blake2b(plain, digest_size=16).hexdigest())
        return self._digest

    @classmethod
    def of(cls, arrays: Mapping[str, NDArray[Any]]) -> Layout:
        """The layout of named arrays; nothing is copied.

        Raises:
            WeightsError: a dtype that cannot be carried, such as complex or object; it names the tensor.
        """
        return cls.plan((name, carried(name, array.dtype), array.shape) for name, array in arrays.items())

    @classmethod
    def plan(cls, tensors: Iterable[tuple[str, np.dtype[Any], Sequence[int]]]) -> Layout:
        """Lay out tensors given as (name, dtype, shape): sorted by dtype, otherwise in the order given.

        Raises:
            WeightsError: a bad or repeated name, a dtype that is not laid out, or a size beyond the limits.
        """
        listed = list(tensors)
        _check(listed)
        entries, start = [], 0
        for name, dtype, shape in sorted(listed, key=lambda tensor: RANK[tensor[1]]):
            stop = start + math.prod(shape) * dtype.itemsize
            entries.append(Entry(name, dtype, tuple(shape), start, stop))
            start = stop
        if start > MOST_BYTES:
            raise WeightsError(f"a layout of {start} bytes is beyond the limit of {MOST_BYTES}")
        return cls(tuple(entries))

    def to_plain(self) -> list[list[Any]]:
        """The layout as plain data: [name, dtype, shape] per tensor, from which the offsets follow."""
        return [[entry.name, entry.dtype.name, list(entry.shape)] for entry in self.entries]

    @classmethod
    def from_plain(cls, plain: object) -> Layout:
        """Read what `to_plain` wrote, trusting nothing in it.

        Raises:
            WeightsError: anything but a list of [name, dtype, shape] in the order of a layout, within the
            limits.
        """
        if not isinstance(plain, list | tuple) or len(plain) > MOST_TENSORS:
            raise WeightsError(f"a layout is a list of at most {MOST_TENSORS} tensors")
        layout = cls.plan(_tensor(number, row) for number, row in enumerate(plain))
        if [entry.name for entry in layout.entries] != [row[0] for row in plain]:
            raise WeightsError("a layout lists its tensors by dtype: " + ", ".join(TYPE_NAMES))
        return layout

    def difference(self, other: Layout) -> str:
        """The first thing in which another layout differs, in words, or "" where they are equal."""
        mine = {entry.name: entry for entry in self.entries}
        theirs = {entry.name: entry for entry in other.entries}
        for name, entry in mine.items():
            if name not in theirs:
                return f"tensor {entry} is missing"
            if (entry.dtype, entry.shape) != (theirs[name].dtype, theirs[name].shape):
                return f"tensor {entry} is expected, but there is {theirs[name]}"
        for name, entry in theirs.items():
            if name not in mine:
                return f"tensor {entry} is one too many"
        return "" if self == other else "the tensors are the same, in another order"


class Source(Protocol):
    """A buffer that lies elsewhere."""

    @property
    def nbytes(self) -> int:
        """How large it is."""

    def load(self) -> NDArray[np.uint8]:
        """All of it."""

    def read(self, start: int, out: NDArray[Any]) -> None:
        """Fill an array with the bytes from `start` on; meant to be called with ascending starts."""

    def rewind(self) -> None:
        """It will be read from the start again, or not at all."""


class Weights:
    """The values of a model, a delta or any other set of tensors, in one flat buffer.

    Nothing is copied: the object looks at memory that somebody else owns, which may be read-only or shared.

    Attributes:
        layout: which tensors the buffer holds.
        source: where the buffer lies if it is elsewhere; it is brought here when it is first looked at.
    """

    __slots__ = ("_data", "_segments", "layout", "source")

    def __init__(self, layout: Layout, data: NDArray[np.uint8] | None, source: Source | None = None) -> None:
        """Look at a buffer.

        Args:
            layout: which tensors it holds.
            data: the buffer, uint8 of shape (layout.nbytes,); None if it lies at `source`.
            source: where it lies otherwise.

        Raises:
            WeightsError: the buffer is not of the layout's size.
        """
        if data is None:
            if source is None or source.nbytes != layout.nbytes:
                raise WeightsError(f"{layout.nbytes} bytes are needed, not {source.nbytes if source else 'none'}")
        elif data.ndim != 1 or data.dtype != BYTE or data.size != layout.nbytes or not data.flags.c_contiguous:
            raise WeightsError(f"{layout.nbytes} contiguous bytes are needed, not {data.dtype.name}{list(data.shape)}")
        self.layout = layout
        self.source = source
        self._data = data
        self._segments: tuple[NDArray[Any], ...] | None = None

    @classmethod
    def pack(
        cls,
        arrays: Mapping[str, NDArray[Any]],
        *,
        layout: Layout | None = None,
        allocate: Allocate = plain_memory,
    ) -> Weights:
        """Copy named arrays into one buffer, in the order of `layout` or, without one, of the mapping.

        Raises:
            WeightsError: a dtype that cannot be carried, or arrays that do not fit the given layout.
        """
        own = Layout.of(arrays)
        if layout is None:
            layout = own
        elif {str(entry) for entry in own.entries} != {str(entry) for entry in layout.entries}:
            raise WeightsError(layout.difference(own))
        weights = cls(layout, allocate(layout.nbytes))
        for name, view in weights.arrays().items():
            np.copyto(view, arrays[name])
        return weights

    @property
    def data(self) -> NDArray[np.uint8]:
        """The buffer, uint8 of shape (layout.nbytes,). Raises PeerLost if it lay with a peer that has gone."""
        if self._data is None:
            assert self.source is not None  # one of the two is there
            self._data = self.source.load()
        return self._data

    @property
    def nbytes(self) -> int:
        """The size of the buffer in bytes."""
        return self.layout.nbytes

    @property
    def segments(self) -> tuple[NDArray[Any], ...]:
        """One view per dtype, each of shape (elements,), in the order of `layout.segments`."""
        if self._segments is None:
            data, segments = self.data, self.layout.segments
            if len(segments) == 1:
                self._segments = (data.view(segments[0].dtype),)
            else:
                self._segments = tuple([data[s.start : s.stop].view(s.dtype) for s in segments])
        return self._segments

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Every tensor as a view of the buffer, by name, in the order of the layout."""
        data = self.data
        return {e.name: data[e.start : e.stop].view(e.dtype).reshape(e.shape) for e in self.layout.entries}

    def not_finite(self) -> list[str]:
        """The names of the tensors that hold a NaN or an infinity; costs one pass where there are none."""
        for segment in self.segments:
            if segment.dtype.kind == "f" and np.count_nonzero(np.isfinite(segment)) != segment.size:
                return [name for name, array in self.arrays().items() if not np.isfinite(array).all()]
        return []


def carried(name: str, dtype: np.dtype[Any]) -> np.dtype[Any]:
    """The dtype in which a tensor of a numpy dtype travels.

    Raises:
        WeightsError: there is none; it names the tensor.
    """
    found = CARRIED.get(dtype.newbyteorder("="))
    if found is None:
        raise WeightsError(f"tensor {name} is {dtype.name}, which cannot be carried (only {', '.join(TYPE_NAMES)})")
    return found


def _segments(entries: Sequence[Entry]) -> Iterator[Segment]:
    """Cut the entries where the dtype changes."""
    first = 0
    for number, entry in enumerate(entries):
        if number + 1 == len(entries) or entries[number + 1].dtype != entry.dtype:
            start = entries[first].start
            yield Segment(entry.dtype, start, entry.stop, (entry.stop - start) // entry.dtype.itemsize)
            first = number + 1


def _spans(entries: Sequence[Entry], segments: Sequence[Segment]) -> Iterator[tuple[int, slice]]:
    """Where every entry lies within its segment."""
    numbers = {segment.dtype: number for number, segment in enumerate(segments)}
    for entry in entries:
        number, width = numbers[entry.dtype], entry.dtype.itemsize
        first = segments[number].start
        yield number, slice((entry.start - first) // width, (entry.stop - first) // width)


def _check(tensors: Sequence[tuple[str, np.dtype[Any], Sequence[int]]]) -> None:
    """Refuse what a buffer, a safetensors header or numpy itself could not hold."""
    if len(tensors) > MOST_TENSORS or len({name for name, _, _ in tensors}) != len(tensors):
        raise WeightsError(f"a layout holds at most {MOST_TENSORS} tensors, each with its own name")
    for name, dtype, shape in tensors:
        if not 0 < len(name) <= LONGEST_NAME or not name.isprintable() or name == "__metadata__":
            raise WeightsError(f"a tensor cannot be named {name[:80]!r}")
        if dtype not in RANK:
            raise WeightsError(f"tensor {name} is {dtype.name}; a layout holds {', '.join(TYPE_NAMES)}")
        # An axis of length 0 makes the product 0, so the other axes are bounded on their own.
        if len(shape) > MOST_DIMENSIONS or math.prod(max(1, length) for length in shape) > MOST_BYTES:
            raise WeightsError(f"tensor {name} has too large a shape")


def _tensor(number: int, row: object) -> tuple[str, np.dtype[Any], list[Any]]:
    """One row of a layout that somebody sent."""
    match row:
        case [str(name), str(type_name), [*shape]] if type_name in TYPE_NAMES and len(shape) <= MOST_DIMENSIONS:
            if all(type(length) is int and 0 <= length <= MOST_BYTES for length in shape):
                return name, np.dtype(type_name), shape
    raise WeightsError(f"layout[{number}]: a tensor is [name, dtype, shape], with a dtype of {', '.join(TYPE_NAMES)}")
