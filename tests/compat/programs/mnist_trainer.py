"""A torch trainer in the shape of upstream's mnist, hier_mnist, eager_hier_mnist and dist_mnist examples."""

import argparse
import json
import re
import time
from pathlib import Path

import torch
import torch.nn as nn
import torch.nn.functional as F
import torch.optim as optim
import torch.utils.data as data_utils

from flame.config import Config
from flame.mode.horizontal.trainer import Trainer


class Net(nn.Module):
    """Pictures of 8 x 8 points are enough here."""

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 4, 3, 1)
        self.dropout1 = nn.Dropout(0.1)
        self.fc1 = nn.Linear(36, 10)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.conv1(x)), 2)
        x = self.dropout1(torch.flatten(x, 1))
        return F.log_softmax(self.fc1(x), dim=1)


def pictures(seed, count):
    """Ten kinds of pictures, each a pattern of its own below some noise."""
    patterns = torch.randn(10, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, 10, (count,), generator=generator)
    return patterns[labels] + 0.5 * torch.randn(count, 1, 8, 8, generator=generator), labels


class PyTorchMnistTrainer(Trainer):
    """PyTorch Mnist Trainer."""

    def __init__(self, config: Config, sleep_time: float = 0) -> None:
        self.config = config
        self.sleep_time = sleep_time
        self.dataset_size = 0
        self.model = None

        self.device = None
        self.train_loader = None

        self.epochs = self.config.hyperparameters.epochs
        self.batch_size = self.config.hyperparameters.batch_size or 16
        self.rounds, self.tests = [], []

    def initialize(self) -> None:
        """Initialize role."""
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.model = Net().to(self.device)

    def load_data(self) -> None:
        """Load data."""
        images, labels = pictures(int(re.findall(r"\d+", self.config.dataset)[-1]), 64)
        dataset = data_utils.TensorDataset(images, labels)
        self.train_loader = data_utils.DataLoader(dataset, batch_size=self.batch_size, shuffle=True)
        Path(f"{self.config.task_id}.loading").touch()

    def train(self) -> None:
        """Train a model."""
        time.sleep(self.sleep_time)
        self.optimizer = optim.Adadelta(self.model.parameters())
        for epoch in range(1, self.epochs + 1):
            self._train_epoch(epoch)
        # save dataset size so that the info can be shared with aggregator
        self.dataset_size = len(self.train_loader.dataset)
        self.rounds.append(self._round)

    def _train_epoch(self, epoch):
        self.model.train()
        for data, target in self.train_loader:
            data, target = data.to(self.device), target.to(self.device)
            self.optimizer.zero_grad()
            loss = F.nll_loss(self.model(data), target)
            loss.backward()
            self.optimizer.step()
        self.update_metrics({"loss": loss.item()})

    def evaluate(self) -> None:
        """Evaluate a model."""
        self.model.eval()
        images, labels = pictures(99, 100)
        with torch.no_grad():
            self.tests.append(F.nll_loss(self.model(images.to(self.device)), labels.to(self.device)).item())
        self.update_metrics({"test-loss": self.tests[-1]})


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="")
    parser.add_argument("config", nargs="?", default="./config.json")
    parser.add_argument("-s", "--sleep-time", type=float, default=0)
    args = parser.parse_args()

    config = Config(args.config)
    t = PyTorchMnistTrainer(config, args.sleep_time)
    t.compose()
    t.run()
    print(json.dumps({"rounds": t.rounds, "test-loss": t.tests}))
