"""A middle aggregator of a coordinated federation, in the shape of upstream's examples; the femnist one's update."""

import argparse
import json
from pathlib import Path

from flame.config import Config
from flame.mode.horizontal.coord_syncfl.middle_aggregator import MiddleAggregator


class Region(MiddleAggregator):
    """Notes the rounds in which it had something to do."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.diary = []

    def load_data(self) -> None:
        Path(f"{self.config.task_id}.loading").touch()

    def initialize(self) -> None:
        pass

    def train(self) -> None:
        pass

    def evaluate(self) -> None:
        Path(f"{self.config.task_id}.round-{self._round}").touch()
        self.diary.append(self._round)

    def update_round(self) -> None:
        channel = self.cm.get_by_tag(self.dist_tag)
        if not channel:
            return
        channel.set_property("round", self._round)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="")
    parser.add_argument("config", nargs="?", default="./config.json")
    args = parser.parse_args()

    config = Config(args.config)
    aggregator = Region(config)
    aggregator.compose()
    aggregator.run()
    print(json.dumps(aggregator.diary))
