"""The insides of a role that programs written for Cisco's Flame write anew: each has the effect that it has there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from two_weights import Array, Client, Made, Said, Server, Site, run

from flame.errors import RunError, WorkflowError
from flame.mode import asynchronous
from flame.mode.aggregating import MiddleAggregator
from flame.mode.distributed.trainer import Trainer as RingTrainer
from flame.mode.hybrid.trainer import Trainer as HybridTrainer
from flame.tag import template

BEGIN = np.array([0.5, -1.0])


@pytest.mark.parametrize("framework", ["numpy", "torch"])
def test_what_goes_into_a_trainers_model_and_what_is_sent_of_it(
    tmp_path: Path, said: list[Said], framework: str
) -> None:
    """Doubled when it comes, trained by (1, round), and its second weight left out when it goes."""
    torch = pytest.importorskip("torch") if framework == "torch" else None
    begun: list[list[float]] = []

    def values(weights: Any) -> Any:
        return weights["w"]

    class Net(torch.nn.Module if torch is not None else object):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.w = torch.nn.Parameter(torch.tensor([0.5, -1.0]))

    class Changing(Client):
        def initialize(self) -> None:
            self.model = Net() if torch is not None else {"w": BEGIN.copy()}

        def _update_model(self) -> None:
            self.weights = {"w": values(self.weights) * 2}
            super()._update_model()
            begun.append(self._now().tolist())

        def _now(self) -> Any:
            return self.model.w.detach() if torch is not None else self.model["w"]

        def train(self) -> None:
            for place, step in enumerate((self.step, self.step * self._round)):
                self._now()[place] += step

        def _update_weights(self) -> None:
            super()._update_weights()
            assert values(self.weights).tolist() == self._now().tolist()
            values(self.weights)[1] = begun[-1][1]  # in place: what it reads here is what is sent

    class Top(Server):
        def initialize(self) -> None:
            self.model = Net() if torch is not None else {"w": BEGIN.copy()}

    run(tmp_path, Changing, Top, [(1, 1.0)], rounds=2)
    assert begun == [[1.0, -2.0], [3.0, -2.0]]
    assert [update.weights.tolist() for update in said] == [[1.0, 0.0]] * 2


def test_an_aggregators_model_takes_what_its_program_lets_in_and_what_it_sends_is_its_own(
    tmp_path: Path, said: list[Said]
) -> None:
    """Round 1 is halved, round 2 refused; what is sent in round 3 is not what the model holds."""
    models: list[list[float]] = []
    sent: list[list[float]] = []

    class Choosing(Server):
        def _update_model(self) -> None:
            if self._round == 1:
                self.weights["w"] /= 2
            if self._round != 2:
                super()._update_model()

        def _update_weights(self) -> None:
            if self._round == 3:
                self.weights = {"w": self.weights["w"] + 100}

        def evaluate(self) -> None:
            models.append(self.model["w"].tolist())

    class Telling(Client):
        def train(self) -> None:
            sent.append(self.model["w"].tolist())
            super().train()

    run(tmp_path, Telling, Choosing, [(1, 1.0)], rounds=3)
    assert sent == [[0.5, -1.0], [0.75, 0.0], [100.75, 100.0]]
    assert models == [[0.75, 0.0], [0.75, 0.0], [101.75, 103.0]]


def test_weights_that_do_not_fit_are_said_where_they_are_assigned(tmp_path: Path) -> None:
    class Wrong(Client):
        def _update_weights(self) -> None:
            self.weights = {"v": self.weights["w"]}

    with pytest.raises(RunError, match=r"tensor w: float64\[2\] is missing|tensor .*w.* is missing"):
        run(tmp_path, Wrong, Server, [(1, 1.0)], rounds=1)


@pytest.mark.parametrize("base", [MiddleAggregator, asynchronous.MiddleAggregator])
def test_a_middle_aggregator_without_trainers_says_nothing_in_its_own_way(
    tmp_path: Path, said: list[Said], base: Any
) -> None:
    nothing: list[str] = []

    class Middle(Made, base):  # type: ignore[misc]
        def load_data(self) -> None: ...

        def train(self) -> None: ...

        def _nobody_is_there(self, channel: Any) -> bool:
            return self.config.group_association["param-channel"] == "us" or super()._nobody_is_there(channel)

        def _send_dummy_weights(self, tag: str) -> None:
            nothing.append(tag)
            super()._send_dummy_weights(tag)

    groups = {"eu": [(1, 1.0)], "us": [(2, 5.0)]}
    settings = {"optimizer": {"sort": "fedbuff"}} if base is asynchronous.MiddleAggregator else {}
    result = run(
        tmp_path,
        Client,
        None,
        groups,
        rounds=2,
        tag=template("hierarchical", regions=("eu", "us")),
        roles={"middle-aggregator": Middle, "top-aggregator": Server},
        settings=settings,
    )
    assert nothing == ["upload"] * 2
    np.testing.assert_allclose(result.weights().arrays()["w"], [2.5, 2.0])
    assert sum(update.weights is None for update in said) == 2


@pytest.mark.parametrize("hosts", [0, 2])
def test_a_ring_is_turned_in_the_rounds_in_which_a_program_lets_it(tmp_path: Path, hosts: int) -> None:
    """Local training with a ring in every second round."""
    turned: list[int] = []

    class Seldom(Site, RingTrainer):
        def _member_check(self, tag: str) -> None:
            if self._round % 2 == 0:
                super()._member_check(tag)

        def _ring_allreduce(self, tag: str) -> None:
            turned.append(self._round)
            super()._ring_allreduce(tag)

        def evaluate(self) -> None:
            if self._round % 2 == 1:
                assert not self.can_ring_allreduce()

    result = run(tmp_path, Seldom, None, [(1, 1.0), (1, 3.0)], rounds=4, tag="distributed", hosts=hosts)
    last = result.weights().arrays()["w"]
    np.testing.assert_allclose(last, [8.5, 19.0])
    if not hosts:
        assert sorted(turned) == [1, 1, 2, 2, 3, 3, 4, 4]


def test_a_ring_that_was_agreed_on_and_is_not_turned_is_an_error(tmp_path: Path) -> None:
    class Never(Site, RingTrainer):
        def _ring_allreduce(self, tag: str) -> None: ...

    with pytest.raises((RunError, WorkflowError), match="has not turned the ring that was agreed on"):
        run(tmp_path, Never, None, [(1, 1.0), (1, 3.0)], rounds=2, tag="distributed")


def test_without_its_ring_each_of_a_group_answers_for_itself(tmp_path: Path, said: list[Said]) -> None:
    class Grouped(Site, HybridTrainer):
        def _member_check(self, tag: str) -> None:
            if self._round == 2:
                super()._member_check(tag)

    groups = {"eu": [(1, 1.0), (3, -2.0)], "us": [(2, 1.0)]}
    result = run(tmp_path, Grouped, Server, groups, tag=template("hybrid", groups=tuple(groups)))
    by_round: list[list[int]] = [
        sorted(update.samples for update in said if update.round == number) for number in (1, 2, 3)
    ]
    assert by_round == [[1, 2, 3], [0, 2, 4], [1, 2, 3]]
    step = sum(size * step for sites in groups.values() for size, step in sites) / 6
    expected: Array = BEGIN + step * np.array([3.0, 6.0])
    np.testing.assert_allclose(result.weights().arrays()["w"], expected, rtol=1e-12)
