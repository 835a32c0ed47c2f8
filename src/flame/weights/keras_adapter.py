"""Models that are Keras 3 layers or models, on any backend: the only file that names Keras.

What travels is what `model.get_weights()` lists, in its order: the learned variables and the measured ones, such as
a batch normalisation's moving mean. The state of seed generators and metrics stays where it is: every worker draws
its own dropout.

A tensor is named by its place and its own name, `2.gamma`: Keras numbers the layers of a process through, so that the
second worker's `dense` is `dense_1`, and names that hold such numbers would differ from worker to worker.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from flame.errors import WeightsError
from flame.weights.copied import Copied, Tensor

NUMBERED = re.compile(r"_\d+$")


def adapt(model: Any) -> Copied | None:
    """The adapter of a Keras model; None for anything else.

    Raises:
        WeightsError: the model has no variables yet.
    """
    if not isinstance(model, keras.Layer):
        return None
    if not model.weights:
        raise WeightsError(
            f"{type(model).__name__} {model.name!r} has no variables yet: begin it with a keras.Input, or call"
            " model.build(input_shape) in `initialize`"
        )
    return Copied(KerasForm(model))


class KerasForm:
    """The variables of a Keras model; see `flame.weights.copied.Form`."""

    def __init__(self, model: keras.Layer) -> None:
        self.model = model

    @property
    def averaged(self) -> frozenset[str]:
        """The variables that are not trained, such as moving statistics and counters."""
        fixed = {id(variable) for variable in self.model.non_trainable_variables}
        return frozenset(name for name, variable in self._named().items() if id(variable) in fixed)

    def tensors(self) -> list[Tensor]:
        """The variables, as Keras declares them."""
        return [
            Tensor(name, _dtype(variable), tuple(int(length) for length in variable.shape))
            for name, variable in self._named().items()
        ]

    def read(self) -> dict[str, NDArray[Any]]:
        """The variables' values."""
        return {name: _value(variable) for name, variable in self._named().items()}

    def write(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Assign to the variables, as `set_weights` does."""
        for name, variable in self._named().items():
            variable.assign(arrays[name])

    def pack(self, arrays: Mapping[str, NDArray[Any]]) -> list[NDArray[Any]]:
        """A list of arrays, as `get_weights` returns and `set_weights` takes it."""
        return list(arrays.values())

    def beside(self) -> dict[str, Any]:
        """The optimizer that the model was compiled with, and the state of seed generators."""
        optimizer = getattr(self.model, "optimizer", None)
        moments = [] if optimizer is None else [_value(variable) for variable in optimizer.variables]
        return {"optimizer": moments, "seeds": [_value(variable) for variable in self._seeds()]}

    def put_beside(self, kept: Mapping[str, Any]) -> None:
        """Go on from what `beside` returned; an optimizer makes its moments only when it is first used."""
        optimizer = getattr(self.model, "optimizer", None)
        if optimizer is not None and len(optimizer.variables) < len(kept["optimizer"]):
            optimizer.build(self.model.trainable_variables)
        moments = [] if optimizer is None else optimizer.variables
        for variables, values in ((moments, kept["optimizer"]), (self._seeds(), kept["seeds"])):
            for variable, value in zip(variables, values, strict=True):
                variable.assign(value)

    def _seeds(self) -> list[Any]:
        others = {id(variable) for variable in [*self.model.weights, *self.model.metrics_variables]}
        return [variable for variable in self.model.variables if id(variable) not in others]

    def _named(self) -> dict[str, Any]:
        return {
            f"{place}.{NUMBERED.sub('', variable.name.rpartition('/')[2])}": variable
            for place, variable in enumerate(self.model.weights)
        }


def _value(variable: Any) -> NDArray[Any]:
    value: NDArray[Any] = keras.ops.convert_to_numpy(variable.value)
    return value


def _dtype(variable: Any) -> np.dtype[Any]:
    """A variable's dtype; numpy knows bfloat16 by name once Keras has imported what adds it."""
    dtype: np.dtype[Any] = np.dtype(str(variable.dtype))
    return dtype
