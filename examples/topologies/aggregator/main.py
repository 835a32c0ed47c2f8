"""The root of a topology: averages, and tests on digits that no site has."""

import argparse
from pathlib import Path

import numpy as np

from flame.config import Config
from flame.dataset import Dataset
from flame.mode.horizontal.top_aggregator import TopAggregator

EXAMPLE = Path(__file__).resolve().parent.parent


class DigitsAggregator(TopAggregator):
    """It does not know whether trainers or middle aggregators are below it."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.model = None
        self.dataset = None

    def load_data(self) -> None:
        with np.load(EXAMPLE / "data" / "test.npz") as file:
            self.dataset = Dataset(x=file["images"], y=file["labels"])

    def initialize(self) -> None:
        self.model = {"weights": np.zeros((64, 10)), "bias": np.zeros(10)}

    def train(self) -> None:
        pass

    def evaluate(self) -> None:
        images, labels = self.dataset.get()
        best = (images @ self.model["weights"] + self.model["bias"]).argmax(axis=1)
        self.update_metrics({"test-accuracy": float((best == labels).mean())})


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="digits aggregator")
    parser.add_argument("config", nargs="?", default="./config.json")
    args = parser.parse_args()

    aggregator = DigitsAggregator(Config(args.config))
    aggregator.compose()
    aggregator.run()
