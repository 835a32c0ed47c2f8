"""The aggregator of one cluster; there are as many as there are models. Each begins from a model of its own."""

import argparse

import numpy as np

from flame.config import Config
from flame.mode.clustered.top_aggregator import TopAggregator


class DigitsAggregator(TopAggregator):
    """Random weights to begin with: equal models would be chosen alike."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.model = None
        self.dataset = None

    def load_data(self) -> None:
        pass

    def initialize(self) -> None:
        self.model = {"weights": np.random.normal(scale=0.3, size=(64, 10)), "bias": np.zeros(10)}

    def train(self) -> None:
        pass

    def evaluate(self) -> None:
        pass


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="clustered digits aggregator")
    parser.add_argument("config", nargs="?", default="./config.json")
    args = parser.parse_args()

    aggregator = DigitsAggregator(Config(args.config))
    aggregator.compose()
    aggregator.run()
