"""Who waits for whom, in a star and in trees: simulated seconds until 85 of 100 unseen digits are read.

How long each of six sites takes follows from the seed, with a heavy tail, and is the same in every row.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np

import flame
from flame.common import extra
from flame.mode.horizontal.asyncfl.middle_aggregator import MiddleAggregator as AsyncMiddle
from flame.mode.horizontal.asyncfl.top_aggregator import TopAggregator as AsyncTop
from flame.mode.horizontal.eager_syncfl.top_aggregator import TopAggregator as EagerTop
from flame.mode.horizontal.syncfl.middle_aggregator import MiddleAggregator as SyncMiddle
from flame.mode.horizontal.syncfl.top_aggregator import TopAggregator as SyncTop

with extra.needed():
    from sklearn.datasets import load_digits

TARGET = 0.85
SLOW = {"seconds": 10, "workers": {"sort": "pareto", "alpha": 0.7}}
WORK = {"rounds": 60, "epochs": 5, "learningRate": 0.1, "simulatedTime": SLOW}
WAITS = {"hyperparameters": WORK}
FIRST = {**WAITS, "gate": {"sort": "first", "kwargs": {"k": 3}}}
# FedBuff: all who are idle are asked, up to six at a time, and two answers make a step.
BUFFER = {
    "hyperparameters": {**WORK, "aggGoal": 2},
    "optimizer": {"sort": "fedbuff"},
    "selector": {"sort": "fedbuff", "kwargs": {"c": 6}},
}
MIXED = {**BUFFER, "optimizer": {"sort": "fedavg"}}


def digits() -> tuple[np.ndarray, np.ndarray]:
    """1,797 images as [n, 64] from 0 to 1, and the digits [n]."""
    images, labels = load_digits(return_X_y=True)
    return images / 16.0, labels


def sites() -> list[tuple[np.ndarray, np.ndarray]]:
    images, labels = digits()
    return [(images[number:1500:6], labels[number:1500:6]) for number in range(6)]


def softmax() -> dict[str, np.ndarray]:
    return {"weights": np.zeros((64, 10)), "bias": np.zeros(10)}


class Site(flame.Trainer):
    """The same for everybody above it: it is asked, trains and answers."""

    def load_data(self) -> None:
        self.images, labels = self.data
        self.targets, self.dataset_size = np.eye(10)[labels], len(labels)

    def initialize(self) -> None:
        self.model = softmax()

    def train(self) -> None:
        settings = self.config.hyperparameters
        for _ in range(settings.epochs):
            scores = np.exp(self.images @ self.model["weights"] + self.model["bias"])
            error = scores / scores.sum(axis=1, keepdims=True) - self.targets
            self.model["weights"] -= settings.learning_rate * self.images.T @ error / self.dataset_size
            self.model["bias"] -= settings.learning_rate * error.mean(axis=0)


class Judge:
    """What an aggregator adds to its base, whichever that is."""

    def initialize(self) -> None:
        self.model = softmax()

    def evaluate(self) -> None:
        images, labels = (part[1500:] for part in digits())
        best = (images @ self.model["weights"] + self.model["bias"]).argmax(axis=1)
        self.update_metrics({"test-accuracy": float((best == labels).mean())})


class SyncServer(Judge, SyncTop):
    pass


class EagerServer(Judge, EagerTop):
    pass


class AsyncServer(Judge, AsyncTop):
    pass


STAR, TREE, COORDINATED = "two-tier", "hierarchical", "coordinated"
ROWS: dict[str, tuple[str, dict[str, type[flame.Role]], dict[str, Any]]] = {
    "star, waits for all": (STAR, {"aggregator": SyncServer}, WAITS),
    "star, eager": (STAR, {"aggregator": EagerServer}, WAITS),
    "star, first three": (STAR, {"aggregator": SyncServer}, FIRST),
    "star, FedBuff": (STAR, {"aggregator": AsyncServer}, BUFFER),
    "sync over sync": (TREE, {"top-aggregator": SyncServer, "middle-aggregator": SyncMiddle}, WAITS),
    "sync over async": (TREE, {"top-aggregator": SyncServer, "middle-aggregator": AsyncMiddle}, MIXED),
    "async over sync": (TREE, {"top-aggregator": AsyncServer, "middle-aggregator": SyncMiddle}, BUFFER),
    "async over async": (TREE, {"top-aggregator": AsyncServer, "middle-aggregator": AsyncMiddle}, BUFFER),
    "coordinated, async": (COORDINATED, {"top-aggregator": AsyncServer}, BUFFER),
}


def run(row: str, out: Path, seed: int = 1) -> tuple[float, float, int]:
    """Simulated seconds until the target is reached, the accuracy at the end, and the round of the target."""
    tag, roles, settings = ROWS[row]
    result = flame.run(
        roles={"trainer": Site, **roles}, tag=tag, data=sites(), settings=settings, hosts=0, seed=seed, out=out
    )
    top = next(name for name in roles if name.endswith("aggregator"))
    ((_, accuracy),) = result.series("test-accuracy", role=top).items()
    ((_, times),) = result.series("simulated_s", role=top).items()
    number = next(number for number, value in accuracy if value >= TARGET)
    return dict(times)[number], accuracy[-1][1], number


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="digits, six sites of which some are slow")
    parser.add_argument("--out", type=Path, default=Path("runs/asynchronous"))
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    print(f"{'':20} simulated seconds   rounds   accuracy after 60")
    for row in ROWS:
        seconds, accuracy, rounds = run(row, args.out / row.replace(", ", "-").replace(" ", "-"), args.seed)
        print(f"{row:20} {seconds:17,.0f} {rounds:8} {accuracy:19.3f}")
