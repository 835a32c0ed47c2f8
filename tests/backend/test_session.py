"""A session loses, doubles and reorders nothing, whatever the network does."""

from __future__ import annotations

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from flame.backend.session import MOST_EARLY, MOST_EARLY_BYTES, Session


def of_one_byte(frame: object) -> int:
    return 1


class Wire:
    """Carries frames one way: some are lost, some come twice, and they come in any order."""

    def __init__(self, random: Random, loss: float) -> None:
        self._random, self._loss = random, loss
        self.under_way: list[tuple[int, object]] = []

    def put(self, number: int, frame: object) -> None:
        for _ in range(self._random.choice((1, 1, 2))):
            if self._random.random() >= self._loss:
                self.under_way.append((number, frame))

    def take(self) -> list[tuple[int, object]]:
        self._random.shuffle(self.under_way)
        taken, self.under_way = self.under_way, []
        return taken


@given(st.integers(0, 2**32), st.floats(0, 0.9), st.integers(0, 60))
def test_everything_arrives_once_and_in_order(seed: int, loss: float, count: int) -> None:
    wire = Wire(Random(seed), loss)
    here, there = Session[object]("b", b"1", of_one_byte), Session[object]("a", b"2", of_one_byte)
    got: list[object] = []
    for value in range(count):
        wire.put(here.say(value), value)
        if seed % 3 == 0:
            for number, frame in wire.take():
                got += there.hear(number, frame)
    turns = 0
    while here.kept:
        for number, frame in wire.take():
            got += there.hear(number, frame)
        assert here.confirmed(there.heard)
        for number, frame in here.again():
            wire.put(number, frame)
        turns += 1
        assert turns < 10_000
    assert got == list(range(count))


def test_what_was_never_said_cannot_be_confirmed() -> None:
    session = Session[str]("b", b"1", len)
    session.say("one")
    assert not session.confirmed(2)
    assert session.kept == 1
    assert session.confirmed(1) and session.kept == 0
    assert session.confirmed(0)  # an older confirmation that comes late


def test_frames_ahead_of_a_gap_take_bounded_memory() -> None:
    session = Session[int]("b", b"1", of_one_byte)
    for number in range(2, 3 * MOST_EARLY):
        assert session.hear(number, number) == []
    assert len(session.hear(1, 1)) == MOST_EARLY + 1


def test_large_frames_ahead_of_a_gap_take_bounded_memory_too() -> None:
    session = Session[bytes]("b", b"1", len)
    frame = bytes(MOST_EARLY_BYTES // 4)
    for _ in range(3):
        for number in range(session.heard + 2, session.heard + 10):
            session.hear(number, frame)
        assert len(session.hear(session.heard + 1, b"")) == 1 + 4  # what was heard makes room again
