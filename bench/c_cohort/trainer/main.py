"""Workload C, a client: one epoch of SGD over twenty digits, in the rounds in which it is asked."""

import argparse

import torch
from bench.models import Mlp, digits, fit

from flame.config import Config
from flame.mode.horizontal.trainer import Trainer


class Client(Trainer):
    def __init__(self, config: Config) -> None:
        self.config = config
        self.model = None
        self.dataset_size = 0

    def load_data(self) -> None:
        self.digits, self.labels = digits(site=int(self.config.task_id[:8], 16))
        self.dataset_size = len(self.labels)

    def initialize(self) -> None:
        self.model = Mlp()

    def train(self) -> None:
        settings = self.config.hyperparameters
        sgd = torch.optim.SGD(self.model.parameters(), lr=settings.learning_rate)
        self.update_metrics({"loss": fit(self.model, self.digits, self.labels, settings.batch_size, sgd)})

    def evaluate(self) -> None:
        pass


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("config", nargs="?", default="./config.json")
    client = Client(Config(parser.parse_args().config))
    client.compose()
    client.run()
