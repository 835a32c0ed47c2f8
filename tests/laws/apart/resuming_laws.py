"""Stopped and resumed is uninterrupted for models of every framework, with what they hold beside their weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax
import keras
import numpy as np
import optax
import pytest
import torch
import xgboost
from flax import nnx
from peft import LoraConfig, get_peft_model
from sklearn.linear_model import SGDClassifier
from sklearn.neural_network import MLPClassifier

import flame
from flame.weights.sklearn_adapter import prepare

# Keras on torch runs into it with numpy 2.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")
FEATURES, CLASSES = 5, (0, 1, 2)
GROWTH = {"objective": "reg:squarederror", "max_depth": 2, "subsample": 0.5, "base_score": 0.5, "nthread": 1}
GROWTH["seed_per_iteration"] = True  # else XGBoost's generator goes on where nothing can see it


def site(number: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(number)
    x = rng.normal(size=(24, FEATURES))
    return x, (np.abs(x[:, 0] + x[:, 1]) + rng.uniform(size=len(x))).astype(int).clip(max=2)


class Site(flame.Trainer):
    data: Any
    dtype: type = np.float32

    @staticmethod
    def made() -> Any:
        """The model."""

    def load_data(self) -> None:
        self.x, self.y = self.data[0].astype(self.dtype), self.data[1]
        self.dataset_size = len(self.y)


class Keras(Site):
    """Moments of an optimizer, and dropouts.

    Not by `fit`: where a model is used for the first time in a process, Keras takes a batch more out of the shuffled
    data than later, to learn its shapes.
    """

    @staticmethod
    def made() -> Any:
        keras.utils.set_random_seed(1)
        layers = [keras.layers.Dense(8, "relu"), keras.layers.BatchNormalization(), keras.layers.Dropout(0.4)]
        return keras.Sequential([keras.Input((FEATURES,)), *layers, keras.layers.Dense(3)])

    def initialize(self) -> None:
        self.model = self.made()
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        self.model.compile(optimizer=keras.optimizers.Adam(0.05), loss=loss)

    def train(self) -> None:
        for rows in np.random.permutation(len(self.y)).reshape(-1, 8):
            loss = self.model.train_on_batch(self.x[rows], self.y[rows])
        self.update_metrics({"loss": loss})


ADAM = optax.adam(0.05)


class Net(nnx.Module):
    def __init__(self) -> None:
        rngs = nnx.Rngs(0)
        self.hidden, self.norm = nnx.Linear(FEATURES, 8, rngs=rngs), nnx.BatchNorm(8, rngs=rngs)
        self.drop, self.out = nnx.Dropout(0.4, rngs=rngs), nnx.Linear(8, 3, rngs=rngs)

    def __call__(self, x: Any) -> Any:
        return self.out(self.drop(nnx.relu(self.norm(self.hidden(x)))))


def cross_entropy(net: Any, x: Any, y: Any) -> Any:
    return optax.softmax_cross_entropy_with_integer_labels(net(x), y).mean()


@nnx.jit
def step(net: Any, optimizer: Any, x: Any, y: Any) -> Any:
    loss, slope = nnx.value_and_grad(cross_entropy)(net, x, y)
    optimizer.update(net, slope)
    return loss


class Flax(Site):
    """A module's own streams; an `nnx.Optimizer` beside it is the program's to keep."""

    made = Net

    def initialize(self) -> None:
        self.model = self.made()
        self.optimizer = nnx.Optimizer(self.model, ADAM, wrt=nnx.Param)

    def train(self) -> None:
        self.update_metrics({"loss": step(self.model, self.optimizer, self.x, self.y)})

    def state_dict(self) -> dict[str, Any]:
        return {"moments": [np.asarray(leaf) for leaf in jax.tree.leaves(nnx.state(self.optimizer))]}

    def load_state_dict(self, state: Any) -> None:
        before = nnx.state(self.optimizer)
        moments = [jax.numpy.asarray(leaf) for leaf in state["moments"]]
        nnx.update(self.optimizer, jax.tree.unflatten(jax.tree.structure(before), moments))


class Jax(Site):
    """A tree of arrays; what lasts beside it is the program's to keep."""

    @staticmethod
    def made() -> Any:
        return {"w": jax.numpy.zeros((FEATURES, 3)), "b": jax.numpy.zeros(3)}

    def initialize(self) -> None:
        self.model = self.made()
        self.moments, self.key = ADAM.init(self.model), jax.random.key(3)

    def train(self) -> None:
        self.key, key = jax.random.split(self.key)
        x = self.x + jax.random.normal(key, self.x.shape)

        def loss(tree: Any) -> Any:
            return cross_entropy(lambda x: x @ tree["w"] + tree["b"], x, self.y)

        value, slope = jax.value_and_grad(loss)(self.model)
        updates, self.moments = ADAM.update(slope, self.moments)
        self.model = optax.apply_updates(self.model, updates)
        self.update_metrics({"loss": value})

    def state_dict(self) -> dict[str, Any]:
        leaves = [np.asarray(leaf) for leaf in jax.tree.leaves(self.moments)]
        return {"moments": leaves, "key": np.asarray(jax.random.key_data(self.key))}

    def load_state_dict(self, state: Any) -> None:
        shape = jax.tree.structure(self.moments)
        self.moments = jax.tree.unflatten(shape, [jax.numpy.asarray(leaf) for leaf in state["moments"]])
        self.key = jax.random.wrap_key_data(jax.numpy.asarray(state["key"]))


class Linear(Site):
    """A rate that falls with the number of samples seen."""

    dtype = np.float64

    @staticmethod
    def made() -> Any:
        return prepare(SGDClassifier("log_loss", random_state=1), FEATURES, CLASSES)

    def initialize(self) -> None:
        self.model = self.made()

    def train(self) -> None:
        self.model.partial_fit(self.x, self.y)
        self.update_metrics({"score": self.model.score(self.x, self.y)})


class Perceptron(Linear):
    """Moments, and a generator that shuffles."""

    @staticmethod
    def made() -> Any:
        return prepare(MLPClassifier((6,), random_state=1, learning_rate_init=0.05), FEATURES, CLASSES)


class Trees(Site):
    """Bagging: every order brings all trees so far."""

    @staticmethod
    def made() -> Any:
        return xgboost.Booster(GROWTH)

    def initialize(self) -> None:
        self.rows = xgboost.DMatrix(self.x, self.y)
        self.model = xgboost.Booster(GROWTH, [self.rows])

    def train(self) -> None:
        self.model.update(self.rows, self.model.num_boosted_rounds())


class Lora(Site):
    """Low-rank additions to a network that stays, with Adam and dropout."""

    @staticmethod
    def made() -> Any:
        torch.manual_seed(0)
        net = torch.nn.Sequential(torch.nn.Linear(FEATURES, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3))
        return get_peft_model(net, LoraConfig(r=2, target_modules=["0", "2"], lora_dropout=0.3))

    def initialize(self) -> None:
        self.model = self.made()
        self.optimizer = torch.optim.Adam([each for each in self.model.parameters() if each.requires_grad], 0.05)

    def train(self) -> None:
        loss = torch.nn.functional.cross_entropy(self.model(torch.tensor(self.x)), torch.tensor(self.y))
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        self.update_metrics({"loss": loss.item()})


class Lead(flame.TopAggregator):
    site: type[Site]

    def initialize(self) -> None:
        self.model = self.site.made()


SITES: dict[str, type[Site]] = {one.__name__: one for one in (Keras, Flax, Jax, Linear, Perceptron, Trees, Lora)}


def run(site_class: type[Site], out: Path, rounds: int, **more: Any) -> Any:
    lead = type("Top", (Lead,), {"site": site_class, "__module__": __name__})
    settings = {"optimizer": {"sort": "xgb_bagging"}} if site_class is Trees else {}
    data = [site(number) for number in range(3)]
    return flame.run(
        trainer=site_class,
        aggregator=lead,
        data=data,
        settings=settings,
        rounds=rounds,
        hosts=0,
        seed=4,
        out=out,
        **more,
    )


@pytest.mark.parametrize("framework", SITES)
def test_stopped_and_resumed_is_uninterrupted(tmp_path: Path, framework: str) -> None:
    one = SITES[framework]
    whole, part = run(one, tmp_path / "whole", 4), tmp_path / "part"
    run(one, part, 2, checkpoint=1)
    resumed = run(one, part, 4, resume=part)
    assert resumed.weights().data.tobytes() == whole.weights().data.tobytes()
    told = [[(row.round, row.worker, row.values) for row in result.metrics] for result in (resumed, whole)]
    assert told[0] == told[1]
