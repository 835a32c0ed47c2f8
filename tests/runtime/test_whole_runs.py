"""Whole runs: any number of hosts, any shape of TAG, any form of model, and what a run directory holds."""

from __future__ import annotations

import csv
import json
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_jobs import Server, Site, job_folder, weights

import flame
from flame.errors import WorkerFailed
from flame.tag import template
from flame.weights import safetensors


def read_json(path: Path) -> Any:
    return json.loads(path.read_text())


@pytest.mark.parametrize("hosts", [0, 1, 2, 3, 5])
def test_any_number_of_hosts(tmp_path: Path, hosts: int) -> None:
    """As many as were asked for, but none without a worker."""
    result = flame.run(job_folder(tmp_path / "job", sites=3), hosts=hosts, out=tmp_path / "out")
    facts = read_json(tmp_path / "out" / "run.json")
    assert (facts["hosts"], facts["workers"], facts["status"]) == (min(hosts, 4), 4, "completed")
    assert weights(result)["array"].tolist() == [2, 2, 2] and len(facts["pids"]) == min(hosts, 4)
    assert os.getpid() not in facts["pids"].values()


def test_a_run_directory_is_complete(tmp_path: Path) -> None:
    job, out = job_folder(tmp_path / "job", sites=2, rounds=3), tmp_path / "out"
    flame.run(job, hosts=2, seed=5, out=out, set={"optimizer.sort": "fedavg"})
    facts = read_json(out / "run.json")
    assert facts["roles"] == {"aggregator": 1, "trainer": 2} and facts["rounds"] == facts["rounds_asked"] == 3
    assert (facts["seed"], facts["name"], facts["settings"]) == (5, "small", {"optimizer.sort": '"fedavg"'}) or (
        facts["settings"] == {"optimizer.sort": "fedavg"}
    )
    assert facts["bytes_sent"] > 0 and facts["messages"] == 3 * 2 * 2 + 2
    assert read_json(out / "tag.json")["name"] == "small"
    assert [json.loads(line)["role"] for line in (out / "configs.jsonl").read_text().splitlines()] == [
        "aggregator",
        "trainer",
        "trainer",
    ]
    records = read_json(out / "metrics.json")["records"]
    assert [(each["round"], each["worker"]) for each in records] == [
        (number, worker) for number in (1, 2, 3) for worker in ("aggregator/0", "trainer/0", "trainer/1")
    ]
    rows = list(csv.DictReader((out / "metrics.csv").read_text().splitlines()))
    assert len(rows) == 9 and {row["name"] for row in rows} == {"first", "loss"}
    timeline = read_json(out / "timeline.json")
    assert [(each["round"], each["asked"], each["folded"]) for each in timeline["rounds"]] == [
        (n, 2, 2) for n in (1, 2, 3)
    ]
    counts = {(each["role"], each["alias"]): each["count"] for each in timeline["totals"]}
    assert counts["trainer", "train"] == 6 and counts["aggregator", "aggregate"] == 3
    assert all(span["start"] >= 0 and span["seconds"] >= 0 for span in timeline["spans"])
    assert (out / "report.html").is_file() and (out / "model.safetensors").is_file()
    assert not list(out.glob("*.part"))


def test_a_run_directory_can_be_used_again(tmp_path: Path) -> None:
    """Nothing of the run before is left in it, whatever becomes of the second one."""
    flame.run(trainer=Site, aggregator=Server, data=[0], rounds=1, hosts=0, out=tmp_path)

    class Fails(Site):
        def train(self) -> None:
            raise ValueError("no")

    with pytest.raises(WorkerFailed):
        flame.run(trainer=Fails, aggregator=Server, data=[0], rounds=1, hosts=0, out=tmp_path)
    assert read_json(tmp_path / "run.json")["status"] == "failed"
    assert not (tmp_path / "model.safetensors").exists()


@pytest.mark.parametrize("hosts", [0, 2])
def test_who_is_never_asked_is_never_built(tmp_path: Path, hosts: int) -> None:
    """Of nine sites two are asked in each of two rounds; the others are not even constructed."""

    class Built(Site):
        def __init__(self, config: flame.Config) -> None:
            super().__init__(config)
            (tmp_path / config.name.replace("/", "-")).touch()

    flame.run(
        trainer=Built,
        aggregator=Server,
        data=[0] * 9,
        rounds=2,
        hosts=hosts,
        set={"selector": {"sort": "random", "kwargs": {"k": 2}}},
        out=tmp_path / "out",
    )
    built = len(list(tmp_path.glob("trainer-*")))
    facts = read_json(tmp_path / "out" / "run.json")
    assert 2 <= built <= 4 and facts["never_asked"] == 9 - built


@pytest.mark.parametrize("hosts", [0, 2, 4])
def test_three_tiers(tmp_path: Path, hosts: int) -> None:
    class Steps(Site):
        def train(self) -> None:
            self.model += self.data
            self.dataset_size = 1

    tag = template("hierarchical", regions=("eu", "na"))
    result = flame.run(
        trainer=Steps,
        roles={"top-aggregator": Server},
        tag=tag,
        data={"eu": [1.0, 2.0, 6.0], "na": [3.0]},
        rounds=2,
        hosts=hosts,
        out=tmp_path,
    )
    assert weights(result)["array"].tolist() == [6, 6, 6]  # the mean of four sites, twice


@pytest.mark.parametrize("hosts", [0, 3])
def test_federations_side_by_side(tmp_path: Path, hosts: int) -> None:
    """Disjoint groups do not mix; each has a model of its own."""

    class Steps(Site):
        def train(self) -> None:
            self.model += self.data

    flame.run(
        trainer=Steps,
        aggregator=Server,
        tag=template("parallel", experiments=("a", "b", "c")),
        data={"a": [1.0, 1.0], "b": [2.0, 2.0], "c": [4.0]},
        rounds=1,
        hosts=hosts,
        out=tmp_path,
    )
    paths = [tmp_path / "model.safetensors", *sorted((tmp_path / "models").glob("*.safetensors"))]
    assert sorted(float(safetensors.read(path).arrays()["array"][0]) for path in paths) == [1.0, 2.0, 4.0]


MODELS = {
    "one array": lambda: np.zeros((2, 3)),
    "a list": lambda: [np.zeros(2, np.float32), np.zeros((1, 2), np.int64)],
    "a dict": lambda: {"w": np.zeros(3, np.float32), "n": np.zeros((), np.int32)},
    "large": lambda: {"w": np.zeros((300, 300), np.float32)},
}


@pytest.mark.parametrize("hosts", [0, 2])
@pytest.mark.parametrize("form", MODELS)
def test_models_of_arrays(tmp_path: Path, form: str, hosts: int) -> None:
    def step(model: Any, item: int) -> None:
        for array in model.values() if isinstance(model, dict) else model if isinstance(model, list) else [model]:
            array += 2 * item

    result = flame.run(model=MODELS[form], train=step, data=[1, 3], rounds=2, hosts=hosts, out=tmp_path)
    for array in weights(result).values():
        assert (array == 8).all()


@pytest.mark.parametrize("hosts", [0, 2])
def test_a_torch_model_with_batch_norm(tmp_path: Path, hosts: int) -> None:
    """Integer buffers and running statistics are averaged too; every bit is the same on two hosts."""
    torch = pytest.importorskip("torch")

    def make() -> Any:
        torch.manual_seed(0)
        return torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.BatchNorm1d(3), torch.nn.Linear(3, 1))

    def step(model: Any, item: int) -> dict[str, Any]:
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        model.train()
        for _ in range(item):
            optimizer.zero_grad()
            loss = (model(torch.randn(8, 4)) ** 2).mean()
            loss.backward()
            optimizer.step()
        return {"loss": loss.detach()}

    runs = [
        flame.run(model=make, train=step, data=[1, 3, 2], rounds=2, hosts=each, out=tmp_path / str(each))
        for each in {0, hosts}
    ]
    first, last = weights(runs[0]), weights(runs[-1])
    assert first["1.num_batches_tracked"] == 4 and first["1.running_var"].std() > 0
    assert {name: array.tobytes() for name, array in first.items()} == {n: a.tobytes() for n, a in last.items()}


@pytest.mark.parametrize("hosts", [0, 1])
def test_metrics_are_numbers_whatever_library_they_come_from(tmp_path: Path, hosts: int) -> None:
    class Measures(Site):
        def evaluate(self) -> None:
            values = {"a": np.float32(0.5), "b": np.int64(3), "c": np.array(0.25), "d": np.float64(2.0)}
            self.update_metrics(values)

    flame.run(trainer=Measures, aggregator=Server, data=[0], rounds=1, hosts=hosts, out=tmp_path)
    (record,) = read_json(tmp_path / "metrics.json")["records"]
    assert record["values"] == {"a": 0.5, "b": 3, "c": 0.25, "d": 2.0}


def test_a_site_without_samples_weighs_nothing(tmp_path: Path) -> None:
    class Sized(Site):
        def train(self) -> None:
            self.dataset_size = self.data
            self.model += 100 if self.data == 0 else 1

    result = flame.run(trainer=Sized, aggregator=Server, data=[0, 2, 3], rounds=2, hosts=0, out=tmp_path / "some")
    assert weights(result)["array"].tolist() == [2, 2, 2]
    result = flame.run(trainer=Sized, aggregator=Server, data=[0, 0], rounds=2, hosts=0, out=tmp_path / "none")
    assert weights(result)["array"].tolist() == [0, 0, 0] and result.status == "completed"


@pytest.mark.parametrize("hosts", [0, 2])
def test_a_model_that_changes_its_shape_is_named(tmp_path: Path, hosts: int) -> None:
    class Grows(flame.Trainer):
        def initialize(self) -> None:
            self.model, self.dataset_size = {"head": np.zeros(3, np.float32), "body": np.zeros(2, np.float32)}, 1

        def train(self) -> None:
            if self.data == 1 and self._round == 2:
                self.model["head"] = np.zeros(4, np.float32)

    class Starts(Server):
        def initialize(self) -> None:
            self.model = {"head": np.zeros(3, np.float32), "body": np.zeros(2, np.float32)}

    with pytest.raises(
        WorkerFailed, match=r"trainer/1 .*WeightsError: tensor head held floats of \[3\], and is .*\[4\]"
    ):
        flame.run(trainer=Grows, aggregator=Starts, data=[0, 1], rounds=3, hosts=hosts, out=tmp_path)


def test_models_that_do_not_fit_are_told_apart(tmp_path: Path) -> None:
    """A trainer with another architecture than the aggregator."""

    class Other(Site):
        def initialize(self) -> None:
            self.model, self.dataset_size = np.zeros(4, np.float32), 1

    with pytest.raises(WorkerFailed, match=r"trainer/0 .*WeightsError: .*array"):
        flame.run(trainer=Other, aggregator=Server, data=[0], hosts=0, out=tmp_path)


def test_orders_leave_before_somebody_here_computes(tmp_path: Path) -> None:
    """Two sites in two hosts compute at the same time, not one after the other."""

    class Notes(Site):
        def train(self) -> None:
            mine, other = tmp_path / f"{self.data}-{self._round}", tmp_path / f"{1 - self.data}-{self._round}"
            mine.touch()
            end = time.monotonic() + 1
            while not other.exists() and time.monotonic() < end:
                time.sleep(0.001)
            self.update_metrics({"together": other.exists()})

    result = flame.run(trainer=Notes, aggregator=Server, data=[0, 1], rounds=3, hosts=2, out=tmp_path / "out")
    assert all(record.values["together"] for record in result.metrics)
