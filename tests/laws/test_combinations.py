"""Topologies, algorithms, selectors and privacy combine: a run ends and its loss falls, or it is refused by name.

What is refused is refused before anything starts.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import flame
from flame.errors import RecipeError

FEATURES = 4
TOPOLOGIES = {
    "two-tier": {},
    "cross-device": {},
    "hierarchical": {"regions": ("eu", "na")},
    "deep": {"regions": ("eu/a", "eu/b")},
    "coordinated": {},
    "lifl-coordinated": {},
    "distributed": {},
    "hybrid": {"groups": ("eu", "na")},
    "cyclic": {},
    "gossip-ring": {},
    "gossip-full": {},
}
ALGORITHMS: dict[str, dict[str, Any]] = {
    "fedavg": {},
    "fedavgm": {},
    "fedadam": {"eta": 0.1},
    "fedyogi": {"eta": 0.1},
    "fedadagrad": {"eta": 0.1},
    "fedprox": {"mu": 0.01},
    "feddyn": {"alpha": 0.1},
    "scaffold": {"k": 4},
    "fednova": {},
    "qfedavg": {"q": 0.1, "eta": 1.0},
    "ditto": {"lambda": 0.1},
    "fedbuff": {},
}
SELECTORS: dict[str, dict[str, Any]] = {
    "default": {},
    "random": {"k": 3},
    "poisson": {"rate": 0.9},
    "oort": {"aggr_num": 3},
    "power-of-choice": {"k": 3, "d": 4},
}
PRIVACY: dict[str, dict[str, Any]] = {
    "default": {},
    "dp": {"clip_threshold": 5.0, "noise_multiplier": 0.001},
}


def site(number: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(number)
    x = rng.normal(size=(16 + number, FEATURES))
    return x, x @ np.arange(1.0, FEATURES + 1) + 0.1 * rng.normal(size=len(x))


SITES = [site(number) for number in range(6)]


def model() -> dict[str, np.ndarray]:
    return {"w": np.zeros(FEATURES)}


def loss(net: dict[str, np.ndarray]) -> float:
    return float(np.mean([((x @ net["w"] - y) ** 2).mean() for x, y in SITES]))


def train(net: dict[str, np.ndarray], data: tuple[np.ndarray, np.ndarray], regularizer: Any) -> dict[str, float]:
    x, y = data
    before = float(((x @ net["w"] - y) ** 2).mean())
    for _ in range(4):
        gradient = {"w": x.T @ (x @ net["w"] - y) / len(y)}
        more = regularizer.get_gradient(curr_model=net) if getattr(regularizer, "wanted", False) else None
        net["w"] -= 0.05 * (gradient["w"] + (more["w"] if more else 0.0))
    return {"loss": before}


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(*(st.sampled_from(list(names)) for names in (TOPOLOGIES, ALGORITHMS, SELECTORS, PRIVACY)))
def test_whatever_is_combined_learns_or_is_refused_by_name(shape: str, sort: str, selector: str, privacy: str) -> None:
    options = TOPOLOGIES[shape]
    grouped = next(iter(options.values()), None)
    data = {group: SITES[at :: len(grouped)] for at, group in enumerate(grouped)} if grouped else SITES
    chosen = {
        "optimizer": {"sort": sort, "kwargs": ALGORITHMS[sort]},
        "selector": {"sort": selector, "kwargs": SELECTORS[selector]},
        "privacy": {"sort": privacy, "kwargs": PRIVACY[privacy]},
        "hyperparameters": {"learningRate": 0.05, "rounds": 12},
    }
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "run"
        try:
            tag = flame.tag.template(shape, **options)
            result = flame.run(
                model=model, train=train, data=data, tag=tag, settings=chosen, hosts=0, seed=1, out=out, rounds=12
            )
        except RecipeError as refused:
            assert any(word in str(refused) for word in (sort, selector, privacy)), refused
            assert not out.exists(), f"it had begun: {refused}"
            return
        assert loss(result.weights().arrays()) < 0.7 * loss(model())
