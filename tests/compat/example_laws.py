"""What must be so of an example's numbers, of what its trainers print, and of what is left; and its data."""

from __future__ import annotations

import csv
import json
import random
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import references
from example import served
from references import ROUNDS, SIZES

# -- what must be so ---------------------------------------------------------------------------------------------------


def moves(values: np.ndarray) -> None:
    """Every round changes the model."""
    assert len(set(values.tolist())) == len(values)


def falls(values: np.ndarray) -> None:
    assert values[-1] < values[0]


def steps(values: np.ndarray) -> None:
    """Everybody adds one: so does the mean, whoever takes part."""
    assert values.tolist() == list(range(1, len(values) + 1))


def always(said: Any, rounds: int) -> None:
    """Whoever has joined trains until the end; the first rounds may have been over by then."""
    trained = said["rounds"]
    assert trained and trained == list(range(trained[0], rounds + 1))
    if "loss" in said and len(trained) > 2:
        assert said["loss"][-1] < said["loss"][0]


def sometimes(said: Any, rounds: int) -> None:
    """An asynchronous top need not have asked everybody."""
    assert said["rounds"] == sorted(said["rounds"]) and set(said["rounds"]) <= set(range(1, rounds + 1))


def as_written(reference: Any, atol: float = 1e-4) -> Any:
    """The numbers that the same algorithm gives in a few lines of NumPy."""
    return lambda values: np.testing.assert_allclose(values, references.sums(reference()), atol=atol)


def fairness(values: np.ndarray) -> None:
    assert values[0] == pytest.approx(references.first_bias(), abs=1e-6)
    assert len(values) == ROUNDS and abs(values[-1]) < abs(values[0])


def clipped(values: np.ndarray) -> None:
    """No step is longer than the threshold, but for a little noise."""
    assert ((values > 0.098) & (values < 0.102)).all()


def spends(said: Any, rounds: int) -> None:
    assert len(said) == rounds and said[0] > 1e5 and said == sorted(said)


def balanced(said: Any, rounds: int) -> None:
    """All samples at first, at least one always."""
    assert 0 < len(said) <= rounds and said[0] == 64 and min(said) >= 1


def k_steps(said: Any, rounds: int) -> None:
    """Rounded up to whole epochs: 5 steps of 3 batches, or of 1."""
    assert said in ([[5] * rounds, 2], [[5] * rounds, 5])


def shares(said: Any, rounds: int) -> None:
    assert pytest.approx(said[0]) in [0.1 * sum(SIZES) / size / len(SIZES) for size in SIZES]


def pulled(said: Any, rounds: int) -> None:
    """Nothing is far from itself; a step away it costs."""
    terms, optimizers, batches = said
    assert terms[0] == 0 and terms[1] > 0 and optimizers == 1 and batches == 2 * rounds


def written(name: str) -> Any:
    """A program that goes on behind `run()` writes a file."""
    return lambda folder: json.loads((folder / name).read_text())


def in_mlflow(folder: Path) -> None:
    """An experiment for the job, a run for each worker, metrics from step 0, a version of the model."""
    from mlflow import MlflowClient

    client = MlflowClient(store(folder), store(folder))
    [experiment] = [one for one in client.search_experiments() if one.name != "Default"]
    runs = client.search_runs([experiment.experiment_id])
    assert sorted(one.info.run_name.partition("-")[0] for one in runs) == ["aggregator", "trainer"]
    for one in runs:
        name = "Test Loss" if one.info.run_name.startswith("aggregator") else "Train Loss"
        assert [metric.step for metric in client.get_metric_history(one.info.run_id, name)] == [0, 1, 2, 3, 4]
    [model] = client.search_registered_models()
    assert [version.version for version in client.search_model_versions(f"name='{model.name}'")] in (["1"], [1])


# -- data --------------------------------------------------------------------------------------------------------------


def files(folder: Path, stack: ExitStack) -> list[str]:
    return references.saved(folder / "data")


def by_http(folder: Path, stack: ExitStack) -> list[str]:
    host = served(folder, stack)
    return [f"{host}/data/{Path(url).name}" for url in references.saved(folder / "data")]


def ten_by_http(folder: Path, stack: ExitStack) -> list[str]:
    return by_http(folder, stack) * 5


def table(folder: Path, stack: ExitStack) -> list[str]:
    """One for the trainer, one for the aggregator, which looks beside it."""
    rng = random.Random(1)
    for name in ("train", "test"):
        with (folder / f"{name}.csv").open("w") as file:
            rows = csv.writer(file)
            rows.writerow(["age", "workclass", "education-num", "sex", "hours-per-week", "income"])
            for _ in range(120):
                years, hours = rng.randint(1, 16), rng.randint(10, 60)
                kind, sex = rng.choice(["Private", "Self-emp", "State-gov"]), rng.choice(["Female", "Male"])
                much = years + hours / 5 > 16
                rows.writerow([rng.randint(18, 80), kind, years, sex, hours, ">50K" if much else "<=50K"])
    return [f"file://{folder}"]


def store(folder: Path) -> str:
    return f"sqlite:///{folder}/mlflow.db"
