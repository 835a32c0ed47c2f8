"""Workloads B and N, the server: averages, and says how long its rounds took; nothing is evaluated."""

import argparse
import json
import resource
import time

import numpy as np

from flame.config import Config
from flame.mode.horizontal.top_aggregator import TopAggregator


class Server(TopAggregator):
    def __init__(self, config: Config) -> None:
        self.config = config
        self.model = None
        self.dataset = None
        self.marks: list[float] = []

    def load_data(self) -> None:
        pass

    def initialize(self) -> None:
        numbers, arrays = self.config.hyperparameters.numbers, self.config.hyperparameters.arrays
        self.model = {f"array{i}": np.zeros(numbers // arrays, np.float32) for i in range(arrays)}

    def train(self) -> None:
        self.marks.append(time.monotonic())

    def evaluate(self) -> None:
        pass


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("config", nargs="?", default="./config.json")
    server = Server(Config(parser.parse_args().config))
    server.compose()
    server.run()
    rounds_s = [after - before for before, after in zip(server.marks, server.marks[1:], strict=False)]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({"rounds_s": rounds_s, "peak": peak}))
