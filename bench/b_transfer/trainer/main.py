"""Workload B, a client: takes 100 MB and gives them back."""

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
        self.model = {f"array{i}": np.zeros(1_250_000, np.float32) for i in range(20)}

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
