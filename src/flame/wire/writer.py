"""The half of the codec that takes a value apart: one letter and some atoms for each of its nodes."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from enum import Enum
from functools import lru_cache
from typing import Any

import numpy as np

from flame.compression.packed import packed
from flame.errors import EncodeError
from flame.weights.layout import Layout, Weights
from flame.wire import arrays
from flame.wire.arrays import Bytes
from flame.wire.form import FLAT, INLINE, MAX_DEPTH, Buffer, Keys, pack


class RefusedError(Exception):
    """Why a value may not be sent, and where it is: steps from the inside out."""

    def __init__(self, why: str) -> None:
        self.why = why
        self.steps: list[str] = []

    def inside(self, step: str) -> RefusedError:
        """The same, one step further out."""
        self.steps.append(step)
        return self


class Writer:
    """One message in the making."""

    __slots__ = ("atoms", "buffers", "careful", "keys", "ops", "tail")

    def __init__(self, keys: Keys | None, *, careful: bool) -> None:
        self.keys, self.careful = keys, careful
        self.ops: list[str] = []
        self.atoms: list[Any] = [""]  # the program's place
        self.tail: list[bytes] = []
        self.buffers: list[Buffer] = []

    def write(self, fields: Mapping[str, object], *, bare: bool) -> list[Any]:
        """Program and atoms of these fields: of the one there is if `bare`, else of a tuple of them."""
        if not bare:
            self.emit("t", len(fields))
        for name, value in fields.items():
            try:
                self.put(value, 0)
            except RefusedError as refused:
                raise EncodeError(f"{name}{''.join(reversed(refused.steps))}: {refused.why}") from None
        self.atoms[0] = "".join(self.ops)
        return self.atoms

    def emit(self, op: str, *atoms: object) -> None:
        """Add a letter and the atoms that it consumes."""
        self.ops.append(op)
        self.atoms.extend(atoms)

    def put(self, value: Any, depth: int) -> None:
        """Add a value. Raises RefusedError if it, or something in it, may not be sent."""
        put = _PUT.get(type(value))
        if put is not None:
            put(self, value, depth)
        elif isinstance(value, np.generic):
            _put_scalar(self, value)
        elif isinstance(value, Enum):
            _put_member(self, value)
        elif arrays.is_tensor(value):
            _put_tensor(self, value)
        else:
            raise RefusedError(_refusal(value))

    def data(self, inline: str, out: str, data: Bytes, *atoms: object) -> None:
        """Bytes, where they belong by their length, with the atoms that describe them."""
        if len(data) < INLINE:
            self.emit(inline, *atoms, len(data))
            self.tail.append(data.tobytes())
        else:
            self.emit(out, *atoms)
            self.buffers.append(data)


def _refusal(value: object) -> str:
    kind = type(value)
    return f"a {kind.__module__}.{kind.__qualname__} may not be sent (plain values and arrays may)"


def _put_atom(writer: Writer, value: object, depth: int) -> None:
    writer.ops.append(".")
    writer.atoms.append(value)


def _put_text(writer: Writer, value: str, depth: int) -> None:
    if writer.careful:
        try:
            value.encode()
        except UnicodeEncodeError:
            raise RefusedError("text with half a surrogate pair, which has no UTF-8 form") from None
    _put_atom(writer, value, depth)


def _put_int(writer: Writer, value: int, depth: int) -> None:
    if -(1 << 63) <= value < 1 << 64:
        _put_atom(writer, value, depth)
        return
    size = value.bit_length() // 8 + 1
    writer.emit("i", size)
    writer.tail.append(value.to_bytes(size, "little", signed=True))


def _put_bytes(writer: Writer, value: bytes, depth: int) -> None:
    if len(value) < INLINE:
        writer.emit("b", len(value))
        writer.tail.append(value)
    else:
        writer.emit("B")
        writer.buffers.append(value)


def _deeper(depth: int) -> int:
    if depth >= MAX_DEPTH:
        raise RefusedError(f"nested more than {MAX_DEPTH} deep (or inside itself)")
    return depth + 1


def _flat(values: Iterable[object]) -> bool:
    return FLAT.issuperset(map(type, values))


def _put_sequence(writer: Writer, value: list[Any] | tuple[Any, ...], depth: int) -> None:
    op = "l" if type(value) is list else "t"
    if not writer.careful and _flat(value):
        writer.emit(op.upper(), len(value), *value)
        return
    depth = _deeper(depth)
    writer.emit(op, len(value))
    for at, item in enumerate(value):
        try:
            writer.put(item, depth)
        except RefusedError as refused:
            raise refused.inside(f"[{at}]") from None


def _put_dict(writer: Writer, value: dict[Any, Any], depth: int) -> None:
    if not writer.careful and _flat(value) and _flat(value.values()):
        writer.emit("D", len(value), *value, *value.values())
        return
    _put_pairs(writer, "d", value, depth)


def _put_ordered(writer: Writer, value: OrderedDict[Any, Any], depth: int) -> None:
    _put_pairs(writer, "o", value, depth)


def _put_pairs(writer: Writer, op: str, value: dict[Any, Any], depth: int) -> None:
    depth = _deeper(depth)
    writer.emit(op, len(value))
    for key, item in value.items():
        try:
            _put_key(writer, key, depth)
            writer.put(item, depth)
        except RefusedError as refused:
            raise refused.inside(f"[{key!r:.60}]") from None


def _put_key(writer: Writer, key: object, depth: int) -> None:
    if type(key) is tuple:
        depth = _deeper(depth)
        writer.emit("t", len(key))
        for part in key:
            _put_key(writer, part, depth)
    elif type(key) in FLAT or type(key) is bytes or isinstance(key, np.generic | Enum):
        writer.put(key, depth)
    else:
        raise RefusedError(f"a key may not be a {type(key).__qualname__}")


def _put_member(writer: Writer, value: Enum) -> None:
    number = value.value
    try:
        if type(number) is int and 0 <= number < 1 << 32 and writer.keys and writer.keys(number) is value:
            writer.emit("k", number)
            return
    except (ValueError, KeyError):
        pass  # `keys` has no such number: said below
    raise RefusedError(f"{type(value).__qualname__}.{value.name} is of no enum that is spoken here")


def _put_array(writer: Writer, value: np.ndarray[Any, Any], depth: int) -> None:
    name = arrays.name_of(value.dtype)
    if name is None:
        raise RefusedError(f"an array of {value.dtype} may not be sent (numbers and truth values may)")
    writer.data("a", "A", arrays.snapshot(value, name), name, value.ndim, *value.shape)


def _put_scalar(writer: Writer, value: np.generic) -> None:
    name = arrays.name_of(value.dtype)
    if name is None:
        raise RefusedError(_refusal(value))
    writer.emit("n", name)
    writer.tail.append(np.asarray(value, arrays.DTYPES[name]).tobytes())


def _put_tensor(writer: Writer, value: object) -> None:
    parts = arrays.tensor_bytes(value)
    if parts is None:
        raise RefusedError("a tensor of this element type, layout or device may not be sent")
    name, shape, data = parts
    writer.data("x", "X", data, name, len(shape), *shape)


def _put_weights(writer: Writer, value: Weights, depth: int) -> None:
    layout, small = _layout_bytes(value.layout), packed(value)
    if small is not None:
        table = small.table.tobytes()
        writer.emit("c", small.name, len(layout), len(table))
        writer.tail += layout, table
        writer.buffers.append(small.body)
        return
    writer.emit("w", len(layout))
    writer.tail.append(layout)
    writer.buffers.append(value.data)


@lru_cache(maxsize=64)
def _layout_bytes(layout: Layout) -> bytes:
    return pack(layout.to_plain())


_PUT: Mapping[type, Callable[[Writer, Any, int], None]] = {
    type(None): _put_atom,
    bool: _put_atom,
    float: _put_atom,
    int: _put_int,
    str: _put_text,
    bytes: _put_bytes,
    list: _put_sequence,
    tuple: _put_sequence,
    dict: _put_dict,
    OrderedDict: _put_ordered,
    np.ndarray: _put_array,
    Weights: _put_weights,
}
