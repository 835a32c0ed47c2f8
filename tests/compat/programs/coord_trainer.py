"""A trainer of a coordinated federation as upstream's examples write one."""

import argparse
import json
import signal
import time
from pathlib import Path

import numpy as np

from flame.config import Config
from flame.mode.horizontal.coord_syncfl.trainer import Trainer


class StepTrainer(Trainer):
    """Adds its learning rate to every weight."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.dataset_size = 0
        self.model = None
        self.diary = []

    def load_data(self) -> None:
        Path(f"{self.config.task_id}.loading").touch()
        self.dataset_size = self.config.hyperparameters.samples

    def initialize(self) -> None:
        self.model = [np.zeros((2, 2), np.float32), np.zeros(3, np.float32)]

    def train(self) -> None:
        Path(f"{self.config.task_id}.round-{self._round}").touch()
        if self.config.hyperparameters.to_dict().get("hangIn") == self._round:
            signal.pause()
        time.sleep(self.config.hyperparameters.to_dict().get("work", 0))
        self.diary.append(self._round)
        for array in self.model:
            array += self.config.hyperparameters.learning_rate
        self.update_metrics({"train-loss": 1.0 / self._round})

    def evaluate(self) -> None:
        pass


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="")
    parser.add_argument("config", nargs="?", default="./config.json")
    args = parser.parse_args()

    config = Config(args.config)
    trainer = StepTrainer(config)
    trainer.compose()
    trainer.run()
    print(json.dumps(trainer.diary))
