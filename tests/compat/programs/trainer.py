"""A trainer as upstream's examples write one: no call of the parent's constructor, state on `self`."""

import argparse
import json
import signal
import time
from pathlib import Path

import numpy as np

from flame.config import Config
from flame.mode.horizontal.trainer import Trainer


class StepTrainer(Trainer):
    """Adds its learning rate to every weight."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.dataset_size = 0
        self.model = None
        self.metrics = None
        self.optimizer = "mine"
        self._round = 1
        self._rounds = self.config.hyperparameters.rounds
        self.learning_rate = self.config.hyperparameters.learning_rate or 1.0
        self.batch_size = self.config.hyperparameters.batch_size or 16
        self.diary = []

    def load_data(self) -> None:
        self.told("loading")
        self.wait_for(self.config.hyperparameters.to_dict().get("loadWhen"))
        self.dataset_size = self.config.hyperparameters.samples

    def initialize(self) -> None:
        assert self.dataset_size  # load_data comes first
        self.model = [np.zeros((2, 2), np.float32), np.zeros(3, np.float32)]

    def train(self) -> None:
        self.told(f"round-{self._round}")
        if self.config.hyperparameters.to_dict().get("hangIn") == self._round:
            signal.pause()
        time.sleep(self.config.hyperparameters.to_dict().get("work", 0))
        self.diary.append([self._round, float(self.model[1][0]), float(self.weights[1][0]), self.optimizer])
        for array in self.model:
            array += self.learning_rate
        self.update_metrics({"train-loss": 1.0 / self._round})

    def evaluate(self) -> None:
        self.update_metrics({"test-loss": 2.0 / self._round})

    def told(self, what: str) -> None:
        """Leave a sign for whoever watches."""
        Path(f"{self.config.task_id}.{what}").touch()

    def wait_for(self, sign: str | None) -> None:
        deadline = time.monotonic() + 90
        while sign and not Path(sign).exists():
            assert time.monotonic() < deadline
            time.sleep(0.005)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="")
    parser.add_argument("config", nargs="?", default="./config.json")
    args = parser.parse_args()

    config = Config(args.config)
    trainer = StepTrainer(config)
    trainer.compose()
    trainer.run()
    print(json.dumps(trainer.diary))
