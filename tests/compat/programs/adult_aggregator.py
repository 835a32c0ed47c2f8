"""A torch aggregator in the shape of upstream's adult example: it tests on a table, too."""

import argparse
import json

import torch
import torch.nn as nn
from utils import process_table

from flame.config import Config
from flame.dataset import Dataset
from flame.mode.horizontal.top_aggregator import TopAggregator


class Net(nn.Module):
    """As the trainers have it."""

    def __init__(self, input_dim):
        super().__init__()
        self.fc1 = nn.Linear(input_dim, 8)
        self.fc2 = nn.Linear(8, 1)

    def forward(self, x):
        return self.fc2(torch.relu(self.fc1(x)))


class AdultAggregator(TopAggregator):
    """Adult Aggregator."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.metrics = None
        self.model = None
        self.input_dim = None
        self.dataset: Dataset = None
        self.losses = []

    def load_data(self) -> None:
        """Load a test dataset."""
        x, y = process_table("test.csv")
        self.input_dim = x.shape[1]
        self.dataset = Dataset(x=torch.tensor(x), y=torch.tensor(y).unsqueeze(1))

    def initialize(self) -> None:
        """Initialize role."""
        self.model = Net(self.input_dim)

    def train(self) -> None:
        """Train a model."""

    def evaluate(self) -> None:
        """Evaluate (test) a model."""
        x, y = self.dataset.get()
        self.model.eval()
        with torch.no_grad():
            loss = nn.functional.binary_cross_entropy_with_logits(self.model(x), y).item()
        self.losses.append(loss)
        self.update_metrics({"Test Loss": loss, "Testset Size": len(y)})


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="")
    parser.add_argument("config", nargs="?", default="./config.json")
    args = parser.parse_args()

    config = Config(args.config)
    a = AdultAggregator(config)
    a.compose()
    a.run()
    print(json.dumps(a.losses))
