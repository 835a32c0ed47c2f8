"""What travels on channels, and how it becomes bytes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from flame.backend.coding import Coding
from flame.compression.packed import packed
from flame.weights.layout import Weights
from flame.wire.codec import Payload
from flame.wire.form import Buffer
from flame.wire.keys import MessageType
from flame.wire.message import Order, Update, Value, read


@dataclass(frozen=True, slots=True)
class Sealed:
    """A user's own value, encoded when it was sent: each receiver opens a copy of its own."""

    payload: Payload

    @classmethod
    def of(cls, value: object) -> Sealed:
        """Encode a value.

        Raises:
            EncodeError: it is not plain data.
        """
        return cls(Value(value).to_payload(keys=MessageType))

    def open(self) -> object:
        """The value; arrays in it are private and writable."""
        return Value.from_payload(self.payload, keys=MessageType).value


Message = Order | Update | Sealed

_Record = (Order, Update)
"""Made once: it is asked for with every message."""


def _to_payload(message: object) -> Payload:
    if isinstance(message, Sealed):
        return message.payload
    assert isinstance(message, _Record)
    return message.to_payload(keys=MessageType)


def _from_payload(payload: Payload) -> object:
    message = read(payload, keys=MessageType)
    return Sealed(payload) if isinstance(message, Value) else message


def _size_of(message: object) -> int:
    if isinstance(message, Sealed):
        return message.payload.nbytes
    assert isinstance(message, _Record)
    size, weights = 0, message.weights
    if weights is not None:
        small = packed(weights)
        size = weights.nbytes if small is None else small.packed_nbytes
    if message.extras:
        size += sum(each.nbytes for said in message.extras.values() for each in _weights_in(said))
    return size


def _weights_in(said: Any) -> Iterator[Weights]:
    """Weights that the halves of an algorithm say to each other."""
    return (value for value in said.values() if isinstance(value, Weights)) if isinstance(said, dict) else iter(())


def _may_wait(message: object) -> bool:
    """An update is folded piece by piece, long after it came: it may stay where it was made."""
    return isinstance(message, Update)


def written(message: Message) -> tuple[bytes, list[bytes]]:
    """A message as bytes that can be kept, wherever its arrays lie: its header, and each of its buffers.

    Raises:
        PeerLost: it lies with a peer that has gone.
    """
    payload = _to_payload(message)
    return bytes(payload.header), [_brought(buffer) for buffer in payload.buffers]


def read_back(header: bytes, buffers: list[bytes]) -> Message:
    """The message that was `written`. Raises DecodeError if it is none."""
    message = _from_payload(Payload(header, [np.frombuffer(buffer, np.uint8) for buffer in buffers]))
    assert isinstance(message, Message)  # the codec makes nothing else
    return message


def _brought(buffer: Buffer) -> bytes:
    if isinstance(buffer, bytes | bytearray | memoryview | np.ndarray):
        return bytes(buffer)
    try:
        return bytes(buffer.load())
    finally:
        buffer.rewind()


CODING = Coding(_to_payload, _from_payload, _size_of, _may_wait)
