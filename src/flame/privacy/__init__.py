"""What a privacy mechanism is: one filter, in two halves.

The *trainer's half* (`outgoing`) is applied to an update before it leaves, and before a channel compresses it; the
*aggregator's half* (`admit`, `release`) to what comes in and to the mean of a round, before the optimizer's step.
Either may do nothing. One mechanism is one file; the `sort` of a config's `privacy` leads to it through `flame.extend`.
A mechanism is made with its settings and, as `noise`, the only source of randomness it may use.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from flame.config import Config
from flame.weights.layout import Weights

Perturb = Callable[[int, slice, NDArray[np.float64]], None]
"""Called with every block of floating-point means, by several threads maybe: segment, elements, values to change."""


class Cohort(NamedTuple):
    """Whose updates a round's mean is of.

    Attributes:
        asked: how many peers were asked.
        there: how many could have been.
        folded: how many answers count.
        samples: what was said to be behind them, added up.
        total: what the sum of the updates is divided by.
        most: how many of the updates are of one and the same peer, at most.
    """

    asked: int
    there: int
    folded: int
    samples: float
    total: float
    most: int


class Privacy(Protocol):
    """One mechanism."""

    @property
    def name(self) -> str:
        """Its `sort` in a config."""

    @property
    def stamp(self) -> dict[str, Any]:
        """What an update carries in its extras so that whoever takes it in knows that it was protected."""

    @property
    def epsilon(self) -> float | None:
        """What this worker's releases have cost; None where it makes none."""

    @property
    def exhausted(self) -> bool:
        """Whether the budget allows no further release by this worker."""

    @property
    def even_of_nobody(self) -> bool:
        """Whether a round without answers is released like any other."""

    def check(self, config: Config, optimizer: Any, *, says_more: bool) -> None:
        """Refuse settings that it cannot be combined with, and a plan that would spend more than the budget.

        Args:
            config: the worker's.
            optimizer: what it names.
            says_more: whether the optimizer has trainers send more than updates.

        Raises:
            RecipeError: the config chooses something that would say more than the mechanism accounts for.
            ConfigError: the planned rounds would exceed the budget.
        """

    def check_between(self, config: Config, *, waits: bool) -> None:
        """Refuse what does not go with an aggregator between the top and the trainers.

        Args:
            config: that aggregator's.
            waits: whether it is synchronous.

        Raises:
            RecipeError: the noise at the top would not be what the accountant takes it for.
        """

    def outgoing(self, update: Weights, samples: int) -> tuple[Weights | None, int]:
        """What a trainer sends instead of its update, which may be changed in place, and of its number of samples.

        None is sent where the update cannot be protected, or the budget is spent.
        """

    def admit(self, end: str, extras: Mapping[str, Any]) -> None:
        """Refuse an update that was not protected as this worker's config says.

        Raises:
            RunError: it was not.
        """

    def release(self, cohort: Cohort) -> Perturb | None:
        """What is done to a round's mean; None for nothing. May be asked again if the round has to be read again."""

    def affords(self, cohort: Cohort) -> bool:
        """Whether the budget allows the mean of such a cohort to be released."""

    def charge(self, cohort: Cohort) -> None:
        """The mean has been released."""

    def state(self) -> Mapping[str, Any]:
        """What must be kept to go on later, as plain values: what has been spent, above all."""

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state` returned."""

    def private(self, model: Any, optimizer: Any, loader: Any) -> tuple[Any, Any, Any]:
        """What to train with instead, once per round; the same three unless the mechanism protects single examples."""
