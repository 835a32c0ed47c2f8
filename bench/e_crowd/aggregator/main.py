"""Workload E, the server: averages; nothing is evaluated."""

import argparse

import numpy as np

from flame.config import Config
from flame.mode.horizontal.top_aggregator import TopAggregator


class Server(TopAggregator):
    def __init__(self, config: Config) -> None:
        self.config = config
        self.model = None
        self.dataset = None

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
    server = Server(Config(parser.parse_args().config))
    server.compose()
    server.run()
