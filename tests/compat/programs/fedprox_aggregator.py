"""A torch aggregator in the shape of upstream's medmnist_fedprox example."""

import argparse
import json

import torch
from torch import nn

from flame.config import Config
from flame.dataset import Dataset
from flame.mode.horizontal.top_aggregator import TopAggregator


class ProxAggregator(TopAggregator):
    """Measures nothing but whether the model moves."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.model = None
        self.dataset: Dataset = None
        self.device = None
        self.sums = []

    def load_data(self) -> None:
        pass

    def initialize(self) -> None:
        torch.manual_seed(0)
        self.model = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Linear(4, 1))

    def train(self) -> None:
        pass

    def evaluate(self) -> None:
        self.sums.append(sum(float(parameter.sum()) for parameter in self.model.parameters()))
        self.update_metrics({"sum": self.sums[-1]})


config = None

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="")
    parser.add_argument("config", nargs="?", default="./config.json")
    args = parser.parse_args()

    config = Config(args.config)
    aggregator = ProxAggregator(config)
    aggregator.compose()
    aggregator.run()
    with open(f"acc_mu{config.optimizer.kwargs['mu']}.txt", "w") as file:
        json.dump(aggregator.sums, file)
    print(json.dumps(aggregator.sums))
