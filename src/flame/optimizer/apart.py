"""A client half that keeps some of a model's tensors to itself."""

from __future__ import annotations

from collections.abc import Callable, Collection

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

    def begin(self, said: Said, sent: Weights, adapter: Adapter) -> Weights:
        """What was sent, with the model's own tensors as they are now: at first as the program made them."""
        self._names = self._choose(sent.layout)
        own, weights = adapter.snapshot().arrays(), Weights(sent.layout, sent.data.copy())
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
