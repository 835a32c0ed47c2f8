"""A torch trainer in the shape of upstream's medmnist_fedprox example."""

import argparse
import json
from pathlib import Path

import torch
from torch import nn

from flame.common.util import get_params_detached_pytorch
from flame.config import Config
from flame.mode.horizontal.trainer import Trainer


class ProxTrainer(Trainer):
    """Keeps its torch optimizer in `self.optimizer`, as every example does."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.dataset_size = 0
        self.model = None
        self.device = torch.device("cpu")
        self.train_loader = None
        self.optimizer = None
        self.criterion = None
        self.metrics = None
        self.terms, self.optimizers = [], set()

    def load_data(self) -> None:
        torch.manual_seed(1)
        self.train_loader = [(torch.randn(8, 4), torch.randn(8, 1)) for _ in range(2)]
        self.dataset_size = 16
        Path(f"{self.config.task_id}.loading").touch()

    def initialize(self) -> None:
        self.model = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Linear(4, 1)).to(self.device)
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.05)
        self.criterion = nn.MSELoss()

    def train(self) -> None:
        self.model.load_state_dict(self.weights)
        prev_model = get_params_detached_pytorch(self.model)
        self.model.train()
        for data, target in self.train_loader:
            self.optimizer.zero_grad()
            term = self.regularizer.get_term(w=self.model.parameters(), w_t=prev_model)
            loss = self.criterion(self.model(data), target) + term
            loss.backward()
            self.optimizer.step()
            self.terms.append(float(term))
        self.optimizers.add(id(self.optimizer))
        self.update_metrics({"Train Loss": loss.item()})

    def evaluate(self) -> None:
        self.model.eval()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="")
    parser.add_argument("config", nargs="?", default="./config.json")
    args = parser.parse_args()

    trainer = ProxTrainer(Config(args.config))
    trainer.compose()
    trainer.run()
    print(json.dumps([trainer.terms, len(trainer.optimizers), int(trainer.model[1].num_batches_tracked)]))
