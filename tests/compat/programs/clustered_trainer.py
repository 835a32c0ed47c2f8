"""A trainer of a clustered federation: a line through the origin, of one of two slopes."""

import argparse
import json
import time
from pathlib import Path

import numpy as np

from flame.config import Config
from flame.mode.clustered.trainer import Trainer


class ClusteredTrainer(Trainer):
    """`slope` and `work`, the seconds that a round takes, are among the hyperparameters; keeps what it chose."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.model = None
        self.dataset_size = 0
        self.chosen = []

    def load_data(self) -> None:
        self.x = np.linspace(-1, 1, 11)
        self.y = self.config.hyperparameters.slope * self.x
        self.dataset_size = len(self.x)

    def initialize(self) -> None:
        self.model = {"w": np.zeros(1)}

    def loss(self) -> float:
        return float(((self.x * self.model["w"] - self.y) ** 2).mean())

    def train(self) -> None:
        self.chosen.append(self.metrics["cluster"])
        Path(f"{self.config.task_id}.round-{self._round}").touch()
        time.sleep(self.config.hyperparameters.work)
        self.model["w"] += (self.x * (self.y - self.x * self.model["w"])).mean()

    def evaluate(self) -> None:
        pass


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="")
    parser.add_argument("config", nargs="?", default="./config.json")
    args = parser.parse_args()

    trainer = ClusteredTrainer(Config(args.config))
    trainer.compose()
    trainer.run()
    print(json.dumps(trainer.chosen))
