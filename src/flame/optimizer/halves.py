"""The halves of an optimizer that has nothing to add to plain averaging."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flame.errors import ConfigError
from flame.optimizer import Said, Trained
from flame.weights.adapters import Adapter
from flame.weights.layout import Layout, Weights

Floats = NDArray[np.float64]


class BySamples:
    """An update counts for as much as there are samples behind it."""

    def weigh(self, samples: int, staleness: int, said: Said) -> tuple[float, float]:
        """Its samples, however old it is."""
        return float(samples), float(samples)


class Mute:
    """What a server half has that says nothing to the client halves, and hears nothing of them."""

    def tell(self, sent: Weights, averaged: Collection[str]) -> Said:
        """Nothing."""
        return {}

    def hear(self, end: str, samples: int, said: Said) -> None:
        """Does not listen."""

    def gathered(self, ends: Sequence[str]) -> None:
        """Needs nothing."""

    def beside(self, name: str, segment: int, where: slice, mean: Floats) -> None:
        """Does not listen."""

    def relay(self) -> Said:
        """Nothing."""
        return {}


class Plain(Mute):
    """The server half of plain averaging: the next model is the last one plus the mean update."""

    repeatable = True

    def open(self, layout: Layout) -> None:
        """Needs nothing."""

    def block(self, segment: int, where: slice, base: Floats, mean: Floats) -> Floats:
        """Base plus mean, in place of base."""
        return np.add(base, mean, out=base)

    def close(self) -> None:
        """Needs nothing."""

    def state(self) -> dict[str, Floats]:
        """Keeps nothing."""
        return {}

    def restore(self, state: Mapping[str, Floats]) -> None:
        """Refuse a state that another optimizer kept.

        Raises:
            ConfigError: the state is not empty.
        """
        if state:
            raise ConfigError("optimizer", f"a state of {', '.join(state)} belongs to another optimizer")


class Alone:
    """What a client half has that neither hears of the server half nor says anything to it."""

    def save_state(self, state: Any, **values: Any) -> None:
        """Keeps nothing."""

    def update(self) -> None:
        """Needs nothing."""

    def begin(self, said: Said, sent: Weights, adapter: Adapter) -> Weights:
        """Training begins from what was sent."""
        return sent

    def finish(self, delta: Weights, trained: Trained, adapter: Adapter) -> Said:
        """Says nothing."""
        return {}


class Silent(Alone):
    """The client half that adds nothing to the loss."""

    def get_term(self, **values: Any) -> float:
        """Zero, whatever is given."""
        return 0.0
