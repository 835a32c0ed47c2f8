"""Averages; says when its rounds ended."""

import json
import resource
import sys
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
        self.marks.append(time.time())

    def evaluate(self) -> None:
        pass


if __name__ == "__main__":
    server = Server(Config(sys.argv[1]))
    server.compose()
    server.run()
    rounds = [after - before for before, after in zip(server.marks, server.marks[1:], strict=False)]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({"first_round_at": server.marks[0], "rounds_s": rounds, "said_at": time.time(), "peak": peak}))
