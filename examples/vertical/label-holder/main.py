"""The party that knows the outcomes: the top of the network judges what the others' layers make of their columns."""

import argparse
import csv

import torch

from flame.common.util import get_dataset_filename
from flame.config import Config
from flame.mode.vertical.label_holder import LabelHolder


class Outcomes(LabelHolder):
    def __init__(self, config: Config) -> None:
        self.config = config

    def load_data(self) -> None:
        with open(get_dataset_filename(self.config.dataset), newline="") as file:
            _, *rows = csv.reader(file)
        self.ids = [row[0] for row in rows]
        self.labels = torch.tensor([float(row[1]) for row in rows])
        # By its id, so that a patient is held out whatever the order of the file is.
        self.held_out = [int(patient) % 4 == 0 for patient in self.ids]

    def initialize(self) -> None:
        self.model = torch.nn.Linear(sum(width for (width,) in self.widths), 1)
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=self.config.hyperparameters.learning_rate)
        self.loss = torch.nn.BCEWithLogitsLoss()

    def train_on(self, rows, embeddings):
        parts = [torch.from_numpy(one).requires_grad_() for one in embeddings]
        loss = self.loss(self.model(torch.cat(parts, 1))[:, 0], self.labels[rows])
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        self.update_metrics({"train-loss": loss})
        return [part.grad for part in parts]

    def evaluate_on(self, rows, embeddings) -> None:
        with torch.no_grad():
            score = self.model(torch.cat([torch.from_numpy(one) for one in embeddings], 1))[:, 0]
        right = (score > 0) == (self.labels[rows] == 1)
        self.update_metrics({"test-accuracy": right.float().mean()})


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="the party that knows the outcomes")
    parser.add_argument("config", nargs="?", default="./config.json")
    args = parser.parse_args()

    outcomes = Outcomes(Config(args.config))
    outcomes.compose()
    outcomes.run()
