"""Clustered federations: with one model the star, with two the populations are told apart."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import flame
from flame.errors import FlameError, RecipeError
from flame.mode.clustered.trainer import Trainer
from flame.tag import template

SLOPES = (2.0, -2.0)


class Site(Trainer):
    data: Any

    def __init__(self, config: Any) -> None:
        self.config, self.model, self.dataset_size = config, None, 0

    def load_data(self) -> None:
        self.dataset_size = len(self.data[1])

    def initialize(self) -> None:
        self.model = {"w": np.zeros(1)}

    def loss(self) -> float:
        x, y = self.data
        return float(((x * self.model["w"] - y) ** 2).mean())

    def train(self) -> None:
        x, y = self.data
        self.model["w"] -= 0.1 * 2 * (x * (x * self.model["w"] - y)).mean()
        self.update_metrics({"loss": self.loss()})


class Server(flame.TopAggregator):
    def __init__(self, config: Any) -> None:
        self.config, self.model, self.dataset = config, None, None

    def initialize(self) -> None:
        self.model = {"w": np.random.normal(size=1) * 0.1}


def site(number: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(number)
    x = rng.normal(size=8 + number)
    return x, SLOPES[number % 2] * x + 0.1 * rng.normal(size=len(x))


def run(out: Path, clusters: int, **more: Any) -> Any:
    roles = {"trainer": Site, "aggregator": Server, **more.pop("roles", {})}
    tag = template("clustered", clusters=clusters)
    return flame.run(
        roles=roles, data=[site(n) for n in range(6)], tag=tag, rounds=30, out=out, **{"hosts": 0, "seed": 3, **more}
    )


def models(out: Path) -> list[float]:
    from flame.weights import safetensors

    found = [out / "model.safetensors", *sorted(out.glob("models/*.safetensors"))]
    return [float(safetensors.read(path).arrays()["w"][0]) for path in found]


def test_populations_are_told_apart(tmp_path: Path) -> None:
    result = run(tmp_path, 2)
    chosen = {worker: curve[-1][1] for worker, curve in result.series("cluster").items()}
    halves = {parity: {chosen[f"trainer/{n}"] for n in range(6) if n % 2 == parity} for parity in (0, 1)}
    assert len(halves[0]) == len(halves[1]) == 1 and halves[0] != halves[1]
    assert sorted(models(tmp_path)) == pytest.approx(sorted(SLOPES), abs=0.1)
    assert result.final("loss") < 0.05
    assert run(tmp_path / "one", 1).final("loss") > 1  # one model fits neither


def test_with_one_model_it_is_the_star(tmp_path: Path) -> None:
    class Usual(flame.Trainer):
        data: Any
        __init__, load_data, initialize, train = Site.__init__, Site.load_data, Site.initialize, Site.train
        loss = Site.loss

    one = run(tmp_path / "one", 1)
    star = run(tmp_path / "star", 1, roles={"trainer": Usual})
    assert one.weights().data.tobytes() == star.weights().data.tobytes()


@pytest.mark.parametrize("hosts", [1, 2, 4])
def test_the_number_of_hosts_changes_nothing(tmp_path: Path, hosts: int) -> None:
    run(tmp_path / "0", 2)
    run(tmp_path / "n", 2, hosts=hosts)
    assert models(tmp_path / "n") == models(tmp_path / "0")


@pytest.mark.parametrize("change", [{"selector.sort": "random", "selector.kwargs": {"k": 2}}, {"gate.sort": "goal"}])
def test_whoever_would_not_ask_everybody_is_refused(tmp_path: Path, change: dict[str, Any]) -> None:
    with pytest.raises(RecipeError, match=r"selector.sort: in a clustered|gate.sort: goal is for"):
        run(tmp_path, 2, set=change)


def test_how_many_aggregators_is_said_once(tmp_path: Path) -> None:
    for told, match in ((3, "clusters is 3; the TAG makes 2"), (0, "clusters is 0; give the number")):
        with pytest.raises(FlameError, match=match):
            run(tmp_path, 2, settings={"hyperparameters": {"clusters": told}})
