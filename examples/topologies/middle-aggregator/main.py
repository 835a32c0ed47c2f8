"""A region: averages what its sites learned before it goes up."""

import argparse

from flame.config import Config
from flame.mode.horizontal.syncfl.middle_aggregator import MiddleAggregator


class DigitsMiddleAggregator(MiddleAggregator):
    """Nothing to add: it has no data and needs no model of its own."""

    def __init__(self, config: Config) -> None:
        self.config = config

    def load_data(self) -> None:
        pass

    def initialize(self) -> None:
        pass

    def train(self) -> None:
        pass

    def evaluate(self) -> None:
        pass


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="digits middle aggregator")
    parser.add_argument("config", nargs="?", default="./config.json")
    args = parser.parse_args()

    middle = DigitsMiddleAggregator(Config(args.config))
    middle.compose()
    middle.run()
