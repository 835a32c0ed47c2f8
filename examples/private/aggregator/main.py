"""The aggregator: adds up what the sites learned, and tests it on images that no site has."""

import argparse

import torch
from sklearn.datasets import load_digits
from torch import nn

from flame.config import Config
from flame.dataset import Dataset
from flame.mode.horizontal.top_aggregator import TopAggregator

HELD_OUT = 5


class DigitsAggregator(TopAggregator):
    """Begins with zeros; the noise is the privacy setting's business."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.model = None
        self.dataset = None

    def load_data(self) -> None:
        images, labels = load_digits(return_X_y=True)
        unseen = torch.from_numpy(images[::HELD_OUT]).float() / 16
        self.dataset = Dataset(x=unseen, y=torch.from_numpy(labels[::HELD_OUT]))

    def initialize(self) -> None:
        self.model = nn.Linear(64, 10)
        nn.init.zeros_(self.model.weight)
        nn.init.zeros_(self.model.bias)

    def train(self) -> None:
        pass

    def evaluate(self) -> None:
        images, labels = self.dataset.get()
        with torch.no_grad():
            right = (self.model(images).argmax(1) == labels).float().mean().item()
        self.update_metrics({"test-accuracy": right})


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="digits aggregator")
    parser.add_argument("config", nargs="?", default="./config.json")
    args = parser.parse_args()

    aggregator = DigitsAggregator(Config(args.config))
    aggregator.compose()
    aggregator.run()
