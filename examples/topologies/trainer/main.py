"""A site: fits softmax regression to its own digits. The same program under every topology."""

import argparse

import numpy as np

from flame.common.util import get_dataset_filename
from flame.config import Config
from flame.mode.horizontal.trainer import Trainer


class DigitsTrainer(Trainer):
    """Full-batch gradient descent: no randomness, so that topologies can be compared number by number."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.dataset_size = 0
        self.model = None

    def load_data(self) -> None:
        with np.load(get_dataset_filename(self.config.dataset)) as file:
            self.images, self.targets = file["images"], np.eye(10)[file["labels"]]
        self.dataset_size = len(self.targets)

    def initialize(self) -> None:
        self.model = {"weights": np.zeros((64, 10)), "bias": np.zeros(10)}

    def predicted(self):
        scores = np.exp(self.images @ self.model["weights"] + self.model["bias"])
        return scores / scores.sum(axis=1, keepdims=True)

    def train(self) -> None:
        settings = self.config.hyperparameters
        for _ in range(settings.epochs):
            error = self.predicted() - self.targets
            self.model["weights"] -= settings.learning_rate * self.images.T @ error / self.dataset_size
            self.model["bias"] -= settings.learning_rate * error.mean(axis=0)

    def evaluate(self) -> None:
        predicted = self.predicted()
        right = predicted.argmax(axis=1) == self.targets.argmax(axis=1)
        loss = -np.log((predicted * self.targets).sum(axis=1))
        self.update_metrics({"loss": float(loss.mean()), "train-accuracy": float(right.mean())})


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="digits trainer")
    parser.add_argument("config", nargs="?", default="./config.json")
    args = parser.parse_args()

    trainer = DigitsTrainer(Config(args.config))
    trainer.compose()
    trainer.run()
