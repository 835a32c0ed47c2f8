"""Plain values to bytes and back: closed, flat, and never a class name.

What may be sent: None, bool, int of any size, float, str, bytes, list, tuple, dict and OrderedDict of these,
numpy arrays and scalars, torch tensors, `Weights`, and the members of one enum that both sides agreed on
(`keys`). Whatever else there is in a value, `encode` refuses it and says where it is. What `decode` returns
equals what was encoded, types included; only arrays of the other byte order or memory order come in the usual
ones, and a tensor comes on the CPU and outside any graph.

A header is a *program*, one letter per node of the value in the order in which the nodes are met, and the
*atoms* that the letters consume. Nothing in it is nested, so a hostile header can be neither deep nor
self-similar: each letter, atom and byte is used once, and what is built is bounded by what was received.

The bytes are drawn in `docs/reference/wire-format.md`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from struct import Struct
from typing import Any, NamedTuple

import msgspec

from flame.errors import DecodeError, EncodeError
from flame.wire.form import MAX_HEADER, VERSION, Buffer, Keys, pack, unpack
from flame.wire.reader import Reader
from flame.wire.writer import Writer

_HEAD = Struct("<BI")
"""Version, and how many bytes of msgpack follow."""


class Payload(NamedTuple):
    """A value on its way.

    Attributes:
        header: the value, less its big arrays.
        buffers: flat runs of bytes, one per big array, in the order in which they occur. They are shared, not
            copied: nobody may write into them.
    """

    header: bytes | memoryview
    buffers: Sequence[Buffer] = ()

    @property
    def nbytes(self) -> int:
        """Bytes in all."""
        return len(self.header) + sum(_size(buffer) for buffer in self.buffers)


def encode(value: object, *, keys: Keys | None = None) -> Payload:
    """A value as bytes.

    Arrays are copied once, so that the sender may go on writing into them; `Weights`, and read-only arrays
    that own their memory, are passed on by reference.

    Args:
        value: a plain value.
        keys: the enum whose members may occur in it.

    Raises:
        EncodeError: something in the value may not be sent; it says what and where.
    """
    return _pack({"value": value}, keys, bare=True)


def encode_record(fields: Mapping[str, object], *, keys: Keys | None = None) -> Payload:
    """The fields of a record, as the tuple of their values. As `encode`, but errors name the field."""
    return _pack(fields, keys, bare=False)


def decode(
    header: bytes | bytearray | memoryview,
    buffers: Sequence[Buffer] = (),
    *,
    keys: Keys | None = None,
    copy: bool = True,
) -> Any:
    """The value behind bytes that nobody vouches for.

    Args:
        header: as `encode` made it.
        buffers: as `encode` made them; they must stay as they are for as long as the value is in use, since
            its `Weights` (and with `copy=False` its arrays) are read-only views of them.
        keys: the enum whose members may occur in the value.
        copy: whether numpy arrays are private and writable (tensors always are).

    Raises:
        DecodeError: the bytes are not a message, or not one of this version.
    """
    size = len(header)
    if not _HEAD.size < size <= MAX_HEADER:
        raise DecodeError(f"a header of {size} B; it has more than {_HEAD.size} and at most {MAX_HEADER}")
    version, length = _HEAD.unpack_from(header)
    if version != VERSION:
        raise DecodeError(f"the message speaks version {version} of the wire format; here it is {VERSION}")
    view, end = memoryview(header), length + _HEAD.size
    if end > size:
        raise DecodeError(f"the header claims {end} B; there are {size}")
    try:
        atoms = unpack(view[_HEAD.size : end])
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise DecodeError(f"header: {error}") from error
    return Reader(atoms, view[end:], buffers, keys, copy).whole()


def _size(buffer: Buffer) -> int:
    return len(buffer) if isinstance(buffer, bytes | bytearray) else buffer.nbytes


def _pack(fields: Mapping[str, object], keys: Keys | None, *, bare: bool) -> Payload:
    try:
        writer = Writer(keys, careful=False)
        body = pack(writer.write(fields, bare=bare))
    except (OverflowError, UnicodeEncodeError):
        # Rare: an int beyond 64 bits, or half a surrogate pair. The careful writer looks at each atom.
        writer = Writer(keys, careful=True)
        body = pack(writer.write(fields, bare=bare))
    header = b"".join((_HEAD.pack(VERSION, len(body)), body, *writer.tail))
    if len(header) > MAX_HEADER:
        raise EncodeError(f"a header of {len(header)} B; at most {MAX_HEADER} B: put long lists into arrays")
    return Payload(header, writer.buffers)
