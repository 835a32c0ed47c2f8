"""Models that are mixed with those of neighbours: the mean stays, all come to agree, and it is D-PSGD."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_laws import FEATURES, flat

import flame
from flame.engine import graph
from flame.errors import RecipeError
from flame.weights import safetensors

ROUNDS, SITES = 4, 7
GRAPHS = {
    "gossip-ring": lambda n: graph.ring(n),
    "gossip-grid": lambda n: graph.grid(n),
    "gossip-full": lambda n: graph.full(n),
    "gossip-random": lambda n: graph.regular(n, 4, "3/gossip"),
}
DEGREE = {"hyperparameters": {"degree": 4}}


def site(number: int) -> tuple[np.ndarray, np.ndarray]:
    """Equally many samples for each, so that a plain mean is one by samples too."""
    rng = np.random.default_rng(number)
    x = rng.normal(size=(12, FEATURES))
    return x, x @ np.arange(1.0, FEATURES + 1) + rng.normal(size=12)


def start() -> dict[str, np.ndarray]:
    return {"w": np.random.normal(size=FEATURES)}


def same() -> dict[str, np.ndarray]:
    return {"w": np.zeros(FEATURES)}


def step(net: dict[str, np.ndarray], data: tuple[np.ndarray, np.ndarray]) -> None:
    net["w"] += gradient(net["w"], data)


def gradient(w: np.ndarray, data: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    x, y = data
    return -0.05 * x.T @ (x @ w - y) / len(y)


def nothing(net: Any, data: Any) -> None:
    """A learning rate of 0."""


def run(out: Path, tag: Any = "gossip-ring", *, sites: int = SITES, hosts: int = 0, **more: Any) -> Any:
    common = {"model": same, "train": step, "rounds": ROUNDS, "settings": DEGREE, **more}
    return flame.run(data=[site(number) for number in range(sites)], tag=tag, hosts=hosts, seed=3, out=out, **common)


def models(result: Any, sites: int = SITES) -> np.ndarray:
    """Every worker's final model, as rows."""
    files = [result.dir / "models" / f"trainer-{number}.safetensors" for number in range(1, sites)]
    return np.stack([flat(result), *(safetensors.read(path).arrays()["w"] for path in files)])


def matrix(near: graph.Graph) -> np.ndarray:
    mixing = np.zeros((len(near), len(near)))
    for worker in range(len(near)):
        for other, weight in graph.weights_of(near, worker).items():
            mixing[worker, other] = weight
    return mixing + np.diag(1 - mixing.sum(axis=1))


@pytest.mark.parametrize("workers", [1, 2, 3, 7, 12])
@pytest.mark.parametrize("name", GRAPHS)
def test_every_graph_is_connected_and_mixing_is_doubly_stochastic(name: str, workers: int) -> None:
    mixing = matrix(GRAPHS[name](workers))
    np.testing.assert_allclose(mixing.sum(axis=0), 1.0)
    np.testing.assert_array_equal(mixing, mixing.T)
    assert (mixing >= 0).all()
    assert (np.linalg.matrix_power(mixing, 2 * workers) > 0).all()


@pytest.mark.parametrize(("workers", "degree"), [(10, 3), (31, 4), (100, 5)])
def test_a_random_graph_is_regular_and_hangs_on_its_seed(workers: int, degree: int) -> None:
    one, again, other = (graph.regular(workers, degree, seed) for seed in ("a", "a", "b"))
    assert {len(near) for near in one} == {degree}
    assert one == again != other


@pytest.mark.parametrize("name", GRAPHS)
def test_it_is_training_and_mixing_by_hand(tmp_path: Path, name: str) -> None:
    found = models(run(tmp_path, name))
    w, mixing = np.zeros((SITES, FEATURES)), matrix(GRAPHS[name](SITES))
    for _ in range(ROUNDS):
        w = mixing @ np.stack([w[number] + gradient(w[number], site(number)) for number in range(SITES)])
    np.testing.assert_allclose(found, w, rtol=1e-10)


def test_without_training_all_come_to_the_mean_and_the_mean_stays(tmp_path: Path) -> None:
    begun = models(run(tmp_path / "a", model=start, train=nothing, rounds=1))
    ended = models(run(tmp_path / "b", model=start, train=nothing, rounds=80))
    np.testing.assert_allclose(ended.mean(axis=0), begun.mean(axis=0), rtol=1e-10)
    np.testing.assert_allclose(ended, np.tile(begun.mean(axis=0), (SITES, 1)), rtol=1e-6)
    assert np.ptp(begun, axis=0).min() > 0.01


def test_on_a_complete_graph_it_is_federated_averaging(tmp_path: Path) -> None:
    found = models(run(tmp_path / "gossip", "gossip-full"))
    star = flat(run(tmp_path / "star", "two-tier"))
    np.testing.assert_allclose(found, np.tile(star, (SITES, 1)), rtol=1e-10)


@pytest.mark.parametrize("hosts", [1, 2, 4])
def test_any_number_of_hosts_gives_the_same_bits(tmp_path: Path, hosts: int) -> None:
    here, there = run(tmp_path / "here", "gossip-random"), run(tmp_path / "there", "gossip-random", hosts=hosts)
    assert models(here).tobytes() == models(there).tobytes()
    told = [[(record.round, record.worker, record.values) for record in run.metrics] for run in (here, there)]
    assert told[0] == told[1]


def test_a_graph_may_be_listed(tmp_path: Path) -> None:
    tag = (
        flame.tag.build("a star without a centre")
        .role("trainer", data_consumer=True)
        .channel("gossip-channel", {"trainer": "gossipEdges"})
        .done()
    )
    edges = [[0, number] for number in range(1, SITES)]
    found = models(run(tmp_path, tag, rounds=1, settings={"hyperparameters": {"edges": edges}}))
    trained = np.stack([gradient(np.zeros(FEATURES), site(number)) for number in range(SITES)])
    expected = matrix(graph.of_edges(SITES, [(0, number) for number in range(1, SITES)])) @ trained
    np.testing.assert_allclose(found, expected, rtol=1e-10)


def test_what_is_evaluated_is_the_mixed_model_and_it_is_reported(tmp_path: Path) -> None:
    result = run(tmp_path, "gossip-full", evaluate=lambda net: {"first": net["w"][0]})
    assert np.ptp([curve[-1][1] for curve in result.series("first").values()]) < 1e-12
    assert result.history.facts["rounds"] == ROUNDS
    disagreement = result.series("disagreement")
    assert len(disagreement) == SITES and all(value > 0 for curve in disagreement.values() for _, value in curve)


@pytest.mark.parametrize(
    ("tag", "more", "error"),
    [
        ("gossip-ring", {"set": {"optimizer.sort": "fedyogi"}}, "fedyogi needs an aggregator"),
        ("gossip-ring", {"set": {"gate.kwargs": {"atLeast": 2}}}, "no atLeast"),
        (
            "gossip-ring",
            {"set": {"privacy.sort": "dp", "privacy.kwargs": {"clip_threshold": 1.0, "noise_factor": 1.0}}},
            "privacy",
        ),
        ("gossip-random", {"settings": {"hyperparameters": {"degree": 1}}}, "degree is 1; it is at least 2"),
    ],
)
def test_what_needs_somebody_who_leads_is_refused(tmp_path: Path, tag: str, more: Any, error: str) -> None:
    with pytest.raises(RecipeError, match=error):
        run(tmp_path / "run", tag, **more)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("sites", [6, 7])
def test_a_random_graph_needs_no_setting(tmp_path: Path, sites: int) -> None:
    assert np.isfinite(models(run(tmp_path, "gossip-random", sites=sites, settings={}), sites)).all()


@pytest.mark.parametrize("edges", [[[0, 1, 2]], "ring", [[0, 0]], [[0, 5000]]])
def test_edges_that_are_none_are_refused(tmp_path: Path, edges: Any) -> None:
    tag = flame.tag.build("x").role("trainer", data_consumer=True).channel("c", {"trainer": "gossipEdges"}).done()
    with pytest.raises(RecipeError, match=r"hyperparameters\.edges"):
        run(tmp_path / "run", tag, settings={"hyperparameters": {"edges": edges}})


@pytest.mark.parametrize("tag", ["gossip-ring", "cyclic"])
@pytest.mark.parametrize("hosts", [0, 2])
def test_a_model_that_is_not_finite_is_not_handed_on(tmp_path: Path, tag: str, hosts: int) -> None:
    """As if its site had not trained in that round."""

    def learned(name: str, third: Any) -> np.ndarray:
        def train(net: dict[str, np.ndarray], data: tuple[np.ndarray, np.ndarray]) -> None:
            (third if data[1][0] == site(2)[1][0] else step)(net, data)

        return flat(run(tmp_path / name, tag, hosts=hosts, train=train, settings={}))

    def poison(net: dict[str, np.ndarray], data: Any) -> None:
        step(net, data)
        net["w"][-1] = np.nan

    found = learned("poisoned", poison)
    assert np.abs(found).max() > 0.1
    assert found.tobytes() == learned("untrained", nothing).tobytes()
