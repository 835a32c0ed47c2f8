"""The halves of an optimizer that has nothing to add to plain averaging."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flame.errors import ConfigError, RunError
from flame.optimizer import Said, Trained
from flame.weights.adapters import Adapter
from flame.weights.layout import Layout, Weights

Floats = NDArray[np.float64]


def number_said(sort: str, said: Said, key: str, *, above: float | None = None, default: float | None = None) -> float:
    """A number that the other half has said.

    Args:
        sort: the optimizer.
        said: what was said.
        key: under which name.
        above: it is larger than this; left out, it is not negative.
        default: what it is if nothing is said.

    Raises:
        RunError: it is missing, no number, or out of range.
    """
    value = said.get(key, default)
    fits = isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < math.inf
    if not fits or (above is not None and value <= above):
        raise RunError(f"{sort}: the other half says {key} = {value!r:.40}; do all workers have the same optimizer?")
    return float(value)


def learned(weights: Weights, adapter: Adapter) -> list[NDArray[Any]]:
    """Views of the tensors that are learned: not of integers, nor of what is measured, such as running means."""
    measured = adapter.averaged
    return [a for name, a in weights.arrays().items() if a.dtype.kind == "f" and name not in measured]


class BySamples:
    """An update counts for as much as there are samples behind it, and however late it is.

    Attributes:
        synchronous: whether it makes no sense with updates that come a round late.
    """

    synchronous = False

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
    """What a client half has that neither hears of the server half nor says anything to it.

    Attributes:
        wanted: whether the algorithm is nothing without a program that asks for its term.
        silent: whether `finish` never says anything, though it does something: then updates are all that is sent, which
            a privacy mechanism needs to know.
    """

    wanted = False
    silent = False

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

    def state(self) -> Mapping[str, Any]:
        """Keeps nothing."""
        return {}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Needs nothing."""


class Silent(Alone):
    """The client half that adds nothing to the loss."""

    def get_term(self, **values: Any) -> float:
        """Zero, whatever is given."""
        return 0.0
