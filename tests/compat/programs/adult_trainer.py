"""A torch trainer in the shape of upstream's adult example: a table of its own, and a helper module beside it."""

import argparse
import json
from pathlib import Path

import torch
import torch.nn as nn
import torch.optim as optim
from torch.utils.data import DataLoader, TensorDataset
from utils import process_table

from flame.common.constants import DATA_FOLDER_PATH
from flame.config import Config
from flame.mode.horizontal.trainer import Trainer


class Net(nn.Module):
    """One hidden layer."""

    def __init__(self, input_dim):
        super().__init__()
        self.fc1 = nn.Linear(input_dim, 8)
        self.fc2 = nn.Linear(8, 1)

    def forward(self, x):
        return self.fc2(torch.relu(self.fc1(x)))


class AdultTrainer(Trainer):
    """Adult Trainer."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.metrics = None
        self.dataset_size = 0
        self.model = None
        self.input_dim = None
        self.train_loader = None
        self.criterion = None
        self.device = torch.device("cpu")
        self.epochs = self.config.hyperparameters.epochs
        self.batch_size = self.config.hyperparameters.batch_size or 16
        self.rounds = []

    def load_data(self) -> None:
        """The table is where the platform mounts data, or where the config says."""
        folder = self.config.dataset.removeprefix("file://") or DATA_FOLDER_PATH
        x, y = process_table(f"{folder}/train.csv")
        self.input_dim = x.shape[1]
        dataset = TensorDataset(torch.tensor(x), torch.tensor(y).unsqueeze(1))
        self.train_loader = DataLoader(dataset, batch_size=self.batch_size, shuffle=True)
        self.dataset_size = len(dataset)
        Path(f"{self.config.task_id}.loading").touch()

    def initialize(self) -> None:
        """The width of the model follows from the table."""
        self.model = Net(self.input_dim).to(self.device)
        self.criterion = nn.BCEWithLogitsLoss()

    def train(self) -> None:
        """Train a model."""
        self.rounds.append(self._round)
        self.optimizer = optim.Adam(self.model.parameters(), lr=self.config.hyperparameters.learning_rate)
        self.model.train()
        for _ in range(self.epochs):
            for data, label in self.train_loader:
                self.optimizer.zero_grad()
                loss = self.criterion(self.model(data), label)
                loss.backward()
                self.optimizer.step()
        self.update_metrics({"Train Loss": loss.item()})

    def evaluate(self) -> None:
        """Evaluate a model."""


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="")
    parser.add_argument("config", nargs="?", default="./config.json")
    args = parser.parse_args()

    config = Config(args.config)
    t = AdultTrainer(config)
    t.compose()
    t.run()
    print(json.dumps({"rounds": t.rounds}))
