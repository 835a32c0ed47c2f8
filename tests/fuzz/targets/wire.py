"""Bytes from the network that are read as a whole: payloads, messages, heads and what heads carry."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import numpy as np

from flame.errors import DecodeError
from flame.weights import Weights
from flame.wire import codec, speech
from flame.wire.codec import Payload
from flame.wire.keys import MessageType
from flame.wire.message import Order, Update, Value
from flame.wire.message import read as read_message
from flame.wire.speech import MOST_SEATS, Head, Hello, Meeting, Row, Seating
from targets.inputs import cut, joined


def payload_of(data: bytes) -> Payload:
    """A payload as it came, or, if the first byte is odd, one whose header says rightly how long it is."""
    first, *buffers = [*cut(data[1:])] or [b""]
    if data[:1] and data[0] & 1:
        tail, *buffers = buffers or [b""]
        first = bytes([codec.VERSION]) + len(first).to_bytes(4, "little") + first + tail
    return Payload(first, buffers)


def bytes_of(payload: Payload) -> bytes:
    """What `payload_of` makes a payload of."""
    header = bytes(payload.header)
    size = 5 + int.from_bytes(header[1:5], "little")
    return b"\x01" + joined(header[5:size], header[size:], *map(bytes, payload.buffers))


def run_codec(data: bytes) -> None:
    """A DecodeError or a value, which can be sent on and arrives as it was."""
    payload = payload_of(data)
    try:
        value = codec.decode(payload.header, payload.buffers, keys=MessageType, copy=len(data) % 2 == 0)
    except DecodeError:
        return
    once = codec.encode(value, keys=MessageType)
    again = codec.encode(codec.decode(*once, keys=MessageType), keys=MessageType)
    assert bytes_of(once) == bytes_of(again)


def codec_seeds() -> Iterator[bytes]:
    yield from message_seeds()
    # An `x`, a tensor, without torch on the sender's side.
    body = msgspec.msgpack.encode(["lxx", 2, "bool", 1, 2, 2, "bfloat16", 0, 2])
    yield b"\x01" + joined(body, b"\x00\x01ab")


def run_message(data: bytes) -> None:
    """A DecodeError or a record, which can be sent on."""
    try:
        message = read_message(payload_of(data), keys=MessageType)
    except DecodeError:
        return
    again = read_message(message.to_payload(keys=MessageType), keys=MessageType)
    assert type(again) is type(message)


def message_seeds() -> Iterator[bytes]:
    for payload in _messages():
        yield bytes_of(payload)
        yield b"\x00" + joined(bytes(payload.header), *map(bytes, payload.buffers))


def _messages() -> Iterator[Payload]:
    weights = Weights.pack({"w": np.arange(6.0, dtype="f4").reshape(2, 3), "n": np.arange(3)})
    odd = [1, 2.5, "é", b"b", None, True, (1, (2,)), 2**70, {"d": {(1, 2): 3}}]
    for record in (
        Order(3, weights, False, {"fedprox": {"mu": 0.1, "c": np.arange(3.0)}}),
        Update(weights, 100, 3, {"oort": odd}),
        Value({MessageType.ROUND: np.float32(1), "big": np.arange(150.0), "raw": b"x" * 1030, "l": [{}, [], ()]}),
    ):
        yield record.to_payload(keys=MessageType)


_READERS: tuple[Callable[[bytes], Any], ...] = (
    speech.head_from,
    speech.hello_from,
    speech.seating_from,
    speech.meeting_from,
)


def run_speech(data: bytes) -> None:
    """A DecodeError or what was said, within limits; said again it is the same."""
    if not data:
        return
    reader = _READERS[data[0] % len(_READERS)]
    try:
        said = reader(data[1:])
    except DecodeError:
        return
    if isinstance(said, Hello | Seating):
        assert max(len(said.seats), len(said.wants)) <= MOST_SEATS
    assert reader(speech.encode(said)) == said


SEATS: list[Row] = [("param-channel", "default", "trainer", "m"), ("other", "g", "trainer", "m")]


def speech_seeds() -> Iterator[bytes]:
    """One for each of the readers, in their order."""
    for number, one in enumerate(
        (
            Head(speech.MESSAGE, 1, 0, "param-channel", "m", ["here"], b"\x01", [5, (7, 100_000)], True, 1, 2, 3, 4),
            Hello(speech.SPEECH, "job", "m", b"m" * 16, b"y" * 16, 3, SEATS, [SEATS[0][:3]], ["1.2.3.4:5"], b"p" * 32),
            Seating(SEATS, [SEATS[1][:3]]),
            Meeting([("a", ["1.2.3.4:5", "[::1]:6"])], True, ["b"]),
        )
    ):
        yield bytes([number]) + speech.encode(one)
