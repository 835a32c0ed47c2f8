"""A torch trainer in the shape of upstream's medmnist_oort example."""

import argparse
import json
import re
import time

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from flame.config import Config
from flame.mode.horizontal.oort.trainer import Trainer


class OortTrainer(Trainer):
    """Adds up what it loses in its first epoch; a slow one dawdles."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.dataset_size = 0
        self.model = None
        self.device = torch.device("cpu")
        self.train_loader = None
        self.epochs = self.config.hyperparameters.epochs
        self.batch_size = self.config.hyperparameters.batch_size or 16
        self.loss_fn = torch.nn.CrossEntropyLoss
        self._rounds = self.config.hyperparameters.rounds
        self.metrics = None
        self.losses = []

    def load_data(self) -> None:
        site = int(re.findall(r"\d+", self.config.dataset)[-1])
        generator = torch.Generator().manual_seed(site)
        features = torch.randn(40, 4, generator=generator)
        labels = (features @ torch.tensor([1.0, -2.0, 0.5, 1.0]) > 0).long()
        self.train_loader = DataLoader(TensorDataset(features, labels), batch_size=self.batch_size, shuffle=True)
        self.dataset_size = len(features)
        open(f"{self.config.task_id}.loading", "w").close()

    def initialize(self) -> None:
        self.model = nn.Linear(4, 2).to(self.device)

    def train(self) -> None:
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.2)
        self.model.load_state_dict(self.weights)
        self.reset_stat_utility()
        for epoch in range(1, self.epochs + 1):
            self._train_epoch(epoch)
            self.normalize_stat_utility(epoch)
        time.sleep(float(getattr(self.config.hyperparameters, "work", 0)))

    def _train_epoch(self, epoch: int) -> None:
        self.model.train()
        for batch_idx, (data, target) in enumerate(self.train_loader):
            self.optimizer.zero_grad()
            output = self.model(data)
            loss = self.oort_loss(output, target.squeeze(), epoch, batch_idx)
            loss.backward()
            self.optimizer.step()
        self.losses.append(loss.item())
        self.update_metrics({"Train Loss": loss.item(), "utility": self._stat_utility or 0.0})

    def evaluate(self) -> None:
        pass


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="")
    parser.add_argument("config", nargs="?", default="./config.json")
    args = parser.parse_args()

    trainer = OortTrainer(Config(args.config))
    trainer.compose()
    trainer.run()
    print(json.dumps(len(trainer.losses)))
