"""The statements about asynchronous, coordinated and guided roles, and about rings."""

from __future__ import annotations

import logging
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
from two_weights import Array, Client, Made, Said, Server, Site, run

import flame
from flame.mode.distributed.trainer import Trainer as RingTrainer
from flame.mode.horizontal.asyncfl.top_aggregator import TopAggregator as AsyncTop
from flame.mode.horizontal.coord_syncfl.coordinator import Coordinator
from flame.mode.horizontal.coord_syncfl.middle_aggregator import MiddleAggregator as CoordinatedMiddle
from flame.mode.horizontal.coord_syncfl.top_aggregator import TopAggregator as CoordinatedTop
from flame.mode.horizontal.coord_syncfl.trainer import Trainer as CoordinatedTrainer
from flame.mode.horizontal.oort.top_aggregator import TopAggregator as OortTop
from flame.mode.horizontal.oort.trainer import Trainer as OortTrainer
from flame.mode.hybrid.trainer import Trainer as HybridTrainer
from flame.tag import template


def test_statement_18_an_asynchronous_round_ends_after_as_many_updates_as_its_goal(
    tmp_path: Path, said: list[Said]
) -> None:
    """Empty ones aside; an update that is τ versions old weighs 1 / sqrt(1 + τ)."""
    goal, models = 2, [np.array([0.5, -1.0])]

    class Buffering(AsyncTop, Server):
        def evaluate(self) -> None:
            models.append(self.model["w"].copy())

    settings = {
        "optimizer": {"sort": "fedbuff", "kwargs": {}},
        "selector": {"sort": "fedbuff", "kwargs": {"c": 4}},
        "hyperparameters": {"rounds": 6, "aggGoal": goal},
    }
    result = run(tmp_path, Client, Buffering, [(1, 1.0), (0, 9.0), (5, -2.0), (2, 0.5)], settings=settings, rounds=6)
    assert [row.folded for row in result.history.top_rounds] == [goal] * 6
    counted = [update for update in said if update.samples]
    assert len(said) > len(counted) >= 6 * goal and {update.samples for update in counted} == {1, 2, 5}
    stale = 0
    for number in range(1, 7):
        updates = counted[goal * (number - 1) : goal * number]
        stale += sum(update.round < number for update in updates)
        step = sum(update.weights / np.sqrt(1 + number - update.round) for update in updates) / goal
        np.testing.assert_allclose(models[number], models[number - 1] + step, rtol=1e-14)
    assert stale > 0


def test_statement_19_a_trainer_talks_to_the_aggregator_it_is_given_and_who_has_none_skips(
    tmp_path: Path, said: list[Said]
) -> None:
    assigned: dict[tuple[str, int], str] = {}
    busy: dict[str, list[tuple[int, tuple[str, ...]]]] = defaultdict(list)
    ended: list[str] = []

    class Assigned(Site, CoordinatedTrainer):
        def train(self) -> None:
            super().train()
            assigned[self.config.task_id, self._round] = self._desk.assignment.above
            assert self._following.leader == self._desk.assignment.above

    class Region(CoordinatedMiddle):
        def evaluate(self) -> None:
            busy[self.config.task_id].append((self._round, self._desk.assignment.below))

        def run(self) -> None:
            super().run()
            ended.append(self.config.task_id)

    class Summit(CoordinatedTop, Server): ...

    roles = {
        "trainer": Assigned,
        "middle-aggregator": Region,
        "top-aggregator": Summit,
        "coordinator": Coordinator,
    }
    tag = template("coordinated", aggregators=5)
    data = [(1, 1.0), (3, -2.0)]
    result = flame.run(roles=roles, tag=tag, data=data, rounds=6, hosts=0, seed=1, out=tmp_path)
    trainers = {end for end, _ in assigned}
    for update in said:
        if update.of in trainers and update.weights is not None:
            assert update.by == assigned[update.of, update.round]
    assert len(assigned) == 12
    for number in range(1, 7):
        there = {end: below for end, rounds in busy.items() for when, below in rounds if when == number}
        chosen = defaultdict(set)
        for (trainer, when), middle in assigned.items():
            if when == number:
                chosen[middle].add(trainer)
        assert {middle: set(below) for middle, below in there.items()} == chosen  # the others did nothing
    assert len(ended) == 5
    np.testing.assert_allclose(result.weights().arrays()["w"], [0.5 - 5 / 4 * 6, -1 - 5 / 4 * 21], rtol=1e-12)


@pytest.mark.parametrize("sizes", [(1, 2, 3), (400, 400, 400), (3, 2, 2), (5, 1)])
def test_statement_20_all_of_a_ring_end_with_the_mean_by_samples(tmp_path: Path, sizes: tuple[int, ...]) -> None:
    """Whether or not the number of members divides the size of anybody's data."""
    ended: list[list[float]] = []

    class Member(Site, RingTrainer):
        def train(self) -> None:
            self.model["w"] = np.array([self.step, self.step**2])

        def evaluate(self) -> None:
            ended.append(self.model["w"].tolist())

    data = [(size, float(number + 2)) for number, size in enumerate(sizes)]
    run(tmp_path, Member, None, data, rounds=2, tag="distributed")
    mean = [sum(n * w**power for n, w in data) / sum(sizes) for power in (1, 2)]
    assert len(ended) == 2 * len(sizes)
    for model in ended:
        np.testing.assert_allclose(model, mean, rtol=1e-14)
        assert model == ended[0]


@pytest.mark.parametrize("meet_in", [1, 2])
def test_statement_21_a_group_of_two_or_more_uploads_once_as_soon_as_its_members_have_met(
    tmp_path: Path, said: list[Said], meet_in: int
) -> None:
    """Until then, at the latest in round 1, each member uploads for itself; whoever is alone always does."""

    class Grouped(Site, HybridTrainer):
        def member_check(self) -> None:
            channel = self.cm.get_by_tag("ring_allreduce")
            if self._round < meet_in:
                channel.lives = lambda: {}
            else:
                vars(channel).pop("lives", None)
            super().member_check()

    groups = {"eu": [(1, 1.0), (3, -2.0)], "us": [(2, 1.0), (4, 0.5), (6, 4.0)], "alone": [(5, 3.0)]}
    tag = template("hybrid", groups=tuple(groups))
    result = run(tmp_path, Grouped, Server, groups, tag=tag)
    everyone = [site for sites in groups.values() for site in sites]
    for number in (1, 2, 3):
        sizes = sorted(update.samples for update in said if update.round == number)
        real = [size for size in sizes if size]
        assert real == ([4, 5, 12] if number >= meet_in else [1, 2, 3, 4, 5, 6]) and len(sizes) == 6
        assert all((update.weights is None) == (update.samples == 0) for update in said)
    step = sum(size * step for size, step in everyone) / 21
    np.testing.assert_allclose(result.weights().arrays()["w"], [0.5 + 3 * step, -1 + 6 * step], rtol=1e-12)


def late(records: list[logging.LogRecord]) -> int:
    return sum("is passed over: it is late" in record.getMessage() for record in records)


@pytest.mark.parametrize("sites", [9, 3])
def test_statement_23_oort_takes_as_many_updates_as_it_needs_and_no_stale_one(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, sites: int
) -> None:
    """Whoever answers for round q changes coordinate q: once the round is over, nobody changes it any more."""
    rounds, needed = 8, 4
    models: list[Array] = []

    torch = pytest.importorskip("torch")

    class Marking(Made, OortTrainer):
        loss_fn = torch.nn.CrossEntropyLoss

        def load_data(self) -> None:
            self.dataset_size = 1

        def initialize(self) -> None:
            self.model = {"w": np.zeros(rounds)}

        def train(self) -> None:
            self.model["w"][self._round - 1] += 1
            self.reset_stat_utility()
            self.oort_loss(torch.zeros(1, 2), torch.tensor([1]), epoch=1, batch_idx=0)

    class Noting(Made, OortTop):
        def load_data(self) -> None: ...

        def initialize(self) -> None:
            self.model = {"w": np.zeros(rounds)}

        def train(self) -> None: ...

        def evaluate(self) -> None:
            models.append(self.model["w"].copy())

    time = {"seconds": 1.0, "rounds": {"sort": "lognormal", "sigma": 1.0}}
    settings = {
        "selector": {"sort": "oort", "kwargs": {"aggr_num": needed}},
        "hyperparameters": {"rounds": rounds, "simulatedTime": time},
    }
    with caplog.at_level(logging.INFO):
        result = run(tmp_path, Marking, Noting, [(1, 1.0)] * sites, rounds=rounds, settings=settings)
    rows = result.history.top_rounds
    assert [row.folded for row in rows] == [min(needed, row.asked) for row in rows]
    assert {row.asked for row in rows} == {5 if sites > needed else 3}
    assert (late(caplog.records) > 0) == (sites > needed)
    for number, model in enumerate(models, start=1):
        assert model.tolist() == [1.0] * number + [0.0] * (rounds - number)
