"""A trainer among equals, which tells how far it is, and holds where it is told to."""

import json
import sys
import time
from importlib import import_module
from pathlib import Path

import numpy as np
from tidy import hold, leaves_nothing

from flame.config import Config

config = Config(sys.argv[1])
more = config.hyperparameters.to_dict()


class Member(import_module(f"flame.mode.{more['mode']}.trainer").Trainer):
    """Adds its learning rate to every weight; notes each round and the weights that it began it with."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.model, self.dataset_size = None, 1
        self.diary = []

    def initialize(self) -> None:
        self.model = [np.full(10, more.get("start", 0.0))]

    def train(self) -> None:
        Path(f"{self.config.task_id}.round-{self._round}").touch()
        time.sleep(more.get("work", 0))
        hold(self.config.task_id, more.get("holdIn", 0), self._round)
        self.diary.append([self._round, float(self.model[0][0])])
        self.model[0] += self.config.hyperparameters.learning_rate


if __name__ == "__main__":
    with leaves_nothing():
        member = Member(config)
        member.compose()
        member.run()
    print(json.dumps([member.diary, float(member.model[0][0])]))
