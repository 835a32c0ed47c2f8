"""A site: softmax regression on handwritten digits, which half of the sites hold the wrong way round."""

import argparse

import numpy as np
from sklearn.datasets import load_digits

from flame.config import Config
from flame.mode.clustered.trainer import Trainer

SITES = 6


def images_of(site):
    """A site's images [n, 64] from 0 to 1 and labels [n]: every sixth; those of odd sites are a quarter turned."""
    images, labels = load_digits(return_X_y=True)
    mine = slice(site, None, SITES)
    turned = np.rot90(images[mine].reshape(-1, 8, 8), site % 2, axes=(1, 2))
    return turned.reshape(-1, 64) / 16.0, labels[mine]


class DigitsTrainer(Trainer):
    """Four methods as usual, and `loss`, by which it chooses among the models."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.model = None
        self.dataset_size = 0

    def load_data(self) -> None:
        images, labels = images_of(int(self.config.dataset.removeprefix("digits:")))
        held_out = np.arange(len(labels)) % 4 == 0
        self.images, self.targets = images[~held_out], np.eye(10)[labels[~held_out]]
        self.unseen = images[held_out], labels[held_out]
        self.dataset_size = len(self.targets)

    def initialize(self) -> None:
        self.model = {"weights": np.zeros((64, 10)), "bias": np.zeros(10)}

    def predicted(self):
        scores = np.exp(self.images @ self.model["weights"] + self.model["bias"])
        return scores / scores.sum(axis=1, keepdims=True)

    def loss(self) -> float:
        return float(-np.log((self.predicted() * self.targets).sum(axis=1)).mean())

    def train(self) -> None:
        settings = self.config.hyperparameters
        for _ in range(settings.epochs):
            error = self.predicted() - self.targets
            self.model["weights"] -= settings.learning_rate * self.images.T @ error / self.dataset_size
            self.model["bias"] -= settings.learning_rate * error.mean(axis=0)

    def evaluate(self) -> None:
        images, labels = self.unseen
        best = (images @ self.model["weights"] + self.model["bias"]).argmax(axis=1)
        self.update_metrics({"accuracy": float((best == labels).mean())})


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="clustered digits trainer")
    parser.add_argument("config", nargs="?", default="./config.json")
    args = parser.parse_args()

    trainer = DigitsTrainer(Config(args.config))
    trainer.compose()
    trainer.run()
