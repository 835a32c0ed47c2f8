"""A client half that keeps some of a model's tensors to itself."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

from numpy.typing import NDArray

from flame.optimizer import Said, Trained
from flame.optimizer.halves import Silent
from flame.weights.adapters import Adapter
from flame.weights.layout import Layout, Weights


class Apart(Silent):
    """What is received is put around a trainer's own tensors, and nothing of them is sent.

    Args:
        choose: the names of the tensors that a trainer keeps to itself, out of a layout; raises RunError for a model
            that it cannot be applied to.
    """

    silent = True

    def __init__(self, choose: Callable[[Layout], Collection[str]]) -> None:
        self._choose = choose
        self._names: Collection[str] = ()
        self._adapter: Adapter | None = None
        self._own: Mapping[str, NDArray[Any]] | None = None

    def begin(self, said: Said, sent: Weights, adapter: Adapter) -> Weights:
        """What was sent, with the model's own tensors as they are now: at first as the program made them."""
        self._names = self._choose(sent.layout)
        own = adapter.snapshot().arrays() if self._own is None else self._own
        self._adapter, self._own = adapter, None
        weights = Weights(sent.layout, sent.data.copy())
        for name, array in weights.arrays().items():
            if name in self._names:
                array[...] = own[name]
        return weights

    def finish(self, delta: Weights, trained: Trained, adapter: Adapter) -> Said:
        """Nothing of its own goes with the update; says nothing."""
        for name, array in delta.arrays().items():
            if name in self._names:
                array[...] = 0
        return {}

    def state(self) -> Mapping[str, Any]:
        """The trainer's own tensors by name; {} before the first round."""
        if self._adapter is None:
            return {} if self._own is None else {"own": dict(self._own)}
        own = self._adapter.snapshot().arrays()
        return {"own": {name: own[name] for name in self._names}}

    def restore(self, state: Mapping[str, Any]) -> None:
        """The next round begins from what `state` returned."""
        self._own = state.get("own")
