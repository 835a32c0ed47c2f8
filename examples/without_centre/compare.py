"""Four hospitals without a centre: the same functions, and only the TAG differs.

Each hospital fits a logistic regression to its own patients, as in the heart example. With a centre, the models are
averaged; in a ring, each is mixed with those of two neighbours; in a cycle, one model goes round.
"""

from __future__ import annotations

import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np

import flame

HEART = Path(__file__).resolve().parent.parent / "heart"
TAGS = ("two-tier", "gossip-ring", "gossip-full", "cyclic")
SETTINGS = SimpleNamespace(epochs=10, learning_rate=0.1, weight_decay=0.01)


def heart() -> ModuleType:
    """The program of the heart example: how patients are read, and how a model is fitted."""
    spec = spec_from_file_location("heart_trainer", HEART / "trainer" / "main.py")
    assert spec is not None and spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def hospitals() -> tuple[list[Any], tuple[np.ndarray, np.ndarray]]:
    """Each hospital's patients for training, and the held-out patients of all."""
    code = heart()
    seen, held_out = [], []
    for path in sorted((HEART / "hospitals").glob("*.csv")):
        features, labels = code.patients(path)
        aside = code.halves(labels)
        seen.append((features[~aside], labels[~aside]))
        held_out.append((features[aside], labels[aside]))
    return seen, tuple(np.concatenate(some) for some in zip(*held_out, strict=True))


def run(tag: str, out: Path | None = None, rounds: int = 20) -> Any:
    """Train with a TAG; the accuracy of each model on everybody's held-out patients is reported in every round."""
    code = heart()
    seen, held_out = hospitals()

    def model() -> dict[str, np.ndarray]:
        return {"weights": np.zeros(seen[0][0].shape[1]), "bias": np.zeros(1)}

    def train(net: dict[str, np.ndarray], patients: Any) -> dict[str, float]:
        return {"train-loss": float(code.fit(net, *patients, SETTINGS))}

    def evaluate(net: dict[str, np.ndarray]) -> dict[str, float]:
        return {"accuracy": code.accuracy(net, *held_out)}

    return flame.run(model=model, train=train, evaluate=evaluate, data=seen, tag=tag, rounds=rounds, hosts=0, out=out)


def last(result: Any) -> list[float]:
    """The accuracy of the last round: of the one model, or of each hospital's."""
    return [curve[-1][1] for _, curve in sorted(result.series("accuracy").items())]


if __name__ == "__main__":
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path("runs")
    for tag in TAGS:
        found = last(run(tag, folder / f"without-centre-{tag}"))
        print(f"{tag:12} {' '.join(f'{value:.3f}' for value in found)}")
