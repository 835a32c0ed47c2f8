"""Whoever announces much is refused before anything is set aside for it, as CVE-2022-21822 was about."""

from __future__ import annotations

import socket
import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest

from flame.backend.tcp import READ, Connection
from flame.errors import DecodeError
from flame.wire import speech
from flame.wire.speech import MOST_BODY, MOST_HEAD, PREFIX, Head

LITTLE = 64 << 10
"""Bytes that may be taken for a refusal."""

MANY = b"\xdd\xff\xff\xff\xff"
"""The msgpack of an array of 2**32 - 1 items, of which none follows."""


class Watch:
    """Stands for the courier."""

    def __init__(self) -> None:
        self.ready: Callable[[int], None] = lambda events: None

    def watch(self, fd: Any, events: int, ready: Callable[[int], None]) -> None:
        self.ready = ready

    def forget(self, fd: Any) -> None:
        self.ready = lambda events: None


class Owner:
    """Remembers how a connection ended, and has no place for bodies."""

    def __init__(self) -> None:
        self.heads: list[Head] = []
        self.ends: list[Exception] = []

    def opened(self, link: Connection) -> None: ...

    def progress(self, link: Connection) -> None: ...

    def place_for(self, link: Connection, head: Head, nbytes: int) -> memoryview | None:
        return None

    def heard(self, link: Connection, head: Head, body: bytes | None) -> None:
        self.heads.append(head)

    def closed(self, link: Connection, error: Exception) -> None:
        self.ends.append(error)


def taken_for(stream: bytes) -> tuple[int, Owner]:
    """How much memory a connection takes for what has come, and what its owner knows then."""
    watch, owner = Watch(), Owner()
    ours, theirs = socket.socketpair()
    theirs.bind("")  # an address of its own, as every TCP socket has one
    with ours, theirs:
        Connection(watch, ours, owner)  # type: ignore[arg-type]
        watch.ready(READ)
        theirs.sendall(stream)
        tracemalloc.start()
        try:
            watch.ready(READ)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    return peak, owner


@pytest.mark.parametrize(
    "sizes", [(MOST_HEAD + 1, 0), (0, 0), (0, 9), (2**32 - 1, 0), (1, MOST_BODY + 1), (1, 2**32 - 1)]
)
def test_a_prefix_that_promises_more_than_is_ever_sent(sizes: tuple[int, int]) -> None:
    peak, owner = taken_for(PREFIX.pack(*sizes) + b"\x91\x08")
    assert peak < LITTLE and not owner.heads
    assert [type(error) for error in owner.ends] == [DecodeError]


def test_a_prefix_within_the_limits_takes_no_more_than_they_are() -> None:
    peak, owner = taken_for(PREFIX.pack(MOST_HEAD, MOST_BODY))
    assert peak < MOST_HEAD + LITTLE and not owner.ends
    beat = speech.encode(Head(speech.BEAT))
    peak, owner = taken_for(PREFIX.pack(len(beat), MOST_BODY) + beat)
    assert peak < MOST_BODY + LITTLE and not owner.ends and not owner.heads


def test_a_frame_after_a_good_one_is_refused_as_well() -> None:
    beat = speech.encode(Head(speech.BEAT))
    peak, owner = taken_for(PREFIX.pack(len(beat), 0) + beat + PREFIX.pack(2**31, 2**31))
    assert peak < LITTLE and len(owner.heads) == 1
    assert [type(error) for error in owner.ends] == [DecodeError]


HEADS = {
    "fields": MANY,
    "targets": b"\x96\x01\x00\x00\xa0\xa0" + MANY,
    "channel": b"\x94\x01\x00\x00\xdb\xff\xff\xff\xff",
    "header": b"\x97\x01\x00\x00\xa0\xa0\x90\xc6\xff\xff\xff\xff",
    "parts": b"\x98\x01\x00\x00\xa0\xa0\x90\xc4\x00" + MANY,
    "a part": b"\x98\x01\x00\x00\xa0\xa0\x90\xc4\x00\x91" + MANY,
    "an object": b"\xdf\xff\xff\xff\xff",
    "an extension": b"\xc9\xff\xff\xff\xff\x01",
    "nested": b"\x91" * 100_000,
}
HELLO = b"\x01\xa0\xa0\xc4\x0812345678\xc4\x00\x00"


@pytest.mark.parametrize("name", HEADS)
def test_heads_that_announce_much(name: str) -> None:
    refused(speech.head_from, HEADS[name])


@pytest.mark.parametrize(
    "data",
    [
        b"\x97" + HELLO + MANY,
        b"\x97" + HELLO + b"\x91" + MANY,
        b"\x98" + HELLO + b"\x90" + MANY,
        MANY,
        b"\x91" * 100_000,
    ],
    ids=["seats", "a seat", "wants", "fields", "nested"],
)
def test_hellos_that_announce_much(data: bytes) -> None:
    refused(speech.hello_from, data)


@pytest.mark.parametrize("read", [speech.seating_from, speech.meeting_from])
@pytest.mark.parametrize(
    "data", [MANY, b"\x91" + MANY, b"\x91\x91" + MANY, b"\x91\x91\x92\xa0" + MANY, b"\x92\x90" + MANY]
)
def test_seats_and_meetings_that_announce_much(read: Callable[[bytes], Any], data: bytes) -> None:
    refused(read, data)


def refused(read: Callable[[bytes], Any], data: bytes) -> None:
    """It is refused, in little memory."""
    tracemalloc.start()
    try:
        with pytest.raises(DecodeError):
            read(data)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < LITTLE
