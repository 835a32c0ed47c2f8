"""A trainer in the shape of upstream's medmnist examples: its data comes over HTTP, whatever the optimizer is."""

import argparse
import io
import json
import logging
from pathlib import Path

import numpy as np
import requests
import torch
from torch import nn, optim
from torch.utils.data import DataLoader, TensorDataset

from flame.config import Config
from flame.mode.horizontal.trainer import Trainer

logger = logging.getLogger(__name__)


class Net(nn.Module):
    """Small enough to be trained in a blink."""

    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(4, 3)

    def forward(self, x):
        return self.fc(x)


class MedMNistTrainer(Trainer):
    """Two epochs a round."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.dataset_size = 0
        self.model = None
        self.device = torch.device("cpu")
        self.train_loader = None
        self.val_loader = None
        self.epochs = self.config.hyperparameters.epochs
        self.batch_size = self.config.hyperparameters.batch_size or 16
        self.rounds = []

    def load_data(self) -> None:
        response = requests.get(self.config.dataset, timeout=60)
        response.raise_for_status()
        loaded = np.load(io.BytesIO(response.content))
        x, y = torch.tensor(loaded["train_images"]), torch.tensor(loaded["train_labels"])
        self.train_loader = DataLoader(TensorDataset(x, y), batch_size=self.batch_size)
        self.dataset_size = len(x)
        Path(f"{self.config.task_id}.loading").touch()

    def initialize(self) -> None:
        torch.manual_seed(0)
        self.model = Net().to(self.device)
        self.criterion = nn.CrossEntropyLoss()

    def train(self) -> None:
        self.optimizer = optim.SGD(self.model.parameters(), lr=self.config.hyperparameters.learning_rate)
        self.model.load_state_dict(self.weights)
        self.rounds.append(self._round)
        for _ in range(self.epochs):
            for data, label in self.train_loader:
                self.optimizer.zero_grad()
                loss = self.criterion(self.model(data), label)
                loss.backward()
                self.optimizer.step()
        self.update_metrics({"Train Loss": loss.item()})

    def evaluate(self) -> None:
        pass


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="")
    parser.add_argument("config", nargs="?", default="./config.json")
    args = parser.parse_args()

    trainer = MedMNistTrainer(Config(args.config))
    trainer.compose()
    trainer.run()
    print(json.dumps({"rounds": trainer.rounds}))
