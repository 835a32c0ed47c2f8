"""The aggregator: averages the hospitals' models. It has no patients, so it tests nothing."""

import argparse

import numpy as np

from flame.config import Config
from flame.mode.horizontal.top_aggregator import TopAggregator

FEATURES = 13


class HeartAggregator(TopAggregator):
    """Starts from zeros: at first, nobody is more likely to be ill than well."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.model = None
        self.dataset = None

    def load_data(self) -> None:
        pass

    def initialize(self) -> None:
        self.model = {"weights": np.zeros(FEATURES), "bias": np.zeros(1)}

    def train(self) -> None:
        pass

    def evaluate(self) -> None:
        pass


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="heart disease aggregator")
    parser.add_argument("config", nargs="?", default="./config.json")
    args = parser.parse_args()

    aggregator = HeartAggregator(Config(args.config))
    aggregator.compose()
    aggregator.run()
