"""Takes the model and gives it back."""

import sys

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
    client = Client(Config(sys.argv[1]))
    client.compose()
    client.run()
