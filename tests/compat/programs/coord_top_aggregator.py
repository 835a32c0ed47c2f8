"""The top of a coordinated federation as upstream's examples write one."""

import argparse
import json
from pathlib import Path

import numpy as np

from flame.config import Config
from flame.mode.horizontal.coord_syncfl.top_aggregator import TopAggregator


class StepAggregator(TopAggregator):
    """Notes the first weight of each round's model."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.model = None
        self.dataset = None
        self.diary = []

    def load_data(self) -> None:
        pass

    def initialize(self) -> None:
        self.model = [np.zeros((2, 2), np.float32), np.zeros(3, np.float32)]

    def train(self) -> None:
        pass

    def evaluate(self) -> None:
        Path(f"{self.config.task_id}.round-{self._round}").touch()
        self.diary.append(float(self.model[1][0]))
        self.update_metrics({"first": float(self.model[1][0])})


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="")
    parser.add_argument("config", nargs="?", default="./config.json")
    args = parser.parse_args()

    config = Config(args.config)
    aggregator = StepAggregator(config)
    aggregator.compose()
    aggregator.run()
    print(json.dumps(aggregator.diary))
