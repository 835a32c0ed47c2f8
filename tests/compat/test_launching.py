"""Everybody is started at once, in any order, and one comes late, or too late: all end by themselves, with status 0."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import coordinated
import pytest
from example import PATIENCE_S, Example, Seat, by_hand
from example_laws import moves
from test_all_examples import ASYNC, SYNC, fedbuff, ring, star, town, tree
from upstream import Machine, channel, finished, meeting_point, task_id, until

pytestmark = pytest.mark.timeout(540)

ROUNDS = 10
RINGS = [channel("param-channel", {"trainer": ["ring_allreduce"]}, "eu") | {"pair": ["trainer", "trainer"]}]
RINGS += [channel("global-channel", {"trainer": ["fetch", "upload"], "aggregator": ["distribute", "aggregate"]})]
IN_RING = {"param-channel": "eu", "global-channel": "default"}
HYBRID = {
    "channels": RINGS,
    "seats": [
        Seat("trainer", "ring_trainer", [IN_RING] * 3, "hybrid"),
        Seat("aggregator", "aggregator", [{"global-channel": "default"}]),
    ],
}
SHAPES: Mapping[str, tuple[str, Any, Mapping[str, Any]]] = {
    "star": ("mqtt", star("", 3), {}),
    "tree": ("p2p", tree("", {"uk": 2, "us": 1}, SYNC), {}),
    "asynchronous star": ("shm", star("", 3, mode=ASYNC), fedbuff(2)),
    "asynchronous tree": ("mqtt", tree("", {"uk": 2, "us": 1}, ASYNC), fedbuff(2)),
    "three tiers": ("p2p", town("coord", coordinated.SYNC, (1, 2, 3)), {}),
    "four tiers": ("mqtt", town("coord", coordinated.DEEP, (1, 2, 2, 3)), {}),
    "asynchronous tiers": ("shm", town("coord", coordinated.ASYNC, (1, 2, 3)), fedbuff(2)),
    "ring": ("p2p", ring("ring", "us"), {}),
    "ring below an aggregator": ("mqtt", HYBRID, {}),
}


def worked(printed: Sequence[Any]) -> list[int]:
    """The rounds in which a trainer did something."""
    return [row if isinstance(row, int) else row[0] for row in printed]


@pytest.mark.parametrize("shape", SHAPES)
def test_all_at_once_and_one_late(tmp_path: Path, shape: str) -> None:
    backend, parts, settings = SHAPES[shape]
    hyper = {"learningRate": 1.0, "samples": 10, "work": 0.1, "aggGoal": 1}
    example = Example("", shape, backend, **parts, rounds=ROUNDS, metric="", law=moves, hyper=hyper, settings=settings)
    seed = random.randrange(10**6)
    rng = random.Random(seed)
    with ExitStack() as stack:
        host = stack.enter_context(meeting_point(backend, tmp_path))
        machine = Machine(tmp_path, backend, host)
        stack.callback(machine.close)
        workers = by_hand(dataclasses.replace(example, backend="shm"), tmp_path, stack)
        rng.shuffle(workers)
        started = [(role, start(machine, role, content, 120)) for role, content, _ in workers]
        trainers = [content["taskid"] for role, content, _ in workers if role == "trainer"]
        moment = rng.randint(1, ROUNDS)
        signs = [tmp_path / f"{task}.round-{number}" for task in trainers for number in range(moment, ROUNDS + 1)]
        until(lambda: any(sign.exists() for sign in signs), f"round {moment}", PATIENCE_S)
        late = next(content for role, content, _ in workers if role == "trainer")
        started.append(("late", start(machine, "trainer", {**late, "taskid": task_id("late")}, 3)))
        for role, process in started:
            status, printed, err = finished(process, PATIENCE_S)
            assert status == 0, f"seed {seed}, {role}: {err}"
            if role in ("trainer", "late"):
                rounds = worked(printed)
                assert rounds == sorted(rounds) and set(rounds) <= set(range(1, ROUNDS + 1)), f"seed {seed}"
            elif role in ("aggregator", "top-aggregator"):
                assert len(printed) == ROUNDS, f"seed {seed}"


def start(machine: Machine, role: str, content: Mapping[str, Any], patience_s: int) -> Any:
    program = str(machine.folder / role / "main")
    return machine.start(program, {**content, "maxRunTime": patience_s}, f"{role}-{content['taskid'][:6]}")
