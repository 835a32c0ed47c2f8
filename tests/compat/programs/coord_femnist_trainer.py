"""A coordinated trainer with a chain of its own, in the shape of upstream's coord_hier_syncfl_femnist example."""

import argparse
import json
import re
from pathlib import Path

import torch
from torch import nn, optim
from torch.utils.data import DataLoader, TensorDataset

from flame.config import Config
from flame.mode.composer import Composer
from flame.mode.horizontal.coord_syncfl.trainer import TAG_FETCH, TAG_UPLOAD, Trainer
from flame.mode.tasklet import Loop, Tasklet


class Net(nn.Module):
    """A residual net of one block; its normalisation counts batches in an integer."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(1, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.block = nn.Conv2d(4, 4, 3, padding=1)
        self.fc = nn.Linear(4, 5)

    def forward(self, x):
        x = torch.relu(self.norm(self.stem(x)))
        x = x + torch.relu(self.block(x))
        return self.fc(x.mean(dim=(2, 3)))


class FemnistTrainer(Trainer):
    """Loads the pictures of another writer in every round."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.dataset_size = 0
        self.model = None
        self.device = torch.device("cpu")
        self.train_loader = None
        self.epochs = self.config.hyperparameters.epochs
        self.batch_size = self.config.hyperparameters.batch_size or 16
        self.learning_rate = self.config.hyperparameters.learning_rate
        self.partition_id = 1
        self.epoch_train_loss, self.loss_decay = 1e-4, 0.9
        self.loads, self.rounds = 0, []

    def initialize(self) -> None:
        self.model = Net().to(self.device)
        self.criterion = nn.CrossEntropyLoss(reduction="none").to(self.device)

    def load_data(self) -> None:
        self.loads += 1
        generator = torch.Generator().manual_seed(int(re.findall(r"\d+", self.config.dataset)[-1]) + self.loads)
        labels = torch.randint(0, 5, (32,), generator=generator)
        images = torch.randn(32, 1, 6, 6, generator=generator) + labels.view(-1, 1, 1, 1)
        self.train_loader = DataLoader(TensorDataset(images, labels), batch_size=self.batch_size, drop_last=True)
        self.dataset_size = len(labels)
        Path(f"{self.config.task_id}.loading").touch()

    def train(self) -> None:
        self.rounds.append(self._round)
        optimizer = optim.SGD(self.model.parameters(), lr=self.learning_rate, momentum=0.9)
        self.model.train()
        for _ in range(self.epochs):
            for data, target in self.train_loader:
                loss = self.criterion(self.model(data.to(self.device)), target.to(self.device))
                mean = sum(loss.tolist()) / len(loss)
                self.epoch_train_loss = (1.0 - self.loss_decay) * self.epoch_train_loss + self.loss_decay * mean
                optimizer.zero_grad()
                loss.mean().backward()
                optimizer.step()
        self.update_metrics({"Train Loss": self.epoch_train_loss})

    def evaluate(self) -> None:
        pass

    def save_metrics(self) -> None:
        """Metrics are kept as they are: nobody clears them."""
        self.metrics = self.metrics | self.mc.get()
        self.mc.clear()
        if self.metrics:
            self.registry_client.save_metrics(self._round - 1, self.metrics)

    def compose(self) -> None:
        with Composer() as composer:
            self.composer = composer

            task_internal_init = Tasklet("internal_init", self.internal_init)
            task_init = Tasklet("init", self.initialize)
            task_load_data = Tasklet("load_data", self.load_data)
            task_get_aggregator = Tasklet("get_aggregator", self._get_aggregator)
            task_get = Tasklet("fetch", self.get, TAG_FETCH)
            task_train = Tasklet("train", self.train)
            task_eval = Tasklet("evaluate", self.evaluate)
            task_put = Tasklet("upload", self.put, TAG_UPLOAD)
            task_save_metrics = Tasklet("save_metrics", self.save_metrics)

            loop = Loop(loop_check_fn=lambda: self._work_done)
            (
                task_internal_init
                >> task_init
                >> loop(
                    task_load_data
                    >> task_get_aggregator
                    >> task_get
                    >> task_train
                    >> task_eval
                    >> task_put
                    >> task_save_metrics
                )
            )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="")
    parser.add_argument("config", nargs="?", default="./config.json")
    args = parser.parse_args()

    config = Config(args.config)
    t = FemnistTrainer(config)
    t.compose()
    t.run()
    assert t.loads in (len(t.rounds), len(t.rounds) + 1)
    print(json.dumps({"rounds": t.rounds}))
