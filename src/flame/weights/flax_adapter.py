"""Models that are `flax.nnx` modules: the only file that names Flax.

Flax's older modules, `flax.linen`, keep their parameters outside, in trees of JAX arrays; see `jax_adapter`.

What travels is the module's variables: parameters, batch statistics, and whatever kinds a program adds. The state of
random streams, caches and values that were sown stay where they are. A module is changed in place.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from flax import nnx
from numpy.typing import NDArray

from flame.errors import WeightsError
from flame.weights.copied import Copied, Tensor
from flame.weights.jax_adapter import drawn, numbers, placed, plain

STAYS = (nnx.RngState, nnx.Cache, nnx.Intermediate)


def adapt(model: Any) -> Copied | None:
    """The adapter of an nnx module; None for anything else.

    Raises:
        WeightsError: the module has no variables that travel.
    """
    if not isinstance(model, nnx.Module):
        return None
    form = ModuleForm(model)
    if not form.tensors():
        raise WeightsError(f"{type(model).__name__} has no variables that could be sent")
    return Copied(form)


class ModuleForm:
    """The variables of an nnx module; see `flame.weights.copied.Form`."""

    def __init__(self, model: nnx.Module) -> None:
        self.model = model

    @property
    def averaged(self) -> frozenset[str]:
        """Every variable that is no parameter."""
        return frozenset(name for name, variable in self._named().items() if not isinstance(variable, nnx.Param))

    def tensors(self) -> list[Tensor]:
        """The variables, by their paths; a variable that is shared travels once."""
        values = {name: plain(name, variable.get_value()) for name, variable in self._named().items()}
        return [Tensor(name, value.dtype, value.shape) for name, value in values.items()]

    def read(self) -> dict[str, NDArray[Any]]:
        """The variables in this machine's memory."""
        return {name: np.asarray(variable.get_value()) for name, variable in self._named().items()}

    def write(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Give the variables new values, on the same devices."""
        for name, variable in self._named().items():
            variable.set_value(placed(arrays[name], variable.get_value()))

    def pack(self, arrays: Mapping[str, NDArray[Any]]) -> nnx.State[Any, Any]:
        """An `nnx.State`, as `nnx.update(model, weights)` takes it."""
        state = nnx.state(self.model, nnx.Not(nnx.Any(*STAYS)))
        flat = [
            (path, variable.replace(placed(arrays["/".join(map(str, path))], variable.get_value())))
            for path, variable in nnx.to_flat_state(state)
        ]
        return nnx.from_flat_state(flat)

    def beside(self) -> dict[str, Any]:
        """The random streams that the module draws from: keys and how often they were drawn from."""
        return {name: numbers(variable.get_value()) for name, variable in self._streams().items()}

    def put_beside(self, kept: Mapping[str, Any]) -> None:
        """Go on from what `beside` returned."""
        for name, variable in self._streams().items():
            variable.set_value(drawn(kept[name], variable.get_value()))

    def _streams(self) -> dict[str, Any]:
        return {
            "/".join(map(str, path)): variable
            for path, variable in nnx.iter_graph(self.model)
            if isinstance(variable, nnx.RngState)
        }

    def _named(self) -> dict[str, Any]:
        found = {
            "/".join(map(str, path)): variable
            for path, variable in nnx.iter_graph(self.model)
            if isinstance(variable, nnx.Variable) and not isinstance(variable, STAYS)
        }
        return dict(sorted(found.items()))
