"""From a framework's model to flat weights and back.

`of` finds the adapter that fits a model. A framework is looked for among the modules that are already
imported: a model that exists has imported its framework, so that nothing heavy is ever imported here.
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Any, Protocol

from flame.errors import WeightsError
from flame.weights.layout import Allocate, Layout, Weights
from flame.weights.numpy_adapter import NumpyAdapter
from flame.weights.target import Target

FRAMEWORKS = {
    "keras": "keras_adapter",
    "torch": "torch_adapter",
    "flax.nnx": "flax_adapter",
    "jax": "jax_adapter",
    "xgboost": "xgboost_adapter",
    "sklearn": "sklearn_adapter",
}
"""The module that a model of each framework has imported, and the file that knows it. A Keras model may be a torch
module as well, so that Keras is asked first."""


class Adapter(Protocol):
    """A model, seen as flat weights.

    An adapter belongs to one model object and stays valid while that object lives; tensors that the user
    replaces inside it are followed. Every method raises WeightsError, naming the tensor, where shapes no
    longer agree.
    """

    @property
    def model(self) -> Any:
        """The model itself, as the user made it."""

    @property
    def layout(self) -> Layout:
        """The layout of the model's tensors; fixed when the adapter is made."""

    @property
    def averaged(self) -> frozenset[str]:
        """The tensors that are measured, not learned, such as running means: no optimizer steps in them."""

    def snapshot(self, allocate: Allocate = ...) -> Weights:
        """A copy of the model's tensors, in memory from `allocate`."""

    def load(self, weights: Weights) -> None:
        """Put weights into the model, in place; they are copied and may be reused afterwards."""

    def target(self) -> Target | None:
        """The model's own memory in the layout's order, to be written in place; None where it must be loaded."""

    def delta(self, base: Weights, allocate: Allocate = ...) -> Weights:
        """The model minus `base`, in memory from `allocate`; it shares the layout object of `base`."""

    def as_dict(self, weights: Weights) -> Any:
        """Weights in the user's own form, as a private copy: a state dict, or a dict, list or array."""


def of(model: Any) -> Adapter:
    """The adapter for a model.

    A torch model's parameters and buffers are moved into one flat buffer per dtype here, once; the tensor
    objects stay the same, so that optimizers made earlier go on working.

    Raises:
        WeightsError: no adapter fits; it says what is supported.
    """
    if NumpyAdapter.fits(model):
        return NumpyAdapter(model)
    for framework, room in FRAMEWORKS.items():
        if sys.modules.get(framework) is not None:
            found: Adapter | None = import_module(f"flame.weights.{room}").adapt(model)
            if found is not None:
                return found
    raise WeightsError(
        f"a model of type {type(model).__name__} has no weights that could be sent; supported are"
        " a torch.nn.Module, a Keras model, a flax.nnx.Module, dicts and lists of JAX arrays, an xgboost.Booster, a"
        " scikit-learn linear model or perceptron, a numpy array, and a dict, list or tuple of numpy arrays"
    )
