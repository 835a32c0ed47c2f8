"""A party with some columns: its layer of the network makes an embedding of them, which is all that leaves it."""

import argparse
import csv

import torch

from flame.common.util import get_dataset_filename
from flame.config import Config
from flame.mode.vertical.feature_holder import FeatureHolder


class Party(FeatureHolder):
    def __init__(self, config: Config) -> None:
        self.config = config

    def load_data(self) -> None:
        with open(get_dataset_filename(self.config.dataset), newline="") as file:
            _, *rows = csv.reader(file)
        self.ids = [row[0] for row in rows]
        self.x = torch.tensor([[float(value) for value in row[1:]] for row in rows])

    def initialize(self) -> None:
        settings = self.config.hyperparameters
        self.model = torch.nn.Linear(self.x.shape[1], settings.embedding)
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=settings.learning_rate, momentum=0.9)

    def forward(self, rows):
        self.out = torch.relu(self.model(self.x[rows]))
        return self.out

    def backward(self, gradient) -> None:
        self.optimizer.zero_grad()
        self.out.backward(torch.from_numpy(gradient))
        self.optimizer.step()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="a party with some columns")
    parser.add_argument("config", nargs="?", default="./config.json")
    args = parser.parse_args()

    party = Party(Config(args.config))
    party.compose()
    party.run()
