"""Workloads B and N, a client: takes the model and gives it back."""

import argparse

import numpy as np

from flame.config import Config
from flame.mode.horizontal.trainer import Trainer


class Client(Trainer):
    def __init__(self, config: Config) -> None:
        self.config = config
        self.model = None
        self.dataset_size = 1

    def load_data(self) -> None:
        pass

    def initialize(self) -> None:
        numbers, arrays = self.config.hyperparameters.numbers, self.config.hyperparameters.arrays
        self.model = {f"array{i}": np.zeros(numbers // arrays, np.float32) for i in range(arrays)}

    def train(self) -> None:
        pass

    def evaluate(self) -> None:
        pass


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("config", nargs="?", default="./config.json")
    client = Client(Config(parser.parse_args().config))
    client.compose()
    client.run()
