"""Federations of one run that never meet: each with settings of its own, and a comparison at the end."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import flame
from flame.errors import ConfigError
from flame.tag import template


def model() -> dict[str, np.ndarray]:
    return {"w": np.zeros(2)}


def train(net: dict[str, np.ndarray], item: float) -> dict[str, float]:
    net["w"] += 0.5 * (item - net["w"])
    return {"loss": float(((net["w"] - item) ** 2).sum())}


def evaluate(net: dict[str, np.ndarray]) -> dict[str, float]:
    return {"test-loss": float(((net["w"] - 3) ** 2).sum())}


def run(out: Path, experiments: Any, groups: tuple[str, ...] = ("a", "b")) -> Any:
    return flame.run(
        model=model,
        train=train,
        evaluate=evaluate,
        data={group: [1.0, 2.0] for group in groups},
        tag=template("parallel", experiments=groups) if len(groups) > 1 else "two-tier",
        rounds=4,
        hosts=0,
        out=out,
        settings={"experiments": experiments} if experiments else {},
    )


def test_each_experiment_does_what_it_does_alone(tmp_path: Path) -> None:
    changes = {"a": {"optimizer.sort": "fedadam", "optimizer.kwargs": {"eta": 0.1}}, "b": {"hyperparameters.rounds": 2}}
    result = run(tmp_path / "both", changes)
    alone = {}
    for group, change in changes.items():
        common = {"hosts": 0, "rounds": 4, "data": [1.0, 2.0], "model": model, "train": train, "evaluate": evaluate}
        alone[group] = flame.run(**common | {"rounds": 2} if group == "b" else common, out=tmp_path / group, set={
            key: value for key, value in change.items() if not key.startswith("hyper")
        })  # fmt: skip
    assert result.experiments("test-loss") == {group: each.final("test-loss") for group, each in alone.items()}
    assert result.history.changes["a"]["optimizer.sort"] == "fedadam"
    assert result.history.changes["b"]["hyperparameters.rounds"] == "2"
    report = (tmp_path / "both" / "report.html").read_text()
    assert "<h2>Experiments</h2>" in report and "optimizer.kwargs.eta 0.1" in report


def test_one_federation_has_no_experiments(tmp_path: Path) -> None:
    result = run(tmp_path, None, ("default",))
    assert result.experiments("test-loss") == {} and result.history.experiments == {}
    assert "<h2>Experiments</h2>" not in (tmp_path / "report.html").read_text()


@pytest.mark.parametrize(
    ("experiments", "said"),
    [
        ({"mars": {}}, "experiments.mars: no channel of the TAG has such a group"),
        ({"a": {"optimiser.sort": "fedadam"}}, "experiments.a: optimiser.sort.*did you mean optimizer"),
        ({"a": {"optimizer.sort": "nosuch"}}, "no optimizer named 'nosuch'"),
        ({"a": "fedadam"}, "no table of settings by group"),
    ],
)
def test_an_experiment_that_cannot_be_is_refused(tmp_path: Path, experiments: Any, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        run(tmp_path / "out", experiments)
    assert not (tmp_path / "out").exists()


def test_a_jobs_folder_and_what_the_terminal_says(tmp_path: Path) -> None:
    job = tmp_path / "job"
    for role in ("trainer", "aggregator"):
        (job / role).mkdir(parents=True)
    (job / "trainer" / "main.py").write_text(TRAINER)
    (job / "aggregator" / "main.py").write_text(AGGREGATOR)
    (job / "schema.json").write_text(json.dumps(template("parallel", experiments=("a", "b")).to_dict()))
    (job / "dataset.json").write_text(json.dumps({"name": "one", "url": "file:///dev/null", "computeId": "default"}))
    spec = [{"role": "trainer", "datasetGroups": {"a": ["one"], "b": ["one"]}}]
    (job / "dataSpec.json").write_text(json.dumps(spec))
    model_spec = {"hyperparameters": {"rounds": 3}, "experiments": {"b": {"hyperparameters.learningRate": 0.5}}}
    (job / "modelSpec.json").write_text(json.dumps(model_spec))
    flame_ = str(Path(sys.executable).with_name("flame"))
    done = subprocess.run(
        [flame_, "run", str(job), "--hosts", "0", "--out", str(tmp_path / "out")], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "a 3  b 1.5" in done.stdout


TRAINER = """
import numpy as np
from flame.mode.horizontal.trainer import Trainer

class Site(Trainer):
    def __init__(self, config):
        self.config, self.model, self.dataset_size = config, None, 1
    def load_data(self): ...
    def initialize(self): self.model = {"w": np.zeros(1)}
    def train(self): self.model["w"] += self.config.hyperparameters.learning_rate or 1.0
    def evaluate(self): ...
"""
AGGREGATOR = """
import numpy as np
from flame.mode.horizontal.top_aggregator import TopAggregator

class Server(TopAggregator):
    def __init__(self, config):
        self.config, self.model, self.dataset = config, None, None
    def load_data(self): ...
    def initialize(self): self.model = {"w": np.zeros(1)}
    def train(self): ...
    def evaluate(self): self.update_metrics({"w": float(self.model["w"][0])})
"""
