"""An aggregator of one cluster; its model begins where the hyperparameter `begin` says."""

import argparse
import json

import numpy as np

from flame.config import Config
from flame.mode.clustered.top_aggregator import TopAggregator


class ClusteredAggregator(TopAggregator):
    def __init__(self, config: Config) -> None:
        self.config = config
        self.model = None
        self.dataset = None

    def load_data(self) -> None:
        pass

    def initialize(self) -> None:
        self.model = {"w": np.full(1, float(self.config.hyperparameters.begin))}

    def train(self) -> None:
        pass

    def evaluate(self) -> None:
        pass


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="")
    parser.add_argument("config", nargs="?", default="./config.json")
    args = parser.parse_args()

    aggregator = ClusteredAggregator(Config(args.config))
    aggregator.compose()
    aggregator.run()
    print(json.dumps(float(aggregator.model["w"][0])))
