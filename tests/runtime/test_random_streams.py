"""Every worker's random numbers are its own: where it runs, and who runs before it, change none of them."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_jobs import Node, Server, Site, pair_tag

import flame
from flame.mode.function import receives, sends
from flame.runtime.streams import Streams, Turn

torch = pytest.importorskip("torch")


def draw() -> tuple[Any, ...]:
    """A number from every generator that a program might use."""
    return random.random(), float(np.random.random()), float(torch.rand(()))


@given(st.lists(st.sampled_from("abcAB"), max_size=30))
def test_draws_do_not_depend_on_who_else_draws(steps: list[str]) -> None:
    """A small letter goes on with its turn, after whoever had the generators; a capital begins a new turn."""

    def drawn(who: str) -> list[tuple[Any, ...]]:
        streams, turns, found = Streams(7), {name: Turn(name) for name in "abc"}, []
        for step in steps:
            if step.lower() not in who:
                continue
            turn = turns[step.lower()]
            if step.isupper():
                turn.open = False
            streams.resume(turn)
            streams.begin(turn)
            numbers = draw()
            if step.lower() == "a":
                found.append(numbers)
        return found

    assert drawn("abc") == drawn("ab") == drawn("a")


def test_turns_workers_and_seeds_differ() -> None:
    def first(seed: int, worker: str, turns: int) -> tuple[Any, ...]:
        streams, turn = Streams(seed), Turn(worker)
        for _ in range(turns):
            turn.open = False
            streams.begin(turn)
        return draw()

    seen = {first(seed, worker, turns) for seed in (0, 1) for worker in ("a", "b") for turns in (1, 2)}
    assert len(seen) == 8 and first(0, "a", 1) in seen


class Drawing(Site):
    """Draws in every method."""

    def load_data(self) -> None:
        self.seen = [draw()]

    def initialize(self) -> None:
        super().initialize()
        self.seen.append(draw())

    def train(self) -> None:
        self.seen.append(draw())

    def evaluate(self) -> None:
        flat = [number for numbers in self.seen for number in numbers]
        self.update_metrics({f"draw-{place}": number for place, number in enumerate(flat)})


def measured(result: Any) -> list[tuple[int, str, Any]]:
    return [(record.round, record.worker, record.values) for record in result.metrics]


def test_a_workers_draws_are_the_same_on_any_number_of_hosts(tmp_path: Path) -> None:
    results = [
        flame.run(trainer=Drawing, aggregator=Server, data=[0] * 4, rounds=2, hosts=hosts, out=tmp_path / str(hosts))
        for hosts in (0, 1, 2, 5)
    ]
    first, *others = map(measured, results)
    assert len(first) == 8 and all(other == first for other in others)


def test_what_a_constructor_draws_is_the_workers_own_too(tmp_path: Path) -> None:
    """Many programs make their model in `__init__`."""

    class Early(Site):
        def __init__(self, config: flame.Config) -> None:
            super().__init__(config)
            self.seen = [draw()]

        def evaluate(self) -> None:
            self.update_metrics(dict(zip("abc", self.seen[0], strict=True)))

    results = [
        flame.run(trainer=Early, aggregator=Server, data=[0] * 4, rounds=1, hosts=hosts, out=tmp_path / str(hosts))
        for hosts in (1, 2)
    ]
    assert measured(results[0]) == measured(results[1])


def test_a_wait_in_the_middle_of_a_program_leaves_its_draws_alone(tmp_path: Path) -> None:
    """Between two draws a site waits for a message, and others draw meanwhile."""

    class Waiting(Node):
        @sends("tell", to="hear")
        def tell(self, channel: Any) -> None:
            end = channel.one_end()
            seen = [draw()]
            for _ in range(3):
                channel.send(end, "go on?")
                channel.recv(end)
                seen.append(draw())
            flat = [number for numbers in seen for number in numbers]
            self.update_metrics({f"draw-{place}": number for place, number in enumerate(flat)})
            self.save_metrics()

    class Answering(Node):
        @receives("hear", frm="tell")
        def hear(self, channel: Any) -> None:
            for _ in range(3):
                for _, (end, _) in list(channel.recv_fifo(channel.ends())):
                    draw()
                    channel.send(end, "go on")

    tag = pair_tag("site", "tell", "server", "hear")
    roles = {"site": Waiting, "server": Answering}
    runs = [
        flame.run(roles=roles, tag=tag, data=[0] * sites, hosts=hosts, out=tmp_path / f"{sites}-{hosts}")
        for sites, hosts in ((4, 0), (4, 2), (2, 0))
    ]
    here, there, fewer = map(measured, runs)
    assert len(here) == 4 and here == there and here[:2] == fewer


def test_whose_order_comes_first_changes_no_draw(tmp_path: Path) -> None:
    """Of two aggregators in one group either may be the first to ask; which one it is, the processes' timing says."""

    def train(model: np.ndarray, item: float) -> None:
        model += item * np.random.normal(size=model.shape)

    def learned(number: int, hosts: int) -> bytes:
        shape: dict[str, Any] = {"tag": "load-balanced", "data": [1.0, 2.0, 3.0, 4.0, 5.0], "rounds": 4}
        out = tmp_path / str(number)
        result = flame.run(model=lambda: np.zeros(4), train=train, seed=12345, hosts=hosts, out=out, **shape)
        return result.weights().data.tobytes()

    assert len({learned(number, hosts=3 if number else 0) for number in range(16)}) == 1
