"""SCAFFOLD: clients correct their drift by the difference between their own direction and everybody's.

S. P. Karimireddy, S. Kale, M. Mohri, S. Reddi, S. Stich, A. T. Suresh: SCAFFOLD: Stochastic Controlled Averaging for
Federated Learning. ICML 2020. https://arxiv.org/abs/1910.06378

A client takes K steps of size eta from x along g - c_i + c, and ends at y. Then (option II of the paper)

    d_i = -c - (y - x)/(K*eta)        c_i = c_i + d_i

and the server, with S of N clients: x = x + mean of (y - x), c = c + (S/N) * mean of d_i. From c = c_i = 0.

Where the roles exchange sizes (`flame.mode.horizontal.scaffold`), with p = samples / (mean of all clients' samples), a
client uses c/p in place of c for its correction, and says p*d_i.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np

from flame.common.settings import check_number, refuse_others
from flame.errors import RunError
from flame.optimizer import Said, Trained
from flame.optimizer.crowd import Crowd, Evenly, part
from flame.optimizer.halves import Floats
from flame.optimizer.kept import Kept
from flame.optimizer.pull import Pull, combined, zeros
from flame.weights.adapters import Adapter
from flame.weights.layout import Layout, Weights

CONTROL = "control"


class Controlled(Crowd):
    """The server half: c, in float64."""

    def __init__(self) -> None:
        super().__init__("scaffold")
        self._kept = Kept("c")

    def open(self, layout: Layout) -> None:
        """Make c for a layout. Raises ConfigError if it was kept for another size."""
        self._kept.open(layout)

    def tell(self, sent: Weights, averaged: Collection[str]) -> Said:
        """c, which is zero at first and then not told, and sizes."""
        sizes = super().tell(sent, averaged)
        if not self._kept.state():
            return sizes
        control = zeros(sent.layout)
        self._kept.add_to(control, "c", but=averaged)
        return {**sizes, CONTROL: control}

    def beside(self, name: str, segment: int, where: slice, mean: Floats) -> None:
        """Move c by the share of those who were heard times their mean."""
        if name == CONTROL and segment < self._kept.segments:
            c = self._kept.part("c", segment, where)
            np.add(c, np.multiply(mean, self.heard / self.there, out=mean), out=c)

    def state(self) -> dict[str, Floats]:
        """c, over all floating-point elements; {} before the first round."""
        return self._kept.state()

    def restore(self, state: Mapping[str, Floats]) -> None:
        """Go on from c, which is copied. Raises ConfigError for another state."""
        self._kept.restore(state)


class Correction(Pull):
    """The client half: <w, c/p - c_i>, whose gradient is the correction; keeps c_i in the model's dtypes."""

    def __init__(self) -> None:
        super().__init__("scaffold")
        self._own: Weights | None = None
        self._told: Weights | None = None
        self._part = 1.0

    def begin(self, said: Said, sent: Weights, adapter: Adapter) -> Weights:
        """Correct by what is told and what is kept."""
        told = said.get(CONTROL)
        self._told = told if isinstance(told, Weights) else None
        self._part = part(said, self.samples, "scaffold")
        linear = combined(sent.layout, (1 / self._part, self._told), (-1.0, self._own))
        self.aim(adapter, linear=linear)
        return sent

    def finish(self, delta: Weights, trained: Trained, adapter: Adapter) -> Said:
        """Renew c_i; says p*d_i.

        Raises:
            RunError: the program has not asked for the term, or nobody says the learning rate.
        """
        steps = self.used()
        if not trained.learning_rate:
            raise RunError("scaffold: the learning rate is not known; set hyperparameters.learningRate")
        moved = combined(delta.layout, (-1.0, self._told), (-1.0 / (steps * trained.learning_rate), delta))
        for name, array in moved.arrays().items():
            if name in adapter.averaged:
                array[...] = 0
        self._own = combined(delta.layout, (1.0, self._own), (1.0, moved))
        return {CONTROL: combined(delta.layout, (self._part, moved))}

    def state(self) -> Mapping[str, Any]:
        """What it keeps, `own`: c_i; {} before the first round."""
        return {} if self._own is None else {"own": self._own}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state` returned."""
        self._own = state.get("own")


class Scaffold(Evenly):
    """SCAFFOLD; `k` is how many local steps a trainer of `flame.mode.horizontal.scaffold` takes."""

    name = "scaffold"

    def __init__(self, k: Any = None, **others: Any) -> None:
        refuse_others("optimizer", self.name, others, ("k",))
        if k is not None:
            check_number("optimizer", "k", k, least=1)
        self.k: int | None = k
        self.step = Controlled()
        self.regularizer = Correction()
