"""An aggregator in the shape of upstream's compas_fedgft example."""

import argparse
import json
import logging

import torch
from torch import nn

from flame.config import Config
from flame.dataset import Dataset
from flame.mode.horizontal.fedgft.top_aggregator import TopAggregator

logger = logging.getLogger(__name__)


class FedGFTAggregator(TopAggregator):
    """Keeps how biased the model was that it sent out."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.model = None
        self.dataset: Dataset = None
        self.device = None
        self.biases = []

    def initialize(self) -> None:
        torch.manual_seed(0)
        self.model = nn.Module()
        self.model.fc = nn.Linear(4, 2)

    def load_data(self) -> None:
        pass

    def pre_process(self) -> None:
        self.biases.append(self.optimizer.get_bias())
        self.update_metrics({"bias": self.biases[-1]})

    def train(self) -> None:
        pass

    def evaluate(self) -> None:
        pass


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="")
    parser.add_argument("config", nargs="?", default="./config.json")
    args = parser.parse_args()

    aggregator = FedGFTAggregator(Config(args.config))
    aggregator.compose()
    aggregator.run()
    print(json.dumps(aggregator.biases))
