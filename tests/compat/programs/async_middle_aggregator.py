"""An asynchronous middle aggregator as upstream's examples write one."""

import argparse
from pathlib import Path

from flame.config import Config
from flame.mode.horizontal.asyncfl.middle_aggregator import MiddleAggregator


class Region(MiddleAggregator):
    """Only passes on."""

    def __init__(self, config: Config) -> None:
        self.config = config

    def load_data(self) -> None:
        Path(f"{self.config.task_id}.loading").touch()

    def initialize(self) -> None:
        pass

    def train(self) -> None:
        pass

    def evaluate(self) -> None:
        pass


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="")
    parser.add_argument("config", nargs="?", default="./config.json")
    args = parser.parse_args()

    aggregator = Region(Config(args.config))
    aggregator.compose()
    aggregator.run()
