"""A run that was stopped after any round and resumed is the run that was not, bit for bit: model, metrics, rounds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from test_laws import ADAPTIVE, FEATURES, site

import flame
from flame.errors import ConfigError
from flame.mode.horizontal.asyncfl.top_aggregator import TopAggregator as AsyncTop

ROUNDS = 6
SITES = [site(number) for number in range(6)]
GROUPED = {"eu": SITES[:2], "na": SITES[2:]}


def model() -> dict[str, np.ndarray]:
    return {"w": np.zeros(FEATURES, np.float32), "b": np.zeros(1, np.float32)}


class Site(flame.Trainer):
    """Steps on minibatches that the worker's own random numbers choose."""

    def load_data(self) -> None:
        self.x, self.y = self.data
        self.dataset_size = len(self.y)

    def initialize(self) -> None:
        self.model = model()

    def train(self) -> None:
        for _ in range(2):
            picked = np.random.permutation(len(self.y))[:8]
            error = self.x[picked] @ self.model["w"] + self.model["b"] - self.y[picked]
            self.model["w"] -= 0.05 * (self.x[picked].T @ error / len(picked)).astype(np.float32)
            self.model["b"] -= np.float32(0.05 * error.mean())
        self.update_metrics({"loss": float((error**2).mean())})


class Server:
    def initialize(self) -> None:
        self.model = model()

    def evaluate(self) -> None:
        self.update_metrics({"norm": float(np.abs(self.model["w"]).sum()), "chance": np.random.random()})


class Top(Server, flame.TopAggregator):
    pass


class Buffered(Server, AsyncTop):
    pass


PLAIN: dict[str, Any] = {"trainer": Site, "aggregator": Top, "data": SITES}
TREE = {"trainer": Site, "roles": {"top-aggregator": Top}, "tag": "hierarchical", "data": GROUPED}
BUFFER = {
    "trainer": Site,
    "aggregator": Buffered,
    "data": SITES,
    "set": {
        "optimizer.sort": "fedbuff",
        "selector.sort": "fedbuff",
        "selector.kwargs": {"c": 3},
        "hyperparameters.aggGoal": 2,
    },
}


def settings(job: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {**job, "set": {**job.get("set", {}), **more}}


class Net(flame.Trainer):
    """A module with running means, an optimizer with momentum that outlives a round, and a generator of its own."""

    def load_data(self) -> None:
        x, y = self.data
        self.x, self.y = torch.tensor(x, dtype=torch.float32), torch.tensor(y, dtype=torch.float32)
        self.dataset_size = len(y)

    def initialize(self) -> None:
        self.model = net()
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=0.01)
        self.generator = np.random.default_rng(3)
        self.head = torch.nn.Linear(1, 1)
        self.rounds_trained = 0

    def train(self) -> None:
        picked = torch.tensor(self.generator.permutation(len(self.y))[:4])
        loss = ((self.head(self.model(self.x[picked])).squeeze() - self.y[picked]) ** 2).mean() + torch.rand(()).item()
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        with torch.no_grad():
            self.head.weight += 0.1
        self.rounds_trained += 1
        self.update_metrics({"loss": loss.item(), "trained": self.rounds_trained})

    def state_dict(self) -> dict[str, Any]:
        return {"trained": self.rounds_trained}

    def load_state_dict(self, state: Any) -> None:
        self.rounds_trained = state["trained"]


class NetTop(flame.TopAggregator):
    def initialize(self) -> None:
        self.model = net()


def net() -> torch.nn.Module:
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(FEATURES, 3), torch.nn.BatchNorm1d(3), torch.nn.Linear(3, 1))


TOPK = {
    "channels.param-channel.compression": "topk",
    "channels.param-channel.compression.kwargs": {"keep": 0.2, "whole": 0},
}
TORCH = {"trainer": Net, "aggregator": NetTop, "data": SITES}

JOBS = {
    "star": PLAIN,
    "tree": TREE,
    "async": BUFFER,
    "fedadam": settings(PLAIN, **{"optimizer.sort": "fedadam", "optimizer.kwargs": ADAPTIVE}),
    "fedyogi in a tree": settings(TREE, **{"optimizer.sort": "fedyogi", "optimizer.kwargs": ADAPTIVE}),
    "topk": settings(PLAIN, **TOPK),
    "torch, topk, fedadam": settings(TORCH, **TOPK, **{"optimizer.sort": "fedadam"}),
    "cohorts": settings(PLAIN, **{"selector.sort": "random", "selector.kwargs": {"k": 2}}),
}


COHORTS = JOBS["cohorts"]


def run(job: dict[str, Any], out: Path, rounds: int = ROUNDS, **more: Any) -> Any:
    return flame.run(**{"rounds": rounds, "out": out, "hosts": 0, "seed": 7, **job, **more})


def rows(result: Any) -> list[Any]:
    return [(record.round, record.worker, record.values) for record in result.metrics]


def same(one: Any, other: Any) -> None:
    assert one.weights().data.tobytes() == other.weights().data.tobytes()
    assert rows(one) == rows(other)
    kept = [
        [(row.round, row.worker, row.asked, row.folded, row.bytes) for row in each.history.rounds]
        for each in (one, other)
    ]
    assert sorted(kept[0]) == sorted(kept[1])


@pytest.mark.parametrize("job", JOBS.values(), ids=JOBS)
@pytest.mark.parametrize("stop", [1, 3, 5])
def test_stopped_and_resumed_is_uninterrupted(tmp_path: Path, job: dict[str, Any], stop: int) -> None:
    whole = run(job, tmp_path / "whole")
    run(job, tmp_path / "part", stop, checkpoint=2)
    same(run(job, tmp_path / "part", resume=tmp_path / "part"), whole)


@pytest.mark.parametrize("job", JOBS.values(), ids=JOBS)
def test_with_any_number_of_hosts(tmp_path: Path, job: dict[str, Any]) -> None:
    whole, part = run(job, tmp_path / "whole"), tmp_path / "part"
    run(job, part, 2, checkpoint=1, hosts=2)
    run(job, part, 3, resume=part, hosts=0)
    run(job, part, 4, resume=part, hosts=4)
    same(run(job, part, resume=part, hosts=1), whole)


def test_a_checkpoint_changes_nothing(tmp_path: Path) -> None:
    same(run(TREE, tmp_path / "with", checkpoint=1, hosts=2), run(TREE, tmp_path / "without"))


def test_a_training_can_be_extended_again_and_again(tmp_path: Path) -> None:
    part = tmp_path / "part"
    run(TREE, part, 2, checkpoint=2)
    for rounds in (3, 4, ROUNDS):
        last = run(TREE, part, rounds, resume=part)
    same(last, run(TREE, tmp_path / "whole"))
    assert sorted(path.name for path in (part / "checkpoints").iterdir()) == ["4", "6", "record"]


def test_who_was_not_asked_since_is_kept_again(tmp_path: Path) -> None:
    """Two of six are asked in a round: the others' states go from checkpoint to checkpoint."""
    part = tmp_path / "part"
    for rounds in range(1, ROUNDS + 1):
        last = run(COHORTS, part, rounds, **({"resume": part} if rounds > 1 else {"checkpoint": 1}))
    same(last, run(COHORTS, tmp_path / "whole"))


def test_it_may_go_on_elsewhere(tmp_path: Path) -> None:
    run(PLAIN, tmp_path / "part", 3, checkpoint=1)
    before = (tmp_path / "part" / "metrics.csv").read_bytes()
    same(run(PLAIN, tmp_path / "other", resume=tmp_path / "part"), run(PLAIN, tmp_path / "whole"))
    assert (tmp_path / "part" / "metrics.csv").read_bytes() == before


def test_what_the_run_was_given_counts_on(tmp_path: Path) -> None:
    """Seed, settings and how often there is a checkpoint need not be said again."""
    job = JOBS["fedadam"]
    whole = run(job, tmp_path / "whole")
    run(job, tmp_path / "part", 2, checkpoint=2)
    result = flame.run(**PLAIN, rounds=ROUNDS, hosts=0, resume=tmp_path / "part")
    same(result, whole)
    assert (tmp_path / "part" / "checkpoints" / "6").is_dir()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"seed": 8}, "has the seed 7, not 8"),
        ({"set": {"optimizer.sort": "fedyogi"}}, r'optimizer\.sort was "fedavg" and is "fedyogi"'),
        ({"data": SITES[:5]}, "its workers or their datasets"),
        (
            {"tag": "hierarchical", "data": GROUPED, **{"aggregator": None, "roles": {"top-aggregator": Top}}},
            "changed: tag",
        ),
        ({"rounds": 3}, "gone through 3 rounds, and the job has 3"),
    ],
)
def test_another_job_is_refused(tmp_path: Path, change: dict[str, Any], said: str) -> None:
    run(PLAIN, tmp_path / "part", 3, checkpoint=1)
    before = sorted((tmp_path / "part").rglob("*"))
    with pytest.raises(ConfigError, match=said):
        run({**PLAIN, **change}, tmp_path / "part", resume=tmp_path / "part")
    assert sorted((tmp_path / "part").rglob("*")) == before
    assert (tmp_path / "part" / "model.safetensors").is_file()
