"""A Keras trainer in the shape of all of upstream's mnist examples, which differ in the class that they subclass."""

import argparse
import json
from pathlib import Path
from random import randrange
from statistics import mean

import keras
import numpy as np
from keras import layers
from sklearn.datasets import load_digits

from flame.config import Config
from flame.mode.horizontal.trainer import Trainer


class KerasMnistTrainer(Trainer):
    """Keras Mnist Trainer."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.dataset_size = 0

        self.num_classes = 10
        self.input_shape = (8, 8, 1)

        self.model = None
        self._x_train = None
        self._y_train = None
        self._x_test = None
        self._y_test = None

        self.epochs = self.config.hyperparameters.epochs
        self.batch_size = self.config.hyperparameters.batch_size or 16
        self.rounds, self.received, self.losses, self.tests = [], [], [], []

    def initialize(self) -> None:
        """Initialize role."""
        model = keras.Sequential(
            [
                keras.Input(shape=self.input_shape),
                layers.Conv2D(4, kernel_size=(3, 3), activation="relu"),
                layers.MaxPooling2D(pool_size=(2, 2)),
                layers.Flatten(),
                layers.Dropout(0.1),
                layers.Dense(self.num_classes, activation="softmax"),
            ]
        )
        model.compile(loss="categorical_crossentropy", optimizer="adam", metrics=["accuracy"])
        self.model = model

    def load_data(self) -> None:
        """Load data."""
        pixels, labels = load_digits(return_X_y=True)
        x = np.expand_dims(pixels.reshape(-1, 8, 8).astype("float32") / 16, -1)
        y = keras.utils.to_categorical(labels, self.num_classes)
        start = randrange(1200)
        self._x_train, self._y_train = x[start : start + 128], y[start : start + 128]
        self._x_test, self._y_test = x[1700:], y[1700:]
        Path(f"{self.config.task_id}.loading").touch()

    def train(self) -> None:
        """Train a model."""
        self.rounds.append(self._round)
        self.received.append(float(abs(self.model.get_weights()[0]).sum()))
        history = self.model.fit(
            self._x_train,
            self._y_train,
            batch_size=self.batch_size,
            epochs=self.epochs,
            validation_split=0.1,
            verbose=0,
        )
        loss = mean(history.history["loss"])
        accuracy = mean(history.history["accuracy"])
        self.losses.append(loss)
        self.update_metrics({"loss": loss, "accuracy": accuracy})
        self.dataset_size = len(self._x_train)

    def evaluate(self) -> None:
        """Evaluate a model."""
        score = self.model.evaluate(self._x_test, self._y_test, verbose=0)
        self.tests.append(score[0])
        self.update_metrics({"test-loss": score[0], "test-accuracy": score[1]})


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="")
    parser.add_argument("config", nargs="?", default="./config.json")
    args = parser.parse_args()

    trainer = KerasMnistTrainer(Config(args.config))
    trainer.compose()
    trainer.run()
    told = {"rounds": trainer.rounds, "received": trainer.received, "loss": trainer.losses, "test-loss": trainer.tests}
    print(json.dumps(told))
