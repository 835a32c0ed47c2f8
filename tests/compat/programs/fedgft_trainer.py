"""A trainer in the shape of upstream's compas_fedgft example."""

import argparse
import json
import logging
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn, optim
from torch.utils.data import DataLoader, TensorDataset

from flame.common.util import get_dataset_filename
from flame.config import Config
from flame.mode.horizontal.fedgft.trainer import Trainer

logger = logging.getLogger(__name__)


class Net(nn.Module):
    """Logarithms of the probabilities of two classes."""

    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(4, 2)

    def forward(self, x):
        return F.log_softmax(self.fc(x), dim=1)


class FedGFTTrainer(Trainer):
    """Keeps how biased the model was, here and everywhere."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.dataset_size = 0
        self.model = None
        self.device = torch.device("cpu")
        self.train_loader = None
        self.epochs = self.config.hyperparameters.epochs
        self.batch_size = self.config.hyperparameters.batch_size or 16
        self.biases = []

    def load_data(self) -> None:
        loaded = np.load(get_dataset_filename(self.config.dataset))
        parts = [torch.tensor(loaded[name]) for name in ("dataset", "target", "group")]
        self.train_loader = DataLoader(TensorDataset(*parts), batch_size=self.batch_size)
        self.dataset_size = len(parts[0])
        Path(f"{self.config.task_id}.loading").touch()

    def initialize(self) -> None:
        torch.manual_seed(0)
        self.model = Net().to(self.device)

    def train(self) -> None:
        self.optimizer = optim.SGD(self.model.parameters(), lr=self.config.hyperparameters.learning_rate)
        self.model.train()
        self.biases.append(self.regularizer.get_local_bias())
        Path(f"{self.config.task_id}.round-{self._round}").touch()
        for _ in range(self.epochs):
            for data, target, group in self.train_loader:
                self.optimizer.zero_grad()
                output = self.model(data)
                loss = F.nll_loss(output, target)
                loss = loss + self.regularizer.get_term(output=output, target=target, group=group)
                loss.backward()
                self.optimizer.step()
        self.update_metrics({"loss": loss.item()})

    def evaluate(self) -> None:
        pass


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="")
    parser.add_argument("config", nargs="?", default="./config.json")
    args = parser.parse_args()

    trainer = FedGFTTrainer(Config(args.config))
    trainer.compose()
    trainer.run()
    print(json.dumps(trainer.biases))
