"""Messages that no encoder would make."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable

import msgspec
import pytest

from flame.errors import DecodeError
from flame.wire import codec


def forge(program: object, *atoms: object, tail: bytes = b"", version: int = 1) -> bytes:
    """A header with any program, atoms and tail."""
    return seal(msgspec.msgpack.encode([program, *atoms]), tail=tail, version=version)


def seal(body: bytes, *, tail: bytes = b"", version: int = 1, length: int | None = None) -> bytes:
    """A header around any bytes."""
    size = len(body) if length is None else length
    return bytes([version]) + size.to_bytes(4, "little") + body + tail


def refused(header: bytes, *buffers: bytes, match: str | None = None) -> None:
    """The header is refused, and in no more memory than a small multiple of what was received."""
    received = len(header) + sum(map(len, buffers))
    with pytest.raises(DecodeError, match=match):
        frugal(lambda: codec.decode(header, buffers), received)


def frugal(act: Callable[[], object], received: int) -> None:
    """Run something; it takes at most 64 KiB and 64 times what was received.

    An empty dict, which is one letter and one small number on the wire, takes 64 bytes.
    """
    tracemalloc.start()
    try:
        act()
    finally:
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak <= (64 << 10) + 64 * received
