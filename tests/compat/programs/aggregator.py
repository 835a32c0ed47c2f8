"""An aggregator as upstream's examples write one."""

import argparse
import json
import signal
import time
from pathlib import Path

import numpy as np

from flame.config import Config
from flame.dataset import Dataset
from flame.mode.horizontal.top_aggregator import TopAggregator


class StepAggregator(TopAggregator):
    """Notes the first weight of each round's model."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.model = None
        self.dataset: Dataset = None
        self.metrics = None
        self.diary = []

    def load_data(self) -> None:
        self.dataset = Dataset(dataloader=[(np.zeros(2), np.ones(2))])

    def initialize(self) -> None:
        assert self.dataset.get()[1][0] == 1
        self.model = [np.zeros((2, 2), np.float32), np.zeros(3, np.float32)]

    def train(self) -> None:
        pass

    def evaluate(self) -> None:
        Path(f"{self.config.task_id}.round-{self._round}").touch()
        if self.config.hyperparameters.to_dict().get("hangIn") == self._round:
            signal.pause()
        self.diary.append(float(self.model[1][0]))
        self.update_metrics({"first": float(self.model[1][0])})

    def save_model(self) -> None:
        Path(f"{self.config.task_id}.saving").touch()
        when = self.config.hyperparameters.to_dict().get("saveWhen")
        while when and not Path(when).exists():
            time.sleep(0.01)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="")
    parser.add_argument("config", nargs="?", default="./config.json")
    args = parser.parse_args()

    config = Config(args.config)
    aggregator = StepAggregator(config)
    aggregator.compose()
    aggregator.run()
    print(json.dumps(aggregator.diary))
