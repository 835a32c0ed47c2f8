"""A trainer that tells how far it is, and holds where it is told to."""

import json
import sys
import time
from pathlib import Path

import numpy as np
from tidy import hold, leaves_nothing

from flame.config import Config
from flame.mode.horizontal.trainer import Trainer


class Site(Trainer):
    """Adds its learning rate to every weight."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.model, self.dataset_size = None, 0
        self.more = config.hyperparameters.to_dict()
        self.diary = []

    def load_data(self) -> None:
        self.dataset_size = self.config.hyperparameters.samples
        self.told("loading")

    def initialize(self) -> None:
        self.model = [np.zeros(self.more.get("size", 10), np.float32)]

    def train(self) -> None:
        self.told(f"round-{self._round}")
        hold(self.config.task_id, self.more.get("holdIn", 0), self._round)
        time.sleep(self.more.get("work", 0))
        self.diary.append([self._round, float(self.model[0][0])])
        self.model[0] += self.config.hyperparameters.learning_rate

    def evaluate(self) -> None:
        pass

    def put(self, tag: str) -> None:
        super().put(tag)
        self.told(f"sent-{self._round}")

    def told(self, what: str) -> None:
        Path(f"{self.config.task_id}.{what}").touch()


if __name__ == "__main__":
    with leaves_nothing():
        site = Site(Config(sys.argv[1]))
        site.compose()
        site.run()
    print(json.dumps(site.diary))
