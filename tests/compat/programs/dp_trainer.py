"""A torch trainer in the shape of upstream's dp_mnist example: it knows nothing of privacy, its config does."""

import argparse
import json
from pathlib import Path

import torch
from torch import nn, optim
from torch.utils.data import DataLoader, TensorDataset

from flame.config import Config
from flame.mode.horizontal.trainer import Trainer


class PyTorchMnistTrainer(Trainer):
    """Trains a net that has a counter, as batch normalisation has."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.dataset_size = 0
        self.model = None
        self.device = None
        self.train_loader = None
        self.epochs = self.config.hyperparameters.epochs
        self.batch_size = self.config.hyperparameters.batch_size or 16
        self.spent = []

    def load_data(self) -> None:
        torch.manual_seed(1)
        images = torch.randn(40, 6)
        self.train_loader = DataLoader(TensorDataset(images, images.argmax(1)), batch_size=self.batch_size)
        self.dataset_size = len(self.train_loader.dataset)
        Path(f"{self.config.task_id}.loading").touch()

    def initialize(self) -> None:
        self.device = torch.device("cpu")
        self.model = nn.Sequential(nn.Linear(6, 6), nn.BatchNorm1d(6)).to(self.device)

    def train(self) -> None:
        self.optimizer = optim.Adadelta(self.model.parameters())
        for _ in range(self.epochs):
            self.model.train()
            for data, target in self.train_loader:
                self.optimizer.zero_grad()
                nn.functional.cross_entropy(self.model(data), target).backward()
                self.optimizer.step()

    def evaluate(self) -> None:
        pass

    def save_metrics(self) -> None:
        self.spent.append(self.metrics.get("epsilon"))
        super().save_metrics()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="")
    parser.add_argument("config", nargs="?", default="./config.json")
    args = parser.parse_args()

    config = Config(args.config)
    t = PyTorchMnistTrainer(config)
    t.compose()
    t.run()
    print(json.dumps(t.spent))
