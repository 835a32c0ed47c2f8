"""Workload A, a client: one epoch of Adam over 500 images a round."""

import argparse

import torch
from bench.models import Cnn, fit, images

from flame.config import Config
from flame.mode.horizontal.trainer import Trainer


class Client(Trainer):
    def __init__(self, config: Config) -> None:
        self.config = config
        self.model = None
        self.dataset_size = 0

    def load_data(self) -> None:
        self.images, self.labels = images(site=int(self.config.task_id[:8], 16))
        self.dataset_size = len(self.labels)

    def initialize(self) -> None:
        self.model = Cnn()

    def train(self) -> None:
        settings = self.config.hyperparameters
        adam = torch.optim.Adam(self.model.parameters(), lr=settings.learning_rate)
        self.update_metrics({"loss": fit(self.model, self.images, self.labels, settings.batch_size, adam)})

    def evaluate(self) -> None:
        pass


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("config", nargs="?", default="./config.json")
    client = Client(Config(parser.parse_args().config))
    client.compose()
    client.run()
