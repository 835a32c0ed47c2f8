"""The aggregator: averages the sites' networks, and tests the result on images that no site has."""

import argparse

import keras
from keras import layers
from sklearn.datasets import load_digits

from flame.config import Config
from flame.mode.horizontal.top_aggregator import TopAggregator


class KerasDigitsAggregator(TopAggregator):
    def __init__(self, config: Config) -> None:
        self.config = config
        self.model = None
        self.dataset = None

    def load_data(self) -> None:
        pixels, labels = load_digits(return_X_y=True)
        self.test_x, self.test_y = pixels[1500:] / 16, labels[1500:]

    def initialize(self) -> None:
        self.model = keras.Sequential(
            [
                keras.Input((64,)),
                layers.Dense(32, activation="relu"),
                layers.BatchNormalization(),
                layers.Dense(10, activation="softmax"),
            ]
        )
        self.model.compile(loss="sparse_categorical_crossentropy", metrics=["accuracy"])

    def train(self) -> None:
        pass

    def evaluate(self) -> None:
        loss, accuracy = self.model.evaluate(self.test_x, self.test_y, verbose=0)
        self.update_metrics({"test-loss": loss, "test-accuracy": accuracy})


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="digits aggregator")
    parser.add_argument("config", nargs="?", default="./config.json")
    args = parser.parse_args()

    aggregator = KerasDigitsAggregator(Config(args.config))
    aggregator.compose()
    aggregator.run()
