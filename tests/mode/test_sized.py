"""Roles that tell their sizes before a round: nobody waits for a size that is not sent, whoever is asked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import flame
from flame.mode.horizontal.feddyn.top_aggregator import TopAggregator
from flame.mode.horizontal.feddyn.trainer import Trainer
from flame.tag import read

SIZES = (10, 30, 20, 40)
SEAT = [{"channel": "default"}]
TAG = read(
    {
        "name": "sized",
        "roles": [
            {"name": "trainer", "isDataConsumer": True, "groupAssociation": SEAT},
            {"name": "aggregator", "groupAssociation": SEAT},
        ],
        "channels": [
            {
                "name": "channel",
                "pair": ["trainer", "aggregator"],
                "groupBy": {"type": "tag", "value": ["default"]},
                "funcTags": {
                    "trainer": ["uploadDatasetSize", "fetch", "upload"],
                    "aggregator": ["getDatasetSize", "distribute", "aggregate"],
                },
            }
        ],
    }
)


class Site(Trainer):
    """Measures the round's alpha."""

    def __init__(self, config: Any) -> None:
        self.config, self.model, self.dataset_size = config, None, 0

    def load_data(self) -> None:
        self.dataset_size = self.data

    def initialize(self) -> None:
        self.model = {"w": np.zeros(2)}

    def train(self) -> None:
        self.model["w"] -= 0.1 * (self.model["w"] - 1 + self.regularizer.get_gradient(curr_model=self.model)["w"])
        self.update_metrics({"alpha": self.regularizer.alpha, "size": self.dataset_size})
        self.dataset_size += 1


class Top(TopAggregator):
    """Leads."""

    def __init__(self, config: Any) -> None:
        self.config, self.model, self.dataset = config, None, None

    def initialize(self) -> None:
        self.model = {"w": np.zeros(2)}


def run(out: Path, hosts: int, selector: dict[str, Any]) -> Any:
    settings = {
        "optimizer": {"sort": "feddyn", "kwargs": {"alpha": 0.5}},
        "selector": selector,
        "hyperparameters": {"rounds": 6},
    }
    return flame.run(
        trainer=Site, aggregator=Top, tag=TAG, data=list(SIZES), settings=settings, hosts=hosts, seed=5, out=out
    )


@pytest.mark.parametrize("hosts", [0, 2, 4])
def test_sizes_are_those_of_the_round(tmp_path: Path, hosts: int) -> None:
    """They grow by one in every round."""
    result = run(tmp_path, hosts, {"sort": "default"})
    assert len(result.metrics) == 6 * len(SIZES)
    for record in result.metrics:
        size, mean = record.values["size"], sum(SIZES) / len(SIZES) + record.round - 1
        assert record.values["alpha"] == pytest.approx(0.5 * mean / size)


def test_who_is_not_asked_sends_no_second_size(tmp_path: Path) -> None:
    results = [run(tmp_path / str(hosts), hosts, {"sort": "random", "kwargs": {"k": 2}}) for hosts in (0, 2)]
    for result in results:
        assert len(result.metrics) == 6 * 2
        first = [record.values for record in result.metrics if record.round == 1]
        assert all(each["alpha"] == pytest.approx(0.5 * 25 / each["size"]) for each in first)
    assert len({result.weights().arrays()["w"].tobytes() for result in results}) == 1
