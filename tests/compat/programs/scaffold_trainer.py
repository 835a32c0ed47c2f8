"""A trainer in the shape of upstream's cifar10_scaffold example."""

import argparse
import json
import logging
from pathlib import Path

import numpy as np
import torch
from torch import nn, optim
from torch.utils.data import DataLoader, TensorDataset

from flame.common.util import get_dataset_filename
from flame.config import Config
from flame.mode.horizontal.scaffold.trainer import Trainer

logger = logging.getLogger(__name__)


class Net(nn.Module):
    """Small enough to be trained in a blink."""

    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(4, 3)

    def forward(self, x):
        return self.fc(x)


class ScaffoldTrainer(Trainer):
    """Takes k steps, with batches of its own size."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.dataset_size = 0
        self.model = None
        self.device = torch.device("cpu")
        self.train_loader = None
        self.learning_rate = self.config.hyperparameters.learning_rate
        self.epochs = self.config.hyperparameters.epochs
        self.batch_size = self.config.hyperparameters.batch_size or 16
        self.steps = []

    def load_data(self) -> None:
        filename = get_dataset_filename(self.config.dataset)
        loaded = np.load(filename)
        x, y = torch.tensor(loaded["x"]), torch.tensor(loaded["y"])
        self.train_loader = DataLoader(TensorDataset(x, y), batch_size=self.batch_size)
        self.dataset_size = len(x)
        Path(f"{self.config.task_id}.loading").touch()

    def initialize(self) -> None:
        torch.manual_seed(0)
        self.model = Net().to(self.device)
        self.criterion = nn.CrossEntropyLoss()

    def train(self) -> None:
        self.optimizer = optim.SGD(self.model.parameters(), lr=self.learning_rate)
        self.model.train()
        self.reset_batch_counter()
        self.steps.append(0)
        for epoch in range(1, self.epochs + 1):
            self._train_epoch(epoch)
            if self.training_is_done():
                break

    def _train_epoch(self, epoch: int) -> None:
        for data, label in self.train_loader:
            self.optimizer.zero_grad()
            loss = self.criterion(self.model(data.to(self.device)), label)
            loss = loss + self.regularizer.get_term(curr_model=self.model)
            loss.backward()
            self.optimizer.step()
            self.steps[-1] += 1
            self.increment_batch_counter()
            if self.training_is_done():
                break

    def evaluate(self) -> None:
        pass


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="")
    parser.add_argument("config", nargs="?", default="./config.json")
    args = parser.parse_args()

    trainer = ScaffoldTrainer(Config(args.config))
    trainer.compose()
    trainer.run()
    print(json.dumps([trainer.steps, trainer.epochs]))
