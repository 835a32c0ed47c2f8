"""A trainer with a chain of its own, in the shape of upstream's femnist example: data is loaded in every round."""

import argparse
import json

import numpy as np

from flame.config import Config
from flame.mode.composer import Composer
from flame.mode.horizontal.syncfl.trainer import TAG_FETCH, TAG_UPLOAD, Trainer
from flame.mode.tasklet import Loop, Tasklet


class ComposedTrainer(Trainer):
    """Counts how often it loads."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.model, self.dataset_size, self.loads, self.rounds = None, 0, 0, []

    def load_data(self) -> None:
        self.loads += 1
        self.dataset_size = self.config.hyperparameters.samples

    def initialize(self) -> None:
        self.model = [np.zeros((2, 2), np.float32), np.zeros(3, np.float32)]

    def train(self) -> None:
        self.rounds.append(self._round)
        for array in self.model:
            array += 1

    def evaluate(self) -> None:
        pass

    def compose(self) -> None:
        with Composer() as composer:
            self.composer = composer

            task_internal_init = Tasklet("internal_init", self.internal_init)
            task_init = Tasklet("init", self.initialize)
            task_load_data = Tasklet("load_data", self.load_data)
            task_get = Tasklet("fetch", self.get, TAG_FETCH)
            task_get.set_continue_fn(cont_fn=lambda: not self.fetch_success)
            task_train = Tasklet("train", self.train)
            task_eval = Tasklet("evaluate", self.evaluate)
            task_put = Tasklet("upload", self.put, TAG_UPLOAD)
            task_save_metrics = Tasklet("save_metrics", self.save_metrics)

            loop = Loop(loop_check_fn=lambda: self._work_done)
            (
                task_internal_init
                >> task_init
                >> loop(task_load_data >> task_get >> task_train >> task_eval >> task_put >> task_save_metrics)
            )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="")
    parser.add_argument("config", nargs="?", default="./config.json")
    args = parser.parse_args()

    trainer = ComposedTrainer(Config(args.config))
    trainer.compose()
    trainer.run()
    print(json.dumps([trainer.loads, trainer.rounds]))
