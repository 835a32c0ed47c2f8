"""A Keras aggregator in the shape of all of upstream's mnist examples."""

import argparse
import json

import keras
from keras import layers

from flame.config import Config
from flame.dataset import Dataset
from flame.mode.horizontal.top_aggregator import TopAggregator


class KerasMnistAggregator(TopAggregator):
    """Keras Mnist Aggregator."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.model = None
        self.dataset: Dataset = None

        self.num_classes = 10
        self.input_shape = (8, 8, 1)
        self.diary = []

    def initialize(self) -> None:
        """Initialize role."""
        self.model = keras.Sequential(
            [
                keras.Input(shape=self.input_shape),
                layers.Conv2D(4, kernel_size=(3, 3), activation="relu"),
                layers.MaxPooling2D(pool_size=(2, 2)),
                layers.Flatten(),
                layers.Dropout(0.1),
                layers.Dense(self.num_classes, activation="softmax"),
            ]
        )
        self.model.compile(loss="categorical_crossentropy", optimizer="adam", metrics=["accuracy"])

    def load_data(self) -> None:
        """Load a test dataset."""

    def train(self) -> None:
        """Train a model."""

    def evaluate(self) -> None:
        """Evaluate (test) a model."""
        self.diary.append(float(abs(self.model.get_weights()[0]).sum()))
        self.update_metrics({"first": self.diary[-1]})


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="")
    parser.add_argument("config", nargs="?", default="./config.json")
    args = parser.parse_args()

    aggregator = KerasMnistAggregator(Config(args.config))
    aggregator.compose()
    aggregator.run()
    print(json.dumps(aggregator.diary))
