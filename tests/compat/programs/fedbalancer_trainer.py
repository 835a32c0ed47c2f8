"""A torch trainer in the shape of upstream's fedbalancer_mnist example."""

import argparse
import json
import re
import time

import torch
import torch.nn.functional as F
from torch import nn, optim
from torch.utils.data import DataLoader, TensorDataset

from flame.config import Config
from flame.mode.horizontal.trainer import Trainer


class BalancedTrainer(Trainer):
    """Trains on what its data sampler gives it."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.dataset_size = 0
        self.model = None
        self.device = None
        self.dataset = None
        self.train_loader = None
        self.epochs = self.config.hyperparameters.epochs
        self.batch_size = self.config.hyperparameters.batch_size or 16
        self.sizes = []

    def initialize(self) -> None:
        self.device = torch.device("cpu")
        self.model = nn.Sequential(nn.Linear(4, 2), nn.LogSoftmax(dim=1)).to(self.device)

    def load_data(self) -> None:
        site = int(re.findall(r"\d+", self.config.dataset)[-1])
        features = torch.randn(64, 4, generator=torch.Generator().manual_seed(site))
        labels = (features @ torch.tensor([1.0, -2.0, 0.5, 1.0]) > 0).long()
        self.dataset = self.datasampler.load_dataset(TensorDataset(features, labels))
        self.train_kwargs = {"batch_size": self.batch_size}
        open(f"{self.config.task_id}.loading", "w").close()

    def train(self) -> None:
        self.optimizer = optim.Adadelta(self.model.parameters())
        sampled = self.datasampler.sample(self.dataset, loss_fn=F.nll_loss, model=self.model, device=self.device)
        self.train_loader = DataLoader(sampled, **self.train_kwargs)
        self.datasampler.reset_stat_utility()
        for epoch in range(1, self.epochs + 1):
            self._train_epoch(epoch)
            self.datasampler.normalize_stat_utility(epoch)
        self.dataset_size = len(self.train_loader.dataset)
        self.sizes.append(self.dataset_size)
        self.update_metrics({"size": self.dataset_size})

    def _train_epoch(self, epoch: int) -> None:
        self.model.train()
        for data, target, indices in self.train_loader:
            start = time.time()
            self.optimizer.zero_grad()
            output = self.model(data.to(self.device))
            loss = self.datasampler.fb_loss(F.nll_loss, output, target, epoch, indices)
            loss.backward()
            self.optimizer.step()
            self.datasampler.update_train_duration_per_batch_list(time.time() - start)
        self.update_metrics({"loss": loss.item()})

    def evaluate(self) -> None:
        pass


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="")
    parser.add_argument("config", nargs="?", default="./config.json")
    args = parser.parse_args()

    trainer = BalancedTrainer(Config(args.config))
    trainer.compose()
    trainer.run()
    print(json.dumps(trainer.sizes))
