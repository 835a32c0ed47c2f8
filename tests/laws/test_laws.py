"""Equalities that hold whatever the topology, the number of hosts or the order of arrival."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import flame
from flame.tag import Tag, template

FEATURES = 6
SIZES = (10, 25, 40, 5, 30, 18)
ADAPTIVE = {"beta_1": 0.9, "beta_2": 0.99, "eta": 0.05, "tau": 0.01}
OPTIMIZERS = {
    "fedavg": {},
    "fedprox": {"mu": 0.1},
    "fedadam": ADAPTIVE,
    "fedyogi": ADAPTIVE,
    "fedadagrad": {"eta": 0.05, "tau": 0.01},
}


def site(number: int) -> tuple[np.ndarray, np.ndarray]:
    """A site's samples of one linear law with noise of its own."""
    rng = np.random.default_rng(number)
    x = rng.normal(size=(SIZES[number], FEATURES))
    return x, x @ np.arange(1.0, FEATURES + 1) + rng.normal(size=SIZES[number])


def model() -> dict[str, np.ndarray]:
    """A linear model."""
    return {"w": np.zeros(FEATURES, np.float32), "b": np.zeros(1, np.float32)}


def train(net: dict[str, np.ndarray], data: tuple[np.ndarray, np.ndarray]) -> dict[str, float]:
    """Three steps on minibatches that the worker's own random numbers choose."""
    x, y = data
    for _ in range(3):
        picked = np.random.permutation(len(y))[:8]
        error = x[picked] @ net["w"] + net["b"] - y[picked]
        net["w"] -= 0.05 * (x[picked].T @ error / len(picked)).astype(np.float32)
        net["b"] -= np.float32(0.05 * error.mean())
    return {"loss": float((error**2).mean())}


def run(
    out: Path, *, tag: Tag | str = "two-tier", data: Any = None, hosts: int = 0, rounds: int = 4, **more: Any
) -> Any:
    """Train; returns the result."""
    data = [site(number) for number in range(6)] if data is None else data
    return flame.run(model=model, train=train, data=data, tag=tag, hosts=hosts, rounds=rounds, out=out, seed=7, **more)


def flat(result: Any) -> np.ndarray:
    """A result's final weights as one vector."""
    return np.concatenate([array.ravel() for array in result.weights().arrays().values()])


@pytest.mark.parametrize("sort", OPTIMIZERS)
def test_a_tree_learns_what_a_star_learns(tmp_path: Path, sort: str) -> None:
    """Middle aggregators change nothing but where means are taken."""
    changes = {"optimizer.sort": sort, "optimizer.kwargs": OPTIMIZERS[sort]}

    def full(net: dict[str, np.ndarray], data: tuple[np.ndarray, np.ndarray], regularizer: Any) -> None:
        x, y = data
        for _ in range(2):
            error = x @ net["w"] + net["b"] - y
            pull = regularizer.get_gradient(curr_model=net)["w"] if regularizer.wanted else 0
            net["w"] -= 0.05 * ((x.T @ error / len(y)).astype(np.float32) + pull)

    sites = [site(number) for number in range(6)]
    grouped = {"eu": sites[:2], "na": sites[2:]}
    common = {"model": model, "train": full, "hosts": 0, "rounds": 5, "set": changes}
    star = flame.run(data=sites, out=tmp_path / "star", **common)
    tree = flame.run(data=grouped, tag=template("hierarchical", regions=("eu", "na")), out=tmp_path / "tree", **common)
    assert np.abs(flat(star)).max() > 0.01
    np.testing.assert_allclose(flat(tree), flat(star), rtol=2e-5, atol=1e-6)


@pytest.mark.parametrize("hosts", [1, 2, 4])
def test_the_number_of_hosts_changes_no_bit(tmp_path: Path, hosts: int) -> None:
    """Hosts are where things run, not what they compute."""
    here = run(tmp_path / "here", hosts=0)
    there = run(tmp_path / "there", hosts=hosts)
    assert flat(here).tobytes() == flat(there).tobytes()
    values = [(record.round, record.worker, record.values) for record in here.metrics]
    assert values == [(record.round, record.worker, record.values) for record in there.metrics]


def test_the_same_seed_gives_the_same_bits_and_another_does_not(tmp_path: Path) -> None:
    """A run can be repeated."""
    first, again = run(tmp_path / "a"), run(tmp_path / "b")
    other = flame.run(
        model=model, train=train, data=[site(n) for n in range(6)], hosts=0, rounds=4, seed=8, out=tmp_path / "c"
    )
    assert flat(first).tobytes() == flat(again).tobytes() != flat(other).tobytes()


def test_what_others_draw_changes_nothing(tmp_path: Path) -> None:
    """A worker's random numbers are its own: a new neighbour does not shift them."""
    six = run(tmp_path / "six", rounds=1)
    five = run(tmp_path / "five", data=[site(number) for number in range(5)], rounds=1)
    losses = {record.worker: record.values for record in six.metrics}
    assert all(losses[record.worker] == record.values for record in five.metrics)
