"""One command: the four hospitals together, beside each of them alone."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import NamedTuple

import numpy as np

import flame

HERE = Path(__file__).resolve().parent
HOSPITALS = ("cleveland", "hungary", "switzerland", "va-long-beach")


class Row(NamedTuple):
    """One hospital; every number but the first two is an accuracy on held-out patients."""

    hospital: str
    patients: int
    majority: float  # of always saying what is more common there
    alone_home: float  # its own model, on its own patients
    alone_everywhere: float  # its own model, mean over the patients of all four
    together_home: float  # the federation's model, on its patients


def program() -> ModuleType:
    """The hospital's own program, from which the functions come."""
    spec = importlib.util.spec_from_file_location("heart_trainer", HERE / "trainer" / "main.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def alone(code: ModuleType, features: np.ndarray, labels: np.ndarray) -> dict[str, np.ndarray]:
    """A model of one hospital's own, after as many steps as the federation takes."""
    given = json.loads((HERE / "modelSpec.json").read_text())["hyperparameters"]
    steps = given["rounds"] * given["epochs"]
    settings = SimpleNamespace(epochs=steps, learning_rate=given["learningRate"], weight_decay=given["weightDecay"])
    model = {"weights": np.zeros(features.shape[1]), "bias": np.zeros(1)}
    code.fit(model, features, labels, settings)
    return model


def compare(out: Path | None = None, seed: int = 0) -> list[Row]:
    """Run the federation, fit each hospital alone, and test all models on the held-out patients."""
    together = flame.run(HERE, seed=seed, out=out).weights().arrays()
    code = program()
    data = {name: code.patients(HERE / "hospitals" / f"{name}.csv") for name in HOSPITALS}
    masks = {name: code.halves(labels) for name, (_, labels) in data.items()}
    tests = {name: (data[name][0][masks[name]], data[name][1][masks[name]]) for name in HOSPITALS}
    rows = []
    for name, (features, labels) in data.items():
        own = alone(code, features[~masks[name]], labels[~masks[name]])
        sick = tests[name][1].mean()
        everywhere = float(np.mean([code.accuracy(own, *test) for test in tests.values()]))
        home = code.accuracy(own, *tests[name]), everywhere, code.accuracy(together, *tests[name])
        rows.append(Row(name, len(labels), float(max(sick, 1 - sick)), *home))
    return rows


def table(rows: list[Row]) -> str:
    """The rows for a terminal, and their means."""
    means = [float(np.mean(column)) for column in list(zip(*rows, strict=True))[2:]]
    heads = ("majority", "own, home", "own, all four", "federated")
    lines = [f"{'accuracy':15}{'patients':>9}" + "".join(f"{head:>15}" for head in heads)]
    for name, patients, *shares in [*rows, ("mean", sum(row.patients for row in rows), *means)]:
        lines.append(f"{name:15}{patients:>9}" + "".join(f"{share:15.3f}" for share in shares))
    return "\n".join(lines)


if __name__ == "__main__":
    print(table(compare()))
