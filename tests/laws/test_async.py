"""Asynchronous rounds: what comes out is FedBuff, the same for any number of hosts, in any mix of tiers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_laws import FEATURES, flat, site

import flame
from flame.errors import ConfigError, RecipeError
from flame.mode.aggregating import MiddleAggregator as SyncMiddle
from flame.mode.horizontal.asyncfl.middle_aggregator import MiddleAggregator as AsyncMiddle
from flame.mode.horizontal.asyncfl.top_aggregator import TopAggregator as AsyncTop
from flame.mode.horizontal.top_aggregator import TopAggregator as SyncTop
from flame.mode.horizontal.trainer import Trainer

ROUNDS, SITES = 6, 4
STEP = 0.1


class Site(Trainer):
    """One full-batch gradient step, in float64."""

    def __init__(self, config: Any) -> None:
        self.config, self.model, self.dataset_size = config, None, 0

    def load_data(self) -> None:
        self.x, self.y = self.data
        self.dataset_size = len(self.y)

    def initialize(self) -> None:
        self.model = {"w": np.zeros(FEATURES)}

    def train(self) -> None:
        self.model["w"] += gradient_step(self.model["w"], (self.x, self.y))


def gradient_step(w: np.ndarray, data: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    x, y = data
    return -STEP * x.T @ (x @ w - y) / len(y)


class Made:
    """Aggregators with a model of their own."""

    def __init__(self, config: Any) -> None:
        self.config, self.model, self.dataset = config, None, None

    def initialize(self) -> None:
        self.model = {"w": np.zeros(FEATURES)}


class Buffered(Made, AsyncTop):
    pass


class Waiting(Made, SyncTop):
    pass


class BufferedRegion(AsyncMiddle):
    pass


class WaitingRegion(SyncMiddle):
    pass


def settings(c: int, goal: int, optimizer: str = "fedbuff") -> dict[str, Any]:
    return {
        "optimizer": {"sort": optimizer, "kwargs": {}},
        "selector": {"sort": "fedbuff", "kwargs": {"c": c}},
        "hyperparameters": {"rounds": ROUNDS, "aggGoal": goal},
    }


def star(out: Path, *, c: int = SITES, goal: int = 2, hosts: int = 0, top: type = Buffered, **more: Any) -> np.ndarray:
    chosen = {"settings": settings(c, goal), "data": [site(number) for number in range(SITES)], **more}
    return flat(flame.run(trainer=Site, aggregator=top, hosts=hosts, seed=3, out=out, **chosen))


def fedbuff(goal: int) -> np.ndarray:
    """The paper's algorithm by hand: everybody takes equally long, and is asked again as soon as it has answered."""
    data = [site(number) for number in range(SITES)]
    w, version, buffer = np.zeros(FEATURES), 0, []
    queue = [(number, w, 0) for number in range(SITES)]
    while version < ROUNDS:
        number, base, begun = queue.pop(0)
        buffer.append(gradient_step(base, data[number]) / np.sqrt(1 + version - begun))
        if len(buffer) == goal:
            w, version, buffer = w + sum(buffer) / goal, version + 1, []
        queue.append((number, w, version))
    return w


@pytest.mark.parametrize("goal", [1, 2, 3, SITES])
def test_statement_18_it_is_fedbuff(tmp_path: Path, goal: int) -> None:
    np.testing.assert_allclose(star(tmp_path, goal=goal), fedbuff(goal), rtol=1e-12)


@pytest.mark.parametrize("c", [1, 2, SITES])
def test_any_number_of_hosts_gives_the_same_bits(tmp_path: Path, c: int) -> None:
    results = [star(tmp_path / str(hosts), c=c, hosts=hosts) for hosts in (0, 1, 2, 4)]
    assert all(result.tobytes() == results[0].tobytes() for result in results)
    assert np.abs(results[0]).sum() > 0


def test_without_staleness_it_is_synchronous(tmp_path: Path) -> None:
    """One peer, whose answer makes a step before it is asked again."""
    buffered = star(tmp_path / "async", data=[site(0)], settings=settings(1, 1))
    waiting = star(tmp_path / "sync", data=[site(0)], settings=settings(1, 1, "fedavg"), top=Waiting)
    assert buffered.tobytes() == waiting.tobytes()


@pytest.mark.parametrize(
    ("top", "region"), [(Buffered, WaitingRegion), (Waiting, BufferedRegion), (Buffered, BufferedRegion)]
)
@pytest.mark.parametrize("hosts", [0, 2])
def test_any_mix_of_tiers_learns(tmp_path: Path, top: type, region: type, hosts: int) -> None:
    data = {"eu": [site(0), site(1)], "na": [site(2), site(4)]}
    result = flame.run(
        trainer=Site,
        roles={"top-aggregator": top, "middle-aggregator": region},
        tag="hierarchical",
        data=data,
        hosts=hosts,
        seed=3,
        out=tmp_path,
        settings=settings(2, 2, "fedbuff" if top is Buffered else "fedavg"),
    )
    w = flat(result)
    everything = [site(number) for number in (0, 1, 2, 4)]
    loss = [sum(((x @ weights - y) ** 2).mean() for x, y in everything) for weights in (np.zeros(FEATURES), w)]
    assert loss[1] < loss[0] / 2


def test_an_asynchronous_aggregator_does_not_wait_for_everyone(tmp_path: Path) -> None:
    wrong = {**settings(2, 2), "gate": {"sort": "everyone", "kwargs": {"atLeast": 2}}}
    with pytest.raises(RecipeError, match="its gate is goal"):
        star(tmp_path, settings=wrong)


def test_a_synchronous_aggregator_has_no_goal(tmp_path: Path) -> None:
    """Only those who are asked first would ever count."""
    wrong = {**settings(4, 2, "fedavg"), "gate": {"sort": "goal", "kwargs": {"k": 2}}}
    with pytest.raises(RecipeError, match="goal is for asynchronous aggregators"):
        star(tmp_path, settings=wrong, top=Waiting)


@pytest.mark.parametrize("kwargs", [{}, {"c": 0}, {"c": "2"}, {"k": 2}])
def test_wrong_settings_are_refused_before_anything_runs(tmp_path: Path, kwargs: dict[str, Any]) -> None:
    wrong = {**settings(2, 2), "selector": {"sort": "fedbuff", "kwargs": kwargs}}
    with pytest.raises(ConfigError, match=r"selector\.kwargs"):
        star(tmp_path, settings=wrong)
