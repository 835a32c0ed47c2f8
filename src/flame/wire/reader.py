"""The half of the codec that puts a value together, from bytes that nobody vouches for.

Every letter of the program, every atom, every byte of the tail and every buffer is used exactly once, in
order. So nothing overlaps, nothing is repeated, and the work is bounded by what was received.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from itertools import islice
from typing import Any

import msgspec
import numpy as np

from flame.compression.packed import ROW, Packed
from flame.errors import DecodeError, WeightsError
from flame.weights.layout import Layout, Source, Weights
from flame.wire import arrays
from flame.wire.arrays import Bytes
from flame.wire.form import MAX_DEPTH, Buffer, Keys

_HERE = (bytes, bytearray, memoryview, np.ndarray)


class Reader:
    """One message being read."""

    __slots__ = ("atoms", "buffers", "copy", "keys", "limit", "ops", "tail")

    def __init__(
        self, atoms: list[Any], tail: memoryview, buffers: Iterable[Buffer], keys: Keys | None, copy: bool
    ) -> None:
        self.atoms = iter(atoms)
        program = next(self.atoms, None)
        if type(program) is not str:
            raise DecodeError("a header without a program")
        self.ops = iter(program)
        self.limit = len(program) + len(atoms)
        self.tail, self.buffers = tail, iter(buffers)
        self.keys, self.copy = keys, copy

    def whole(self) -> Any:
        """The one value that the message consists of.

        Raises:
            DecodeError: the message ends too early or too late, or holds something that no value leads to.
        """
        try:
            value = self.value(0)
        except StopIteration:
            raise DecodeError("the message ends in the middle of a value") from None
        if self.tail or next(self.ops, self) is not self or next(self.atoms, self) is not self:
            raise DecodeError("the header goes on after the value")
        if next(self.buffers, self) is not self:
            raise DecodeError("more buffers than the header knows of")
        return value

    def value(self, depth: int) -> Any:
        """The next value."""
        op = next(self.ops)
        return next(self.atoms) if op == "." else self.of(op, depth)

    def of(self, op: str, depth: int) -> Any:
        """The next value, whose letter is not that of an atom."""
        read = _READ.get(op)
        if read is None:
            raise DecodeError(f"unknown letter {op!r} in the program")
        return read(self, depth)

    def key(self, depth: int) -> Any:
        """The next value, which is to be a dict's key."""
        op = next(self.ops)
        if op == ".":
            return next(self.atoms)
        if op == "t":
            depth = _deeper(depth)
            return tuple([self.key(depth) for _ in range(self.count())])
        if op not in _KEY:
            raise DecodeError(f"letter {op!r} where a key should be")
        return _READ[op](self, depth)

    def count(self) -> int:
        """A number of items, which cannot be more than there are letters and atoms."""
        count = next(self.atoms)
        if type(count) is not int or not 0 <= count <= self.limit:
            raise DecodeError(f"{count!r:.40} items are claimed; there is room for {self.limit}")
        return count

    def slice(self, count: int) -> list[Any]:
        """That many atoms."""
        atoms = list(islice(self.atoms, count))
        if len(atoms) != count:
            raise DecodeError(f"{count} atoms are claimed; there are {len(atoms)}")
        return atoms

    def take(self) -> memoryview:
        """The next bytes of the tail: as many as the next atom says."""
        return self.cut(next(self.atoms))

    def cut(self, size: object) -> memoryview:
        """That many bytes of the tail."""
        if type(size) is not int or not 0 <= size <= len(self.tail):
            raise DecodeError(f"{size!r:.40} B are claimed; there are {len(self.tail)}")
        taken, self.tail = self.tail[:size], self.tail[size:]
        return taken

    def described(self) -> tuple[str, list[Any]]:
        """The element type and the dimensions of an array."""
        name = next(self.atoms)
        if type(name) is not str:
            raise DecodeError(f"{name!r:.40} where an element type should be")
        return name, self.slice(self.count())


def as_bytes(buffer: Buffer) -> Bytes:
    """A buffer as flat bytes, not copied unless it lies elsewhere.

    Raises:
        DecodeError: it is not contiguous.
    """
    if isinstance(buffer, np.ndarray) and buffer.dtype == np.uint8 and buffer.ndim == 1:
        return buffer
    if not isinstance(buffer, _HERE):
        return buffer.load()
    try:
        return np.frombuffer(buffer, np.uint8)
    except (BufferError, ValueError) as error:
        raise DecodeError(f"a buffer that is not a run of bytes: {error}") from error


def _deeper(depth: int) -> int:
    if depth >= MAX_DEPTH:
        raise DecodeError(f"nested more than {MAX_DEPTH} deep")
    return depth + 1


def _list(reader: Reader, depth: int) -> list[Any]:
    depth, ops, atoms = _deeper(depth), reader.ops, reader.atoms
    items = []
    for _ in range(reader.count()):
        op = next(ops)
        items.append(next(atoms) if op == "." else reader.of(op, depth))
    return items


def _tuple(reader: Reader, depth: int) -> tuple[Any, ...]:
    return tuple(_list(reader, depth))


def _flat_list(reader: Reader, depth: int) -> list[Any]:
    return reader.slice(reader.count())


def _flat_tuple(reader: Reader, depth: int) -> tuple[Any, ...]:
    return tuple(reader.slice(reader.count()))


def _flat_dict(reader: Reader, depth: int) -> dict[Any, Any]:
    count = reader.count()
    if not count:
        return {}
    atoms = reader.slice(2 * count)
    return _unique(dict(zip(atoms[:count], atoms[count:], strict=True)), count)


def _dict(reader: Reader, depth: int) -> dict[Any, Any]:
    return _fill({}, reader, depth)


def _ordered(reader: Reader, depth: int) -> dict[Any, Any]:
    return _fill(OrderedDict(), reader, depth)


def _fill(pairs: dict[Any, Any], reader: Reader, depth: int) -> dict[Any, Any]:
    depth = _deeper(depth)
    count = reader.count()
    for _ in range(count):
        key = reader.key(depth)
        pairs[key] = reader.value(depth)
    return _unique(pairs, count)


def _unique(pairs: dict[Any, Any], count: int) -> dict[Any, Any]:
    if len(pairs) != count:
        raise DecodeError("a dict with a key twice")
    return pairs


def _int(reader: Reader, depth: int) -> int:
    return int.from_bytes(reader.take(), "little", signed=True)


def _bytes(reader: Reader, depth: int) -> bytes:
    return bytes(reader.take())


def _big_bytes(reader: Reader, depth: int) -> bytes:
    buffer = next(reader.buffers)
    return buffer if type(buffer) is bytes else as_bytes(buffer).tobytes()


def _member(reader: Reader, depth: int) -> object:
    number = next(reader.atoms)
    if type(number) is not int:
        raise DecodeError(f"{number!r:.40} where the number of an enum member should be")
    if reader.keys is None:
        raise DecodeError(f"enum member {number}, and no enum is spoken here")
    try:
        return reader.keys(number)
    except (ValueError, KeyError) as error:
        raise DecodeError(f"no enum member has number {number}") from error


def _scalar(reader: Reader, depth: int) -> Any:
    name = next(reader.atoms)
    dtype = arrays.DTYPES.get(name) if type(name) is str else None
    if dtype is None:
        raise DecodeError(f"scalar: unknown element type {name!r:.40}")
    return arrays.array_from(name, (), as_bytes(reader.cut(dtype.itemsize)), copy=True)[()]


def _array(reader: Reader, depth: int) -> Any:
    name, dims = reader.described()
    return arrays.array_from(name, dims, as_bytes(reader.take()), copy=reader.copy)


def _big_array(reader: Reader, depth: int) -> Any:
    name, dims = reader.described()
    return arrays.array_from(name, dims, as_bytes(next(reader.buffers)), copy=reader.copy)


def _tensor(reader: Reader, depth: int) -> Any:
    name, dims = reader.described()
    return arrays.tensor_from(name, dims, as_bytes(reader.take()))


def _big_tensor(reader: Reader, depth: int) -> Any:
    name, dims = reader.described()
    return arrays.tensor_from(name, dims, as_bytes(next(reader.buffers)))


def _weights(reader: Reader, depth: int) -> Weights:
    layout, buffer = _layout_of(reader), _left_or_here(next(reader.buffers))
    try:
        return Weights(layout, buffer) if isinstance(buffer, np.ndarray) else Weights(layout, None, buffer)
    except WeightsError as error:
        raise DecodeError(f"weights: {error}") from error


def _packed_weights(reader: Reader, depth: int) -> Weights:
    name = next(reader.atoms)
    if type(name) is not str:
        raise DecodeError(f"{name!r:.40} where the name of a compressor should be")
    layout, rows = _layout_of(reader), reader.take()
    if len(rows) % (2 * ROW.itemsize):
        raise DecodeError(f"packed weights: a table of {len(rows)} B")
    table = np.frombuffer(bytes(rows), ROW).reshape(-1, 2)
    return Weights(layout, None, Packed(layout, name, table, _left_or_here(next(reader.buffers))))


def _left_or_here(buffer: Buffer) -> Bytes | Source:
    """A buffer that was left with its sender as it is, any other as bytes that nobody may write to."""
    if not isinstance(buffer, _HERE):
        return buffer
    data = as_bytes(buffer).view()
    data.flags.writeable = False
    return data


def _layout_of(reader: Reader) -> Layout:
    plain = bytes(reader.take())
    return _known_layout(plain) if len(plain) <= _MOST_KNOWN else _layout(plain)


_unpack_layout = msgspec.msgpack.Decoder(list[tuple[str, str, list[int]]]).decode


_MOST_KNOWN = 64 << 10
"""Bytes of a layout that is worth remembering, and can do no harm if a stranger sent it."""


@lru_cache(maxsize=16)
def _known_layout(plain: bytes) -> Layout:
    # Every update of a run has the same layout: its bytes are read once, and all receivers share the record.
    return _layout(plain)


def _layout(plain: bytes) -> Layout:
    try:
        return Layout.from_plain(_unpack_layout(plain))
    except (WeightsError, msgspec.DecodeError, UnicodeDecodeError) as error:
        raise DecodeError(f"weights: {error}") from error


_READ: Mapping[str, Callable[[Reader, int], Any]] = {
    "l": _list,
    "t": _tuple,
    "L": _flat_list,
    "T": _flat_tuple,
    "d": _dict,
    "D": _flat_dict,
    "o": _ordered,
    "i": _int,
    "b": _bytes,
    "B": _big_bytes,
    "k": _member,
    "n": _scalar,
    "a": _array,
    "A": _big_array,
    "x": _tensor,
    "X": _big_tensor,
    "w": _weights,
    "c": _packed_weights,
}

_KEY = frozenset("ibBknT")
