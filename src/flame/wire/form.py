"""What both halves of the codec agree on: version, limits, and which values are atoms."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import msgspec

from flame.weights.layout import Source
from flame.wire.arrays import Bytes

VERSION = 1
"""First byte of every header. It changes whenever an old reader could misread a new header."""

MAX_DEPTH = 64
MAX_HEADER = 64 << 20
INLINE = 1024
"""Bytes from which an array or a `bytes` travels beside the header instead of in it."""

Buffer: TypeAlias = bytes | bytearray | memoryview | Bytes | Source
"""A run of bytes, here or elsewhere. Whoever holds one may read it and may not write into it."""

Keys: TypeAlias = Callable[[int], object]
"""From a number to the enum member that stands for it; an `Enum` class is one."""

FLAT = frozenset({type(None), bool, int, float, str})
"""What msgpack carries by itself, if an int fits 64 bits."""

Atom: TypeAlias = bool | int | float | str | None

pack = msgspec.msgpack.Encoder().encode
unpack = msgspec.msgpack.Decoder(list[Atom]).decode
"""A flat list of atoms. Anything nested in it, and every extension type, is refused before it is built."""
