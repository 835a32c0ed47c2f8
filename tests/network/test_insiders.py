"""Who belongs to a job and means no good takes bounded memory, and ends nobody but itself."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator

import numpy as np
import pytest
from town import House, Stranger, Town, address_of, last, resident_bytes, talk
from upstream import until

from flame.backend import node as nodes
from flame.channel.coding import Sealed
from flame.wire import speech
from flame.wire.speech import MOST_SEATS, Head, Seating

AT_C = [("c", "g", "y", "C")]


@pytest.fixture
def town() -> Iterator[Town]:
    town = Town()
    yield town
    town.close()


def insider(town: Town, a: House) -> Stranger:
    """C, which A has met."""
    c = Stranger(address_of(town, a))
    c.enter("C", AT_C)
    until(lambda: "C" in a.sees(), "A sees C")
    return c


def message(header: bytes, parts: list[speech.Part]) -> Head:
    return Head(speech.MESSAGE, channel="c", source="C", targets=["A"], header=header, parts=parts)


def header_of(value: object) -> bytes:
    return bytes(Sealed.of(value).payload.header)


def test_what_it_does_not_have_any_longer_ends_it_and_nobody_else(town: Town) -> None:
    """It says that a buffer lies with it, and when it is read it has none: what follows it would never come."""
    a, b = town.pair()
    c = insider(town, a)
    c.numbered(message(header_of(np.zeros(1 << 20)), [(1, 8 << 20)]))
    asked = c.hears(speech.READ)
    c.say(Head(speech.MISSING, request=asked.request))
    until(lambda: "C" not in a.sees(), "C is forgotten")
    talk(a, b)


def test_an_answer_without_bytes_is_none(town: Town) -> None:
    """It answers with nothing: memory that was never filled would be taken for what it has lent."""
    a, b = town.pair()
    c = insider(town, a)
    c.numbered(message(header_of(np.zeros(1 << 17)), [(1, 1 << 20)]))
    asked = c.hears(speech.READ)
    c.say(Head(speech.DATA, request=asked.request))
    until(lambda: "C" not in a.sees(), "C is forgotten")
    assert not a.values()
    talk(a, b)


def test_a_message_that_is_half_wrong_is_not_begun(town: Town) -> None:
    a, b = town.pair()
    c = insider(town, a)
    c.numbered(message(header_of(np.zeros(1 << 20)), [(1, 1 << 20), -1]))
    until(lambda: "C" not in a.sees(), "C is forgotten")
    talk(a, b)


def test_it_cannot_take_seats_without_end(town: Town) -> None:
    a, b = town.pair()
    c = insider(town, a)
    some = speech.encode(Seating([("c", "g", "y", "C")] * (MOST_SEATS // 2)))
    for _ in range(3):
        c.numbered(Head(speech.SEATS, header=some))
    until(lambda: "C" not in a.sees(), "C is forgotten")
    talk(a, b)


def test_messages_that_the_program_does_not_take_stay_with_their_sender(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An honest peer that is faster than the program: memory stays bounded, and in the end everything has come."""
    monkeypatch.setattr(nodes, "MOST_UNTAKEN", 32 << 20)
    a, b = town.pair()
    array = np.arange(1 << 20)
    for number in range(30):
        b.send("A", (number, array))  # B's copies, of 240 MiB, are made now
    before = resident_bytes()
    last(0.5)
    assert resident_bytes() - before < 64 << 20
    until(lambda: len(a.values()) == 30, "everything has come")
    assert [number for number, _ in a.values()] == list(range(30))
    assert all(np.array_equal(got, array) for _, got in a.values())


def test_frames_behind_one_that_waits_are_bounded(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nodes, "MOST_INBOX", 4 << 20)
    a, b = town.pair()
    c = insider(town, a)
    c.numbered(message(header_of(np.zeros(1 << 20)), [(1, 8 << 20)]))
    c.hears(speech.READ)
    for _ in range(100):
        c.numbered(message(header_of(b"x" * 60_000), []))
    until(lambda: "C" not in a.sees(), "C is forgotten")
    talk(a, b)


def received(town: Town) -> tuple[weakref.ref[object], list[object]]:
    """The courier's side of somebody, and what it has received."""
    a, b = town.pair()
    b.send("A", np.arange(1 << 20))
    until(lambda: len(a.values()) == 1, "it has come")
    return weakref.ref(a.backend._node), a.values()


def test_nothing_of_a_backend_is_left_once_it_is_closed() -> None:
    """Buffers that a program still holds do not hold what brought them."""
    town = Town()
    node, kept = received(town)
    town.close()
    town.houses.clear()
    gc.collect()
    assert node() is None
    assert kept[0][-1] == (1 << 20) - 1
