"""Small federations for tests: as classes, and as a job's folder with programs in it."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

import flame
from flame.tag import Tag, read

PATIENCE_S = 20.0


class Site(flame.Trainer):
    """Adds one to three weights."""

    def initialize(self) -> None:
        self.model, self.dataset_size = np.zeros(3, np.float32), 1

    def train(self) -> None:
        self.model += 1


class Server(flame.TopAggregator):
    """Starts from zero."""

    def initialize(self) -> None:
        self.model = np.zeros(3, np.float32)


class Node(flame.Role):
    """The base of roles whose only step is one function of their own."""

    def __init__(self, config: flame.Config) -> None:
        self.config = config

    def compose(self) -> None:
        (tag,) = self.functions()
        with flame.Composer() as self.composer:
            flame.Tasklet("internal_init", self.internal_init) >> flame.Tasklet(tag, self.call, tag)


def pair_tag(first: str, first_tag: str, second: str, second_tag: str) -> Tag:
    """Two roles on one channel, with a tag each; the first has the data."""
    seats = [{"channel": "default"}]
    return read(
        {
            "name": "two roles",
            "roles": [
                {"name": first, "isDataConsumer": True, "groupAssociation": seats},
                *([{"name": second, "groupAssociation": seats}] if second != first else []),
            ],
            "channels": [
                {
                    "name": "channel",
                    "pair": [first, second],
                    "groupBy": {"type": "tag", "value": ["default"]},
                    "funcTags": {first: [first_tag], second: [second_tag]},
                }
            ],
        }
    )


TRAINER = """
import numpy as np
from flame.config import Config
from flame.mode.horizontal.trainer import Trainer

class Site(Trainer):
    def __init__(self, config: Config) -> None:
        self.config, self.model, self.dataset_size = config, None, 0
    def load_data(self) -> None:
        self.dataset_size = 1
    def initialize(self) -> None:
        self.model = np.zeros(3, np.float32)
    def train(self) -> None:
        self.model += 1
        self.update_metrics({"loss": 1.0 / self._round})
    def evaluate(self) -> None:
        pass

if __name__ == "__main__":
    trainer = Site(Config("config.json"))
    trainer.compose()
    trainer.run()
"""
AGGREGATOR = """
import numpy as np
from flame.config import Config
from flame.mode.horizontal.top_aggregator import TopAggregator

class Server(TopAggregator):
    def __init__(self, config: Config) -> None:
        self.config, self.model, self.dataset = config, None, None
    def load_data(self) -> None:
        pass
    def initialize(self) -> None:
        self.model = np.zeros(3, np.float32)
    def train(self) -> None:
        pass
    def evaluate(self) -> None:
        self.update_metrics({"first": float(self.model[0])})
"""


def job_folder(top: Path, *, sites: int = 3, rounds: int = 2, **change: Any) -> Path:
    """A job's folder; `change` replaces a file by its stem (text as it is), or leaves it out if None."""
    schema = {
        "name": "small",
        "roles": [
            {"name": "trainer", "isDataConsumer": True, "groupAssociation": [{"param": "default"}]},
            {"name": "aggregator", "groupAssociation": [{"param": "default"}]},
        ],
        "channels": [
            {
                "name": "param",
                "pair": ["trainer", "aggregator"],
                "groupBy": {"type": "tag", "value": ["default"]},
                "funcTags": {"trainer": ["fetch", "upload"], "aggregator": ["distribute", "aggregate"]},
            }
        ],
    }
    files: dict[str, Any] = {
        "schema.json": schema,
        "job.json": {"name": "small", "dataSpecPath": "dataSpec.json", "modelSpecPath": "modelSpec.json"},
        "modelSpec.json": {"hyperparameters": {"rounds": rounds}},
        "dataSpec.json": [{"role": "trainer", "datasetGroups": {"default": ["dataset"] * sites}}],
        "dataset.json": {"url": "file://./nothing", "dataFormat": "none", "realm": "default"},
        "trainer/main.py": TRAINER,
        "aggregator/main.py": AGGREGATOR,
    }
    files.update(change)
    for name, content in files.items():
        if content is not None:
            path = top / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content if isinstance(content, str) else json.dumps(content))
    return top


def until(condition: Callable[[], object], what: str, patience_s: float = PATIENCE_S) -> None:
    """Look until something is so."""
    deadline = time.monotonic() + patience_s
    while not condition():
        assert time.monotonic() < deadline, f"not so after {patience_s:.0f} s: {what}"
        time.sleep(0.005)


def children(pid: int) -> list[int]:
    """The processes that a process has started and that are alive."""
    path = Path(f"/proc/{pid}/task/{pid}/children")
    found = [int(word) for word in path.read_text().split()] if path.exists() else []
    return [child for child in found if alive(child)]


def alive(pid: int) -> bool:
    """Whether a process runs; one that only waits to be reaped does not."""
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


def open_files() -> int:
    """How many file descriptors this process has open."""
    return len(os.listdir("/proc/self/fd"))


def weights(result: Any) -> Mapping[str, Any]:
    """The final model's arrays."""
    return result.weights().arrays()
