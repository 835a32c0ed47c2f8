"""A site: softmax regression on its handful of handwritten digits, which the model should not give away."""

import argparse

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from flame.config import Config
from flame.mode.horizontal.trainer import Trainer

SITES = 100
HELD_OUT = 5  # every fifth image is for testing, and no site's


def images_of(site):
    """A site's images [n, 64] from 0 to 1 and labels [n]."""
    images, labels = load_digits(return_X_y=True)
    mine = [n for n in range(len(labels)) if n % HELD_OUT][site::SITES]
    return torch.from_numpy(images[mine]).float() / 16, torch.from_numpy(labels[mine])


class DigitsTrainer(Trainer):
    """Trains with whatever the job's privacy setting says that it should train with."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.model = None
        self.dataset_size = 0

    def load_data(self) -> None:
        self.data = TensorDataset(*images_of(int(self.config.name.rpartition("/")[2])))
        self.dataset_size = len(self.data)

    def initialize(self) -> None:
        self.model = nn.Linear(64, 10)

    def train(self) -> None:
        settings = self.config.hyperparameters
        optimizer = torch.optim.SGD(self.model.parameters(), lr=settings.learning_rate)
        loader = DataLoader(self.data, batch_size=settings.batch_size, shuffle=True)
        model, optimizer, loader = self.privacy.private(self.model, optimizer, loader)
        for _ in range(settings.epochs):
            for images, labels in loader:
                optimizer.zero_grad()
                nn.functional.cross_entropy(model(images), labels).backward()
                optimizer.step()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="digits trainer")
    parser.add_argument("config", nargs="?", default="./config.json")
    args = parser.parse_args()

    trainer = DigitsTrainer(Config(args.config))
    trainer.compose()
    trainer.run()
