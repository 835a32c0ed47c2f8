"""The statements about roles of two tiers, and of an aggregator in between."""

from __future__ import annotations

import csv
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from two_weights import Array, Client, Made, Said, Server, Site, run
from upstream import DOWN, UP, channel, config

from flame.channel.channel import Channel
from flame.config import Config
from flame.mode import aggregating
from flame.mode.distributed.trainer import Trainer as RingTrainer
from flame.mode.horizontal.middle_aggregator import MiddleAggregator
from flame.mode.horizontal.trainer import Trainer


def test_statement_11_what_is_sent_is_the_change_and_it_is_averaged_by_samples(
    tmp_path: Path, said: list[Said]
) -> None:
    """Sizes 1 and 3: w + Δ1/4 + 3Δ2/4."""
    models: list[tuple[str, Array, Array]] = []

    class Noting(Client):
        def train(self) -> None:
            received = self.weights["w"].copy()
            super().train()
            models.append((self.config.task_id, received, self.model["w"].copy()))

    result = run(tmp_path, Noting, Server, [(1, 1.0), (3, -2.0)])
    rounds = {number: models[2 * number - 2 : 2 * number] for number in (1, 2, 3)}
    changes = {(end, number): after - before for number, both in rounds.items() for end, before, after in both}
    assert len(said) == 6
    for update in said:
        np.testing.assert_array_equal(update.weights, changes[update.of, update.round])
    w = np.array([0.5, -1.0])
    for number in (1, 2, 3):
        assert all((received == w).all() for _, received, _ in rounds[number])
        delta = {update.samples: update.weights for update in said if update.round == number}
        w = w + 1 / 4 * delta[1] + 3 / 4 * delta[3]
    np.testing.assert_allclose(result.weights().arrays()["w"], w, rtol=1e-15)


def test_statement_12_r_rounds_are_r_times_train_and_evaluate_and_everybody_returns(tmp_path: Path) -> None:
    counts: dict[str, list[int]] = {}
    returned: list[str] = []

    class Counting(Client):
        def initialize(self) -> None:
            super().initialize()
            counts[self.config.name] = [0, 0]

        def train(self) -> None:
            super().train()
            counts[self.config.name][0] += 1

        def evaluate(self) -> None:
            counts[self.config.name][1] += 1

        def run(self) -> None:
            super().run()
            returned.append(self.config.name)

    class Ending(Server):
        def run(self) -> None:
            super().run()
            returned.append(self.config.name)

    run(tmp_path, Counting, Ending, [(1, 1.0)] * 3, rounds=6)
    assert counts == {f"trainer/{number}": [6, 6] for number in range(3)}
    assert sorted(returned) == ["aggregator/0", *sorted(counts)]


@pytest.mark.parametrize("ring", [False, True])
def test_statement_13_metrics_of_round_r_are_kept_under_step_r_minus_1_and_r_in_a_ring(
    tmp_path: Path, ring: bool
) -> None:
    class Measuring(Site, *([RingTrainer] if ring else [Trainer])):  # type: ignore[misc]
        def train(self) -> None:
            super().train()
            self.update_metrics({"train-loss": 1.0 / self._round})

    class Evaluating(Server):
        def evaluate(self) -> None:
            self.update_metrics({"test-loss": 2.0 / self._round})

    more = {"tag": "distributed"} if ring else {}
    registry = {"registry": {"sort": "local", "uri": str(tmp_path / "log")}, "hyperparameters": {"rounds": 4}}
    top = None if ring else Evaluating
    run(tmp_path / "out", Measuring, top, [(1, 1.0)] * 2, rounds=4, settings=registry, **more)
    files = list((tmp_path / "log").rglob("metrics/t*-loss.csv"))
    assert (
        sorted(path.stem for path in files) == ["train-loss"] * 2 if ring else ["test-loss", "train-loss", "train-loss"]
    )
    for path in files:
        rows = list(csv.DictReader(path.read_text().splitlines()))
        value = 1.0 if path.stem == "train-loss" else 2.0
        found = [(int(row["round"]), float(row[path.stem])) for row in rows]
        assert found == [(number if ring else number - 1, value / number) for number in (1, 2, 3, 4)]


def test_statement_14_the_programs_own_optimizer_survives_all_rounds(tmp_path: Path) -> None:
    found: list[tuple[int, object]] = []

    class Own(Client):
        def __init__(self, config: Any) -> None:
            super().__init__(config)
            self.optimizer = self.mine = ["the program's own"]

        def train(self) -> None:
            super().train()
            self.optimizer.append("stepped")

        def evaluate(self) -> None:
            found.append((self._round, self.optimizer is self.mine and len(self.optimizer) == self._round + 1))

    proximal = {"optimizer": {"sort": "fedprox", "kwargs": {"mu": 0.0}}, "hyperparameters": {"rounds": 4}}
    for settings in ({"hyperparameters": {"rounds": 4}}, proximal):

        class Termed(Own):
            def train(self) -> None:
                self.regularizer.get_term(w=[self.model["w"]], w_t=[self.weights["w"]])
                super().train()

        run(tmp_path / str(len(found)), Termed, Server, [(1, 1.0)], rounds=4, settings=settings)
    assert found == [(number, True) for number in (1, 2, 3, 4)] * 2


def test_statement_16_data_are_loaded_before_an_aggregator_is_initialized(tmp_path: Path) -> None:
    order: list[str] = []

    class Sized(Server):
        def load_data(self) -> None:
            order.append("load_data")
            self.dataset = [np.zeros(5)]

        def initialize(self) -> None:
            order.append("initialize")
            self.model = {"w": np.zeros(len(self.dataset[0]))}

    class Follower(Client):
        def initialize(self) -> None:
            self.model = {"w": np.zeros(5)}

        def train(self) -> None:
            self.model["w"] += 1

    result = run(tmp_path, Follower, Sized, [(1, 1.0)], rounds=2)
    assert order == ["load_data", "initialize"]
    assert result.weights().arrays()["w"].tolist() == [2.0] * 5


def test_statement_17_an_aggregator_without_trainers_says_so_and_the_top_goes_on(
    tmp_path: Path, said: list[Said], monkeypatch: pytest.MonkeyPatch
) -> None:
    """After 60 s; here its clock is a hundred times as fast. Programs of their own, each in a thread."""
    assert aggregating.WAIT_TIME_FOR_TRAINER == 60
    monkeypatch.setenv("FLAME_RENDEZVOUS", str(tmp_path))
    waited: list[float | None] = []
    await_join = Channel.await_join

    def waiting(channel: Channel, timeout: float | None = None, at_least: int = 1) -> bool:
        if channel.groupby() != "na":
            return await_join(channel, timeout, at_least)
        waited.append(timeout)
        return await_join(channel, timeout and timeout / 100, at_least)

    monkeypatch.setattr(Channel, "await_join", waiting)

    class Region(Made, MiddleAggregator):
        def load_data(self) -> None: ...

        def train(self) -> None: ...

    down, up = channel("param-channel", DOWN, "eu", "na"), channel("global-channel", UP)

    def started(role: type, name: str, channels: Any, groups: dict[str, str]) -> tuple[threading.Thread, Any]:
        peers = {"minPeers": 2} if name == "top-aggregator" else {}
        content = config(name, channels, groups, taskid=f"{name}-{groups}", hyper={"rounds": 3, **peers})
        made = role(Config.from_dict(content))
        made.data = (2, 1.0)
        made.compose()
        thread = threading.Thread(target=made.run, daemon=True)
        thread.start()
        return thread, made

    (top, leader), *others = (
        started(Server, "top-aggregator", [up], {"global-channel": "default"}),
        started(Region, "middle-aggregator", [down, up], {"param-channel": "eu", "global-channel": "default"}),
        started(Region, "middle-aggregator", [down, up], {"param-channel": "na", "global-channel": "default"}),
        started(Client, "trainer", [down], {"param-channel": "eu"}),
    )
    for thread in (top, *(thread for thread, _ in others)):
        thread.join(30)
        assert not thread.is_alive()
    assert waited == [60] * 3
    heard = [update for update in said if update.by == leader.config.task_id]
    empty = [(update.round, update.weights, update.samples) for update in heard if "na" in update.of]
    real = [(update.round, update.weights.tolist(), update.samples) for update in heard if "eu" in update.of]
    assert empty == [(number, None, 0) for number in (1, 2, 3)]
    assert real == [(number, [1.0, float(number)], 2) for number in (1, 2, 3)]
    np.testing.assert_allclose(leader.model["w"], [3.5, 5.0])


def test_a_program_may_call_the_constructor_that_upstreams_roles_inherit_from_object(tmp_path: Path) -> None:
    """`super().__init__()`, without a config, before anything is set."""

    class Called(Client):
        def __init__(self, config: Config) -> None:
            Trainer.__init__(self)
            super().__init__(config)

    class Above(Server):
        def __init__(self, config: Config) -> None:
            aggregating.TopAggregator.__init__(self)
            super().__init__(config)

    class Forgetful(Trainer):
        def __init__(self) -> None:
            super().__init__()

    run(tmp_path, Called, Above, [(1, 1.0)])
    with pytest.raises(NotImplementedError, match="Forgetful with abstract attributes: config"):
        Forgetful()


def test_a_program_reads_of_each_end_when_it_was_asked_and_when_it_answered(tmp_path: Path) -> None:
    read: list[tuple[Any, Any]] = []

    class Reading(Server):
        def evaluate(self) -> None:
            below = self.cm.get_by_tag(self.dist_tag)
            assert below is not None
            for end in below.all_ends():
                asked: Any = below.get_end_property(end, "round_start_time")
                answered: Any = below.get_end_property(end, "round_end_time")
                assert asked[0] == answered[0] == self._round and asked[1] <= answered[1]
                read.append((asked, answered))

    run(tmp_path, Client, Reading, [(1, 1.0)] * 2, rounds=2)
    assert len(read) == 4
