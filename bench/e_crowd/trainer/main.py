"""Workload E, a worker: a thousand numbers, and nothing to do."""

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
        self.model = {"numbers": np.zeros(1_000, np.float32)}

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
