"""The federation in which the findings are looked for: its images, its sites, its model, its two programs."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from functools import cache
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

import flame
from flame.config import Config
from flame.mode.horizontal.asyncfl.top_aggregator import TopAggregator as Asynchronous
from flame.mode.horizontal.top_aggregator import TopAggregator as Synchronous
from flame.mode.horizontal.trainer import Trainer

HERE = Path(__file__).resolve().parent
SHRINK = 4  # 28x28 pixels become 7x7: what the labels depend on is still there, and a run takes seconds
HIDDEN, CLASSES = 32, 9
METRIC = "test-accuracy"

Site = tuple[np.ndarray, np.ndarray]
Network = dict[str, np.ndarray]


@cache
def medmnist_example() -> ModuleType:
    """The program beside this one that knows where the images are."""
    spec = importlib.util.spec_from_file_location("prepare_medmnist", HERE.parent / "medmnist" / "prepare.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@cache
def images(npz: str) -> dict[str, np.ndarray]:
    """Training, validation and test images with their labels: of a MedMNIST file, or of the colon section."""
    prepare = medmnist_example()
    return prepare.medmnist(npz, HERE / "data") if npz else prepare.histology()


def pixels(images: np.ndarray) -> np.ndarray:
    """Images as rows of 147 floats in [-1, 1]: 7x7 pixels of three colours, each the mean of 4x4."""
    side = images.shape[1] // SHRINK
    squares = images.reshape(len(images), side, SHRINK, side, SHRINK, 3).mean((2, 4), dtype=np.float32)
    return (squares / 127.5 - 1.0).reshape(len(images), -1)


def deal(npz: str, sites: Mapping[str, Any], seed: int) -> list[Site]:
    """The training images of each site: `number` sites that differ as `alpha`, or `classes`, says.

    With `alpha`, each class is dealt out by shares from a Dirichlet distribution, so that sites differ in size too.
    With `classes`, the images are sorted by class and cut into number x classes pieces of one size; a site gets
    `classes` of them (McMahan et al., 2017).
    """
    arrays = images(npz)
    if "alpha" in sites:
        hands = medmnist_example().deal(arrays, sites["number"], sites["alpha"], seed)
        return [(pixels(hand["train_images"]), hand["train_labels"][:, 0]) for hand in hands]
    rng = np.random.default_rng(seed)
    labels = arrays["train_labels"][:, 0]
    shuffled = rng.permutation(len(labels))
    pieces = np.array_split(shuffled[np.argsort(labels[shuffled], kind="stable")], sites["number"] * sites["classes"])
    order = rng.permutation(len(pieces)).reshape(sites["number"], sites["classes"])
    chosen = [np.concatenate([pieces[piece] for piece in mine]) for mine in order]
    return [(pixels(arrays["train_images"][mine]), labels[mine]) for mine in chosen]


def network() -> Network:
    """A perceptron with one hidden layer, 5,033 parameters, drawn as usual: uniformly within 1/sqrt(inputs)."""
    sizes = (3 * (28 // SHRINK) ** 2, HIDDEN, CLASSES)
    layers = {}
    for number, (inputs, outputs) in enumerate(pairwise(sizes), start=1):
        bound = inputs**-0.5
        layers[f"w{number}"] = np.random.uniform(-bound, bound, (inputs, outputs)).astype(np.float32)
        layers[f"b{number}"] = np.random.uniform(-bound, bound, outputs).astype(np.float32)
    return layers


def scores(model: Network, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The hidden layer and the logarithms of the classes' probabilities, up to a constant."""
    hidden = np.maximum(rows @ model["w1"] + model["b1"], 0.0)
    return hidden, hidden @ model["w2"] + model["b2"]


def losses_and_gradient(model: Network, rows: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, Network]:
    """The cross-entropy of each row, and the gradient of their mean."""
    hidden, logits = scores(model, rows)
    logits -= logits.max(1, keepdims=True)
    chances = np.exp(logits)
    total = chances.sum(1, keepdims=True)
    at = np.arange(len(labels)), labels
    losses = np.log(total[:, 0]) - logits[at]
    chances /= total
    chances[at] -= 1.0
    chances /= len(labels)
    back = (chances @ model["w2"].T) * (hidden > 0)
    gradient = {"w1": rows.T @ back, "b1": back.sum(0), "w2": hidden.T @ chances, "b2": chances.sum(0)}
    return losses, gradient


class Hospital(Trainer):
    """Plain SGD on the site's images; the same program under every algorithm."""

    data: Site

    def __init__(self, config: Config) -> None:
        self.config, self.model, self.dataset_size = config, None, 0

    def load_data(self) -> None:
        self.rows, self.labels = self.data
        self.dataset_size = len(self.labels)

    def initialize(self) -> None:
        self.model = network()

    def train(self) -> None:
        settings = self.config.hyperparameters
        squares = 0.0
        for epoch in range(settings.epochs):
            order = np.random.permutation(self.dataset_size)
            for start in range(0, self.dataset_size, settings.batch_size):
                batch = order[start : start + settings.batch_size]
                losses, gradient = losses_and_gradient(self.model, self.rows[batch], self.labels[batch])
                terms = self.regularizer.get_gradient(curr_model=self.model) if self.regularizer.wanted else {}
                for name, array in self.model.items():
                    array -= settings.learning_rate * (gradient[name] + terms.get(name, 0.0))
                squares += float(losses @ losses) if epoch == 0 else 0.0
        # What Oort chooses by: n * sqrt(mean of the squared losses).
        self.update_metrics({"stat_utility": (self.dataset_size * squares) ** 0.5})

    def evaluate(self) -> None:
        pass


class Judge:
    """An aggregator that tests the shared model, after every round, on images that no site has."""

    npz = ""

    def __init__(self, config: Config) -> None:
        self.config, self.model, self.dataset = config, None, None

    def load_data(self) -> None:
        arrays = images(self.npz)
        self.dataset = pixels(arrays["test_images"]), arrays["test_labels"][:, 0]

    def initialize(self) -> None:
        self.model = network()

    def train(self) -> None:
        pass

    def evaluate(self) -> None:
        rows, labels = self.dataset
        right = scores(self.model, rows)[1].argmax(1) == labels
        self.update_metrics({METRIC: float(right.mean())})


class Waiting(Judge, Synchronous):
    """Closes a round when the gate says so."""


class Buffering(Judge, Asynchronous):
    """Takes updates as they come."""


Curve = list[tuple[float, float]]


def run(npz: str, sites: Mapping[str, Any], changes: Mapping[str, Any], counts: str, seed: int, out: Path) -> Curve:
    """One federation.

    Args:
        npz: a MedMNIST file; "" for the colon section.
        sites: as in `deal`.
        changes: settings by their dotted keys.
        counts: "rounds" or "seconds", of simulated time.
        seed: of the split, the first model, the order of the batches, who is asked and who is slow.
        out: the run directory.

    Returns:
        The accuracy on the test images after so many rounds or seconds.
    """
    asynchronous = changes.get("optimizer.sort") == "fedbuff"
    aggregator = type("Aggregator", (Buffering if asynchronous else Waiting,), {"npz": npz})
    result = flame.run(
        trainer=Hospital, aggregator=aggregator, data=deal(npz, sites, seed), set=changes, hosts=0, seed=seed, out=out
    )
    (curve,) = result.series(METRIC).values()
    if counts == "rounds":
        return [(float(round_), accuracy) for round_, accuracy in curve]
    (clock,) = result.series("simulated_s").values()
    return [(at, accuracy) for (_, at), (_, accuracy) in zip(clock, curve, strict=True)]
