"""A torch aggregator in the shape of upstream's fedbalancer_mnist example."""

import argparse
import json

import torch
import torch.nn.functional as F
from torch import nn

from flame.config import Config
from flame.dataset import Dataset
from flame.mode.horizontal.top_aggregator import TopAggregator


class BalancedAggregator(TopAggregator):
    """Evaluates the model of every round."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.model = None
        self.dataset: Dataset = None
        self.device = torch.device("cpu")
        self.losses = []

    def load_data(self) -> None:
        features = torch.randn(200, 4, generator=torch.Generator().manual_seed(99))
        self.test = features, (features @ torch.tensor([1.0, -2.0, 0.5, 1.0]) > 0).long()
        self.dataset = Dataset(dataloader=[self.test])

    def initialize(self) -> None:
        torch.manual_seed(0)
        self.model = nn.Sequential(nn.Linear(4, 2), nn.LogSoftmax(dim=1)).to(self.device)

    def train(self) -> None:
        pass

    def evaluate(self) -> None:
        self.model.eval()
        with torch.no_grad():
            loss = F.nll_loss(self.model(self.test[0]), self.test[1]).item()
        self.losses.append(loss)
        self.update_metrics({"test-loss": loss})


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="")
    parser.add_argument("config", nargs="?", default="./config.json")
    args = parser.parse_args()

    aggregator = BalancedAggregator(Config(args.config))
    aggregator.compose()
    aggregator.run()
    print(json.dumps(aggregator.losses))
