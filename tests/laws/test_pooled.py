"""Everybody takes part with one step on all its samples: that is gradient descent on all samples, in every topology.

A mode weighs sites by their samples, or counts each once (gossip, FedBuff). In the latter the law holds for the
objective that such a mode has, the mean of the sites' losses; so that one reference serves all, a site's loss is there
multiplied by its share of all samples, which makes that mean the loss on all samples.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import flame
from flame.mode.clustered.trainer import Trainer as ClusteredTrainer
from flame.mode.horizontal.asyncfl import top_aggregator as async_top
from flame.mode.horizontal.coord_asyncfl import coordinator as coord_async_coordinator
from flame.mode.horizontal.coord_asyncfl import middle_aggregator as coord_async_middle
from flame.mode.horizontal.coord_asyncfl import top_aggregator as coord_async_top
from flame.mode.horizontal.coord_asyncfl import trainer as coord_async_trainer
from flame.mode.horizontal.eager_syncfl import middle_aggregator as eager_middle
from flame.mode.horizontal.eager_syncfl import top_aggregator as eager_top
from flame.mode.vertical.feature_holder import FeatureHolder
from flame.mode.vertical.label_holder import LabelHolder
from flame.tag import Tag, template
from flame.tag.templates import TEMPLATES
from flame.weights import safetensors

FEATURES, ROUNDS, RATE = 5, 12, 0.05
SIZES = (10, 25, 40, 5, 30, 18)
Site = tuple[np.ndarray, np.ndarray, float]


def site(number: int) -> tuple[np.ndarray, np.ndarray]:
    """Unequally many samples; each site has a law of its own, so that leaving one out would show."""
    rng = np.random.default_rng(number)
    x = rng.normal(size=(SIZES[number], FEATURES))
    return x, x @ (np.arange(1.0, FEATURES + 1) + number) + rng.normal(size=SIZES[number])


SITES: list[Site] = [(*site(number), 1.0) for number in range(len(SIZES))]
COUNTED_ONCE: list[Site] = [(x, y, len(SIZES) * len(y) / sum(SIZES)) for x, y, _ in SITES]


def gradient(w: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return x.T @ (x @ w - y) / len(y)


def joined(sites: list[Site]) -> tuple[np.ndarray, np.ndarray]:
    return np.concatenate([one[0] for one in sites]), np.concatenate([one[1] for one in sites])


def pooled(sites: list[Site], rounds: int = ROUNDS) -> np.ndarray:
    """Gradient descent where all the data is at one place."""
    (x, y), w = joined(sites), np.zeros(FEATURES)
    for _ in range(rounds):
        w = w - RATE * gradient(w, x, y)
    return w


def model() -> dict[str, np.ndarray]:
    return {"w": np.zeros(FEATURES)}


def step(net: dict[str, np.ndarray], item: Site) -> None:
    x, y, share = item
    net["w"] -= RATE * share * gradient(net["w"], x, y)


class Alone:
    """A trainer's four methods, before the class of its mode."""

    def load_data(self) -> None:
        self.dataset_size = len(self.data[1])

    def initialize(self) -> None:
        self.model = model()

    def train(self) -> None:
        step(self.model, self.data)

    def evaluate(self) -> None:
        """Nothing."""


class Led:
    """An aggregator that has the model, before the class of its mode."""

    def initialize(self) -> None:
        self.model = model()


def led(role: type) -> type:
    return type("Top", (Led, role), {"__module__": __name__})


@dataclass(frozen=True)
class Shape:
    """How one topology is run, and who works on each of the models that it leaves.

    Attributes:
        options: of the template.
        roles: the classes of another mode than the usual one.
        data: the sites.
        settings: what the mode needs.
        members: for each model that is left, whose data it has learned.
        rounds: for how long the law holds.
    """

    options: dict[str, Any] = field(default_factory=dict)
    roles: dict[str, type] = field(default_factory=dict)
    data: list[Site] = field(default_factory=lambda: SITES)
    settings: dict[str, Any] = field(default_factory=dict)
    members: list[list[Site]] = field(default_factory=lambda: [SITES])
    rounds: int = ROUNDS


def buffered(goal: int) -> dict[str, Any]:
    """Everybody is asked as soon as it is idle, and so many answers make a step."""
    everybody = {"sort": "fedbuff", "kwargs": {"c": len(SITES)}}
    return {"optimizer": {"sort": "fedbuff"}, "selector": everybody, "hyperparameters": {"aggGoal": goal}}


EAGER = {"aggregator": led(eager_top.TopAggregator)}
EAGER_TREE = {"top-aggregator": EAGER["aggregator"], "middle-aggregator": eager_middle.MiddleAggregator}
ASYNC = {"aggregator": led(async_top.TopAggregator), "top-aggregator": led(async_top.TopAggregator)}
COORDINATED_ASYNC = {
    "trainer": type("Client", (Alone, coord_async_trainer.Trainer), {"__module__": __name__}),
    "top-aggregator": led(coord_async_top.TopAggregator),
    "middle-aggregator": coord_async_middle.MiddleAggregator,
    "coordinator": coord_async_coordinator.Coordinator,
}
EACH = [[one] for one in SITES]

SHAPES: dict[str, Shape] = {
    **dict.fromkeys(("two-tier", "cross-silo", "cross-device", "load-balanced", "edge-cloud", "deep"), Shape()),
    **dict.fromkeys(("coordinated", "lifl-coordinated", "distributed", "hybrid"), Shape()),
    "hierarchical": Shape({"regions": ("eu", "na", "sa")}),
    "hierarchical: five tiers": Shape({"regions": ("a/b/c", "a/b/d", "a/e/f"), "depth": 5}),
    "hierarchical: eager": Shape(roles=EAGER_TREE),
    "two-tier: eager": Shape(roles=EAGER),
    # Asynchronous without staleness: one peer, whose answer makes a step before it is asked again, or one step.
    "hierarchical: async over sync": Shape({"regions": ("eu",)}, ASYNC, data=COUNTED_ONCE, settings=buffered(1)),
    "two-tier: async": Shape(roles=ASYNC, data=COUNTED_ONCE, settings=buffered(len(SITES)), rounds=1),
    "coordinated: async": Shape(
        {"aggregators": 1}, COORDINATED_ASYNC, data=SITES[:1], settings=buffered(1), members=EACH[:1]
    ),
    "parallel": Shape(members=[SITES[0::3], SITES[1::3], SITES[2::3]]),
    "parallel-trees": Shape(members=[[*SITES[2::4], *SITES[3::4]], [*SITES[0::4], *SITES[1::4]]]),
    "gossip-full": Shape(data=COUNTED_ONCE, members=[SITES] * len(SITES)),
    "cyclic: one site": Shape(data=SITES[:1], members=EACH[:1]),
}


def tag_of(name: str, options: dict[str, Any]) -> Tag:
    """The template; the channels of some would round what is sent."""
    tag = template(name, **options)
    return replace(tag, channels=tuple(replace(channel, compression=None) for channel in tag.channels))


def run(out: Path, name: str, shape: Shape, **more: Any) -> Any:
    chosen = {"model": model, "train": step, "data": shape.data, "rounds": shape.rounds, **more}
    tag = tag_of(name.partition(":")[0], shape.options)
    return flame.run(roles=shape.roles, settings=shape.settings, tag=tag, hosts=0, seed=3, out=out, **chosen)


def models(out: Path, tensor: str = "w") -> np.ndarray:
    """Every model that a run left as a row, that of the first worker first."""
    files = [out / "model.safetensors", *sorted(out.glob("models/*.safetensors"))]
    return np.stack([safetensors.read(path).arrays()[tensor] for path in files])


@pytest.mark.parametrize("name", SHAPES)
def test_it_is_gradient_descent_on_all_samples(tmp_path: Path, name: str) -> None:
    shape = SHAPES[name]
    run(tmp_path, name, shape)
    expected = [pooled(members, shape.rounds) for members in shape.members]
    np.testing.assert_allclose(models(tmp_path), expected, rtol=1e-6)


# -- where models differ within a round ------------------------------------------------------------------


@pytest.mark.parametrize("name", ["gossip-ring", "gossip-grid", "gossip-random"])
def test_the_mean_of_neighbours_is_gradient_descent_on_all_samples(tmp_path: Path, name: str) -> None:
    """For one step from one model, and for any number if the sites differ in what they are to learn alone.

    Mixing keeps the mean of the models, and the mean of the sites' gradients at models of their own is the gradient
    at the mean of these models if all have the same second derivative: samples of the same x.
    """
    run(tmp_path / "once", name, Shape(data=COUNTED_ONCE), rounds=1)
    np.testing.assert_allclose(models(tmp_path / "once").mean(axis=0), pooled(SITES, 1), rtol=1e-6)
    x = SITES[0][0]
    alike = [(x, x @ np.random.default_rng(number).normal(size=FEATURES), 1.0) for number in range(6)]
    run(tmp_path / "alike", name, Shape(data=alike))
    found = models(tmp_path / "alike")
    assert np.ptp(found, axis=0).max() > 0.01
    np.testing.assert_allclose(found.mean(axis=0), pooled(alike), rtol=1e-6)


def test_a_travelling_model_that_gathers_gradients_is_gradient_descent_on_all_samples(tmp_path: Path) -> None:
    """The step is taken where the lap ends; a step at every site is training on one site after the other."""

    def with_gathered() -> dict[str, np.ndarray]:
        return {**model(), "gathered": np.zeros(FEATURES), "samples": np.zeros(1)}

    def gather(net: dict[str, np.ndarray], item: Site) -> None:
        x, y, _ = item
        net["gathered"] += len(y) * gradient(net["w"], x, y)
        net["samples"] += len(y)
        if net["samples"] == sum(SIZES):
            net["w"] -= RATE * net["gathered"] / net["samples"]
            net["gathered"][:], net["samples"][:] = 0, 0

    run(tmp_path, "cyclic", Shape(), model=with_gathered, train=gather)
    np.testing.assert_allclose(models(tmp_path), [pooled(SITES)], rtol=1e-6)


class Choosy(Alone, ClusteredTrainer):
    def loss(self) -> float:
        x, y, _ = self.data
        return float(((x @ self.model["w"] - y) ** 2).mean())


def test_every_cluster_is_gradient_descent_on_the_samples_of_its_members(tmp_path: Path) -> None:
    """Of those who chose it in a round; every other site is the opposite of what it was."""
    sites = [(x, y * (-1) ** at, share) for at, (x, y, share) in enumerate(SITES)]
    result = run(tmp_path, "clustered", Shape({"clusters": 2}, {"trainer": Choosy}, sites))
    chosen = {(record.worker, record.round): record.values["cluster"] for record in result.metrics}
    expected = np.zeros((2, FEATURES))
    for round_ in range(1, ROUNDS + 1):
        for cluster in (0, 1):
            members = [one for at, one in enumerate(sites) if chosen[f"trainer/{at}", round_] == cluster]
            if members:
                expected[cluster] -= RATE * gradient(expected[cluster], *joined(members))
    assert {chosen[f"trainer/{at}", ROUNDS] for at in range(len(SITES))} == {0, 1}
    np.testing.assert_allclose(models(tmp_path), expected, rtol=1e-6)


class Part(FeatureHolder):
    """Some columns; the embedding is their part of the prediction."""

    data: Any

    def load_data(self) -> None:
        self.x = self.data
        self.ids = range(len(self.x))

    def initialize(self) -> None:
        self.model = {"w": np.zeros(self.x.shape[1])}

    def forward(self, rows: np.ndarray) -> np.ndarray:
        self.seen = self.x[rows]
        return (self.seen @ self.model["w"])[:, None]

    def backward(self, gradient: np.ndarray) -> None:
        self.model["w"] -= RATE * self.seen.T @ gradient[:, 0]


class Labels(LabelHolder):
    data: Any

    def load_data(self) -> None:
        self.y = self.data
        self.ids = range(len(self.y))

    def initialize(self) -> None:
        self.model = {"none": np.zeros(1)}

    def train_on(self, rows: np.ndarray, embeddings: list[np.ndarray]) -> list[np.ndarray]:
        error = (sum(embeddings)[:, 0] - self.y[rows]) / len(rows)
        return [error[:, None]] * len(embeddings)


def test_columns_apart_are_gradient_descent_on_the_joined_columns(tmp_path: Path) -> None:
    x, y = joined(SITES)
    flame.run(
        roles={"feature-holder": Part, "label-holder": Labels},
        tag="vertical",
        data={"feature-holder": [x[:, :2], x[:, 2:3], x[:, 3:]], "label-holder": [y]},
        settings={"hyperparameters": {"batchSize": len(y), "rounds": ROUNDS}},
        hosts=0,
        out=tmp_path,
    )
    files = [tmp_path / "models" / f"feature-holder-{number}.safetensors" for number in range(3)]
    found = np.concatenate([safetensors.read(path).arrays()["w"] for path in files])
    np.testing.assert_allclose(found, pooled(SITES), rtol=1e-6)


def test_no_template_is_left_out() -> None:
    apart = {"gossip-ring", "gossip-grid", "gossip-random", "cyclic", "clustered", "vertical"}
    assert {name.partition(":")[0] for name in SHAPES} | apart == set(TEMPLATES)
