"""A coordinated trainer with a chain of its own, in the shape of upstream's femnist example."""

import argparse
import json
import signal
import time
from pathlib import Path

import numpy as np

from flame.config import Config
from flame.mode.composer import Composer
from flame.mode.horizontal.coord_syncfl.trainer import TAG_FETCH, TAG_UPLOAD, Trainer
from flame.mode.tasklet import Loop, Tasklet


class ComposedTrainer(Trainer):
    """Saves its metrics itself."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.model, self.dataset_size, self.diary, self.saved = None, 0, [], []

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
        self.update_metrics({"loss": 1.0})

    def evaluate(self) -> None:
        pass

    def save_metrics(self) -> None:
        self.metrics = self.metrics | self.mc.get()
        self.mc.clear()
        if self.metrics:
            self.registry_client.save_metrics(self._round - 1, self.metrics)
            self.saved.append(sorted(self.metrics))

    def compose(self) -> None:
        with Composer() as composer:
            self.composer = composer

            task_internal_init = Tasklet("internal_init", self.internal_init)
            task_init = Tasklet("init", self.initialize)
            task_load_data = Tasklet("load_data", self.load_data)
            task_get_aggregator = Tasklet("get_aggregator", self._get_aggregator)
            task_get = Tasklet("fetch", self.get, TAG_FETCH)
            task_train = Tasklet("train", self.train)
            task_eval = Tasklet("evaluate", self.evaluate)
            task_put = Tasklet("upload", self.put, TAG_UPLOAD)
            task_save_metrics = Tasklet("save_metrics", self.save_metrics)

            loop = Loop(loop_check_fn=lambda: self._work_done)
            (
                task_internal_init
                >> task_init
                >> loop(
                    task_load_data
                    >> task_get_aggregator
                    >> task_get
                    >> task_train
                    >> task_eval
                    >> task_put
                    >> task_save_metrics
                )
            )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="")
    parser.add_argument("config", nargs="?", default="./config.json")
    args = parser.parse_args()

    config = Config(args.config)
    trainer = ComposedTrainer(config)
    trainer.compose()
    trainer.run()
    print(json.dumps(trainer.diary))
