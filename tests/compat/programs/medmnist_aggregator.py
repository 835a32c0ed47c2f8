"""An aggregator in the shape of upstream's medmnist examples."""

import argparse
import json
import logging

import torch
from torch import nn

from flame.config import Config
from flame.dataset import Dataset
from flame.mode.horizontal.top_aggregator import TopAggregator

logger = logging.getLogger(__name__)


class Net(nn.Module):
    """As the trainers have it."""

    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(4, 3)

    def forward(self, x):
        return self.fc(x)


class MedMNistAggregator(TopAggregator):
    """Keeps the sums of the weights, one for each round."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.model = None
        self.dataset: Dataset = None
        self.device = torch.device("cpu")
        self.batch_size = self.config.hyperparameters.batch_size or 16
        self.sums = []

    def initialize(self) -> None:
        torch.manual_seed(0)
        self.model = Net().to(self.device)

    def load_data(self) -> None:
        pass

    def train(self) -> None:
        pass

    def evaluate(self) -> None:
        first, second, _ = (float(row.sum()) for row in self.model.fc.weight.detach())
        self.sums.append([first, second])
        self.update_metrics({"first": first, "second": second})


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="")
    parser.add_argument("config", nargs="?", default="./config.json")
    args = parser.parse_args()

    aggregator = MedMNistAggregator(Config(args.config))
    aggregator.compose()
    aggregator.run()
    print(json.dumps(aggregator.sums))
