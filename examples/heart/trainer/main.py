"""A hospital: fits a logistic regression to its own patients; their records never leave it."""

import argparse
import csv

import numpy as np

from flame.common.util import get_dataset_filename
from flame.config import Config
from flame.mode.horizontal.trainer import Trainer

# (column, typical value, typical spread): fixed numbers, so that no hospital's statistics are shared.
SCALED = [
    ("age", 54, 9),
    ("trestbps", 132, 19),
    ("chol", 245, 55),
    ("thalch", 137, 26),
    ("oldpeak", 0.9, 1.1),
]
FLAGS = [
    ("sex", "Male"),
    ("cp", "asymptomatic"),
    ("cp", "non-anginal"),
    ("cp", "atypical angina"),
    ("fbs", "TRUE"),
    ("restecg", "st-t abnormality"),
    ("restecg", "lv hypertrophy"),
    ("exang", "TRUE"),
]
# `slope`, `ca` and `thal` are missing for most patients outside of Cleveland and are left out.


def scaled(row, column, typical, spread):
    """A measurement in spreads from the typical value; a missing one (also 0 mmHg, mg/dl) is typical."""
    missing = row[column] == "" or (column in ("trestbps", "chol") and float(row[column]) == 0)
    return 0.0 if missing else (float(row[column]) - typical) / spread


def patients(path):
    """Features [n, 13] and whether a coronary artery is narrowed [n] of a hospital's patients."""
    with open(path, newline="") as file:
        rows = list(csv.DictReader(file))
    numbers = [[scaled(row, *how) for how in SCALED] for row in rows]
    flags = [[float(row[column] == value) for column, value in FLAGS] for row in rows]
    return np.hstack([numbers, flags]), np.array([float(row["num"] != "0") for row in rows])


def halves(labels, share=0.3, seed=0):
    """A mask of the held-out patients: the same share of the sick and of the well."""
    rng = np.random.default_rng(seed)
    held_out = np.zeros(len(labels), dtype=bool)
    for label in (0.0, 1.0):
        members = rng.permutation(np.flatnonzero(labels == label))
        held_out[members[: round(share * len(members))]] = True
    return held_out


def fit(model, features, labels, settings):
    """Gradient descent on the logistic loss with weight decay; changes the model, returns the loss."""
    for _ in range(settings.epochs):
        risk = 1.0 / (1.0 + np.exp(-(features @ model["weights"] + model["bias"])))
        error = risk - labels
        slope = features.T @ error / len(labels) + settings.weight_decay * model["weights"]
        model["weights"] -= settings.learning_rate * slope
        model["bias"] -= settings.learning_rate * error.mean()
    likelihood = np.where(labels == 1.0, risk, 1.0 - risk)
    return -np.log(np.clip(likelihood, 1e-12, None)).mean()


def accuracy(model, features, labels):
    """The share of patients for whom the sign of the score is right."""
    return float(((features @ model["weights"] + model["bias"] > 0) == (labels == 1.0)).mean())


class HeartTrainer(Trainer):
    """Reports the accuracy of the shared model, as received, on the hospital's held-out patients."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.dataset_size = 0
        self.model = None

    def load_data(self) -> None:
        features, labels = patients(get_dataset_filename(self.config.dataset))
        held_out = halves(labels)
        self.seen = features[~held_out], labels[~held_out]
        self.held_out = features[held_out], labels[held_out]
        self.dataset_size = len(self.seen[1])

    def initialize(self) -> None:
        self.model = {"weights": np.zeros(len(SCALED) + len(FLAGS)), "bias": np.zeros(1)}

    def train(self) -> None:
        self.update_metrics({"accuracy": accuracy(self.model, *self.held_out)})
        self.update_metrics({"train-loss": fit(self.model, *self.seen, self.config.hyperparameters)})

    def evaluate(self) -> None:
        pass


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="heart disease trainer")
    parser.add_argument("config", nargs="?", default="./config.json")
    args = parser.parse_args()

    trainer = HeartTrainer(Config(args.config))
    trainer.compose()
    trainer.run()
