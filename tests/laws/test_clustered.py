"""Clustered federations: with one model the star, with two the populations are told apart."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import flame
from flame.config import JobSpec
from flame.config.build import configs
from flame.errors import FlameError, RecipeError
from flame.mode.clustered.trainer import Trainer
from flame.tag import expand, template

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


def of_a_star(metric: str = "loss") -> type[flame.Trainer]:
    """The same program as it is written for a star, whose `loss` is something else."""

    class Usual(flame.Trainer):
        data: Any
        __init__, load_data, initialize = Site.__init__, Site.load_data, Site.initialize

        def loss(self, x: np.ndarray, y: np.ndarray) -> float:
            return float(((x * self.model["w"] - y) ** 2).mean())

        def train(self) -> None:
            x, y = self.data
            self.model["w"] -= 0.1 * 2 * (x * (x * self.model["w"] - y)).mean()

        def evaluate(self) -> None:
            self.update_metrics({metric: self.loss(*self.data)} if metric else {})

    return Usual


def test_a_star_s_program_chooses_by_what_its_evaluate_reports(tmp_path: Path) -> None:
    own = run(tmp_path / "own", 2)
    for metric, more in (("loss", {}), ("mse", {"settings": {"hyperparameters": {"chooseBy": "mse"}}})):
        star = run(tmp_path / metric, 2, roles={"trainer": of_a_star(metric)}, **more)
        assert models(tmp_path / metric) == models(tmp_path / "own")
        assert star.series("cluster") == own.series("cluster")
        assert len(star.series(metric)["trainer/0"]) == 30


@pytest.mark.parametrize(("reported", "said"), [("", "reports none"), ("mse", "reports mse")])
def test_a_program_that_reports_no_loss_is_refused_before_it_trains(tmp_path: Path, reported: str, said: str) -> None:
    program = of_a_star(reported)
    program.train = lambda self: pytest.fail("it trains")  # type: ignore[method-assign]
    with pytest.raises(FlameError, match=f"by the metric 'loss'.* and evaluate of Usual {said}: let it call"):
        run(tmp_path, 2, roles={"trainer": program})


def test_a_star_s_program_that_is_started_by_itself_does_not_choose() -> None:
    tag, job = template("clustered"), JobSpec(id="0" * 24, name="job")
    workers = configs(tag, job, expand(tag, {"trainer": {"default": [("", "site")]}}, job_id=job.id))
    config = next(worker for worker in workers if worker.role == "trainer")
    with pytest.raises(RecipeError, match="has a trainer choose among models"):
        of_a_star().check_config(config)


def test_with_one_model_it_is_the_star(tmp_path: Path) -> None:
    one, own = run(tmp_path / "one", 1, roles={"trainer": of_a_star("")}), run(tmp_path / "own", 1)
    roles, data = {"trainer": of_a_star(""), "aggregator": Server}, [site(n) for n in range(6)]
    star = flame.run(roles=roles, data=data, rounds=30, hosts=0, seed=3, out=tmp_path / "star")
    assert one.weights().data.tobytes() == own.weights().data.tobytes() == star.weights().data.tobytes()


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
