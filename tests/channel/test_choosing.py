"""Whom a worker hears that has several above it, each with a model: who comes late, ends, goes, and comes back."""

from __future__ import annotations

from typing import Any

import greenlet
import numpy as np
import pytest
from test_channel import Room

from flame.engine.choosing import Choosing
from flame.errors import PeerLost
from flame.weights.layout import Weights
from flame.wire.message import Order

Heard = list[tuple[str, Any]]


def model(value: float) -> Weights:
    return Weights.pack({"w": np.full(1, value)})


class Above:
    """One who leads a model, and asks the worker `t`."""

    def __init__(self, room: Room, name: str) -> None:
        self.room, self.name = room, name
        self.channel = room.sit(name, "aggregator", "trainer")

    def ask(self, number: int, value: float) -> None:
        self.channel.post(["t"], Order(number, model(value)))

    def end(self) -> None:
        self.channel.post(["t"], Order(99, None, end=True))
        self.room.leave(self.name)

    def heard(self) -> tuple[int, float | None]:
        """The round of the next answer, and what is in it."""
        fiber: Any = greenlet.getcurrent()  # one plays all who lead
        self.room.posts[self.name].fiber = fiber
        answer: Any = self.channel.take("t")
        return answer.round, None if answer.weights is None else float(answer.weights.arrays()["w"][0])


class Below:
    """The worker, which trains the model that is nearest to 0."""

    def __init__(self, room: Room, promised: int) -> None:
        self.channel, self.choosing = room.sit("t", "trainer", "aggregator"), Choosing(60.0, promised)
        self.seen: list[dict[str, float]] = []

    def work(self) -> None:
        while models := self.choosing.fetch_each(self.channel):
            values = {end: float(one.arrays()["w"][0]) for end, one in models.items() if one is not None}
            self.seen.append(values)
            self.choosing.choose(min(values, key=lambda end: abs(values[end])))
            self.choosing.answer(self.channel, model(0.5), 1, {})


def test_whoever_comes_late_keeps_others_waiting_for_nobody() -> None:
    """It takes no part until it has been sent every model; of who had ended before, it hears nothing any more."""
    room = Room()
    a, below = Above(room, "a"), Below(room, 2)

    def lead() -> None:
        a.ask(7, 1.0)
        assert a.heard() == (7, None)
        b = Above(room, "b")
        b.ask(6, 2.0)
        a.ask(8, 1.5)
        assert (a.heard(), b.heard()) == ((8, 0.5), (6, None))
        b.end()
        a.end()

    room.work("a", lead)
    room.work("t", below.work)
    room.hub.run()
    assert below.seen == [{"a": 1.5, "b": 2.0}] and below.choosing.leaders == ["a", "b"]

    room = Room()
    a, below = Above(room, "a"), Below(room, 2)

    def alone() -> None:
        for number in (39, 40):
            a.ask(number, 1.0)
            assert a.heard() == (number, None)
        a.end()

    room.work("a", alone)
    room.work("t", below.work)
    room.hub.run()
    assert below.seen == []


def test_a_first_round_waits_for_everybody_who_has_not_gone() -> None:
    room = Room()
    a, b, below = Above(room, "a"), Above(room, "b"), Below(room, 3)

    def lead() -> None:
        a.ask(1, 1.0)
        b.ask(1, 2.0)
        Above(room, "c")
        room.leave("c")
        assert (a.heard(), b.heard()) == ((1, 0.5), (1, None))
        a.end()
        b.end()

    room.work("a", lead)
    room.work("t", below.work)
    room.hub.run()
    assert below.seen == [{"a": 1.0, "b": 2.0}]


@pytest.mark.parametrize("ends", [True, False])
def test_the_last_model_of_who_has_gone_is_still_chosen(ends: bool) -> None:
    """The other is told that there is nothing for it; who comes back is asked for a model again."""
    room = Room()
    a, b, below = Above(room, "a"), Above(room, "b"), Below(room, 2)
    state = {}

    def lead() -> None:
        a.ask(3, 1.0)
        b.ask(3, 2.0)
        assert (a.heard(), b.heard()) == ((3, 0.5), (3, None))
        if ends:
            a.end()
        else:
            room.leave("a")
        b.ask(4, -2.0)
        assert b.heard() == (4, None)
        state.update(below.choosing.state())
        b.ask(5, -0.5)
        assert b.heard() == (5, 0.5)
        if not ends:
            again = Above(room, "a")
            again.ask(4, 0.1)
            b.ask(6, -0.5)
            assert b.heard() == (6, 0.5)  # it was waited for alone
            b.ask(7, -0.5)
            assert (again.heard(), b.heard()) == ((4, 0.5), (7, None))
            room.leave("a")
        b.end()

    room.work("b", lead)
    room.work("t", below.work)
    room.hub.run()
    more = [] if ends else [{"a": 1.0, "b": -0.5}, {"a": 0.1, "b": -0.5}]
    assert below.seen == [{"a": 1.0, "b": 2.0}, {"a": 1.0, "b": -2.0}, {"a": 1.0, "b": -0.5}, *more]
    kept = Choosing(60.0)
    kept.restore(state)
    assert kept.state() == state and list(state["models"]) == ["a"]


def test_when_the_last_one_goes_without_a_word_it_is_an_error() -> None:
    room = Room()
    a, below = Above(room, "a"), Below(room, 1)

    def lead() -> None:
        a.ask(1, 1.0)
        assert a.heard() == (1, 0.5)
        room.leave("a")

    def work() -> None:
        with pytest.raises(PeerLost, match="before it ended the training"):
            below.work()

    room.work("a", lead)
    room.work("t", work)
    room.hub.run()
