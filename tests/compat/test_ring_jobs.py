"""Control-plane jobs with rings, as `flame run DIR`: examples G (distributed_training) and H (hybrid)."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from test_ring_programs import RING, UP
from upstream import PROGRAMS, channel

SITE = '''"""A trainer as upstream's examples write one."""

import argparse

import numpy as np

from flame.config import Config
from flame.mode.MODE.trainer import Trainer


class StepTrainer(Trainer):
    def __init__(self, config: Config) -> None:
        self.config = config
        self.dataset_size = 0
        self.model = None

    def load_data(self) -> None:
        self.number = int(self.config.dataset.removesuffix(".npz").rpartition("_")[2])
        self.dataset_size = 10 * self.number

    def initialize(self) -> None:
        self.model = [np.zeros((2, 2), np.float32), np.zeros(3, np.float32)]

    def train(self) -> None:
        for array in self.model:
            array += self.number

    def evaluate(self) -> None:
        self.update_metrics({"first": float(self.model[1][0])})


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="")
    parser.add_argument("config", nargs="?", default="./config.json")
    args = parser.parse_args()
    t = StepTrainer(Config(args.config))
    t.compose()
    t.run()
'''


def job(folder: Path, mode: str, schema: dict[str, Any], data: dict[str, list[int]], **model: Any) -> Path:
    """A job's folder in upstream's form."""
    files = {
        "schema": schema,
        "job": {
            "name": mode,
            "designId": mode,
            "backend": "mqtt",
            "maxRunTime": 1800,
            "dataSpecPath": "dataSpec.json",
            "modelSpecPath": "modelSpec.json",
        },
        "modelSpec": {
            "baseModel": {"name": "", "version": 1},
            "hyperparameters": {"rounds": 5, "batchSize": 32},
            "dependencies": ["numpy >= 1.2.0"],
            "selector": {"sort": "default", "kwargs": {}},
            "optimizer": {"sort": "fedavg", "kwargs": {}},
            **model,
        },
        "dataSpec": [
            {"role": "trainer", "datasetGroups": {g: [f"d{n}" for n in numbers] for g, numbers in data.items()}}
        ],
    }
    for number in [number for numbers in data.values() for number in numbers]:
        files[f"dataset{number}"] = {
            "name": f"d{number}",
            "url": f"https://storage.example.org/mnist_{number}.npz",
            "dataFormat": "npz",
            "realm": "default",
            "isPublic": True,
        }
    for name, content in files.items():
        (folder / f"{name}.json").write_text(json.dumps(content))
    (folder / "trainer").mkdir()
    (folder / "trainer" / "main.py").write_text(SITE.replace("MODE", mode))
    return folder


def run(folder: Path, hosts: int) -> tuple[Path, str]:
    out = folder / f"out-{hosts}"
    command = [str(Path(sys.executable).with_name("flame")), "run", str(folder)]
    done = subprocess.run(
        [*command, "--hosts", str(hosts), "--out", str(out)], capture_output=True, text=True, timeout=60, cwd=folder
    )
    assert done.returncode == 0, done.stderr + done.stdout
    return out, done.stdout + done.stderr


def firsts(out: Path, role: str) -> list[set[float]]:
    """What the workers of a role measured, round by round."""
    rounds: dict[int, set[float]] = {}
    for record in json.loads((out / "metrics.json").read_text())["records"]:
        if record["role"] == role:
            rounds.setdefault(record["round"], set()).add(record["values"]["first"])
    return [rounds[number] for number in sorted(rounds)]


@pytest.mark.parametrize("hosts", [0, 2])
def test_distributed_training(tmp_path: Path, hosts: int) -> None:
    """Example G: three trainers of one group, by 10, 20 and 30 samples."""
    schema = {
        "name": "Distributed training",
        "roles": [{"name": "trainer", "isDataConsumer": True, "groupAssociation": [{"param-channel": "us"}]}],
        "channels": [{**channel("param-channel", RING, "us"), "pair": ["trainer", "trainer"]}],
    }
    out, said = run(job(tmp_path, "distributed", schema, {"us": [1, 2, 3]}), hosts)
    means = firsts(out, "trainer")
    assert [len(each) for each in means] == [1] * 5
    assert [each.pop() for each in means] == pytest.approx([7 / 3 * n for n in range(1, 6)], rel=1e-6)
    assert json.loads((out / "run.json").read_text())["rounds"] == 5
    assert (out / "model.safetensors").exists() and (out / "report.html").exists()
    assert "completed, 5 rounds, 3 workers" in said


@pytest.mark.parametrize("hosts", [0, 2])
def test_hybrid(tmp_path: Path, hosts: int) -> None:
    """Example H: its aggregator is the plain one, channels have backends of their own, and a registry is named."""
    ring = {**channel("param-channel", RING, "eu", "us"), "pair": ["trainer", "trainer"], "backend": "p2p"}
    schema = {
        "name": "Hybrid",
        "roles": [
            {
                "name": "trainer",
                "isDataConsumer": True,
                "groupAssociation": [{"param-channel": g, "global-channel": "default"} for g in ("us", "eu")],
            },
            {"name": "aggregator", "groupAssociation": [{"global-channel": "default"}]},
        ],
        "channels": [ring, {**channel("global-channel", UP), "backend": "mqtt"}],
    }
    registry = {"sort": "dummy", "uri": ""}
    folder = job(tmp_path, "hybrid", schema, {"eu": [1, 2], "us": [3, 4]}, registry=registry)
    (folder / "aggregator").mkdir()
    shutil.copy(PROGRAMS / "aggregator.py", folder / "aggregator" / "main.py")
    out, _ = run(folder, hosts)
    steps = [each.pop() for each in firsts(out, "aggregator")]
    assert steps == pytest.approx([3.0 * n for n in range(1, 6)], rel=1e-6)  # (1 + 4 + 9 + 16) / 10
    # In a round a group has one model, and the groups' models differ.
    assert [len(each) for each in firsts(out, "trainer")] == [2] * 5
    rounds = json.loads((out / "timeline.json").read_text())["rounds"]
    assert [(row["asked"], row["folded"]) for row in rounds] == [(4, 2)] * 5
