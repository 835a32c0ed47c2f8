"""A torch aggregator in the shape of upstream's dp_mnist example."""

import argparse
import json

import torch
from torch import nn

from flame.config import Config
from flame.dataset import Dataset
from flame.mode.horizontal.top_aggregator import TopAggregator


class PyTorchMnistAggregator(TopAggregator):
    """Keeps what each round did to the model."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.model = None
        self.dataset: Dataset = None
        self.device = None
        self.moves = []

    def load_data(self) -> None:
        self.dataset = Dataset(x=torch.zeros(1, 6), y=torch.zeros(1))

    def initialize(self) -> None:
        torch.manual_seed(0)
        self.model = nn.Sequential(nn.Linear(6, 6), nn.BatchNorm1d(6))
        self.before = self.floats()

    def floats(self):
        return torch.cat([v.flatten().double() for v in self.model.state_dict().values() if v.is_floating_point()])

    def train(self) -> None:
        pass

    def evaluate(self) -> None:
        now = self.floats()
        self.moves.append(float((now - self.before).norm()))
        self.before = now
        assert int(self.model[1].num_batches_tracked) == 0  # nothing is added to what counts
        self.update_metrics({"move": self.moves[-1]})


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="")
    parser.add_argument("config", nargs="?", default="./config.json")
    args = parser.parse_args()

    a = PyTorchMnistAggregator(Config(args.config))
    a.compose()
    a.run()
    print(json.dumps(a.moves))
