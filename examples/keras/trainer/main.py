"""A site: trains the network on its own images of digits."""

import argparse

import keras
from keras import layers
from sklearn.datasets import load_digits

from flame.config import Config
from flame.mode.horizontal.trainer import Trainer


class KerasDigitsTrainer(Trainer):
    def __init__(self, config: Config) -> None:
        self.config = config
        self.model = None
        self.dataset_size = 0
        self.epochs = config.hyperparameters.epochs
        self.batch_size = config.hyperparameters.batch_size

    def load_data(self) -> None:
        """The data set `digits://0-500` is the first 500 images of scikit-learn's."""
        first, last = map(int, self.config.dataset.removeprefix("digits://").split("-"))
        pixels, labels = load_digits(return_X_y=True)
        self._x_train, self._y_train = pixels[first:last] / 16, labels[first:last]
        self.dataset_size = last - first

    def initialize(self) -> None:
        self.model = keras.Sequential(
            [
                keras.Input((64,)),
                layers.Dense(32, activation="relu"),
                layers.BatchNormalization(),
                layers.Dense(10, activation="softmax"),
            ]
        )
        optimizer = keras.optimizers.SGD(self.config.hyperparameters.learning_rate)
        self.model.compile(loss="sparse_categorical_crossentropy", optimizer=optimizer, metrics=["accuracy"])

    def train(self) -> None:
        history = self.model.fit(
            self._x_train, self._y_train, batch_size=self.batch_size, epochs=self.epochs, verbose=0
        ).history
        self.update_metrics({"loss": history["loss"][-1], "accuracy": history["accuracy"][-1]})

    def evaluate(self) -> None:
        pass


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="digits trainer")
    parser.add_argument("config", nargs="?", default="./config.json")
    args = parser.parse_args()

    trainer = KerasDigitsTrainer(Config(args.config))
    trainer.compose()
    trainer.run()
