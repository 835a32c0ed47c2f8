"""What an optimizer is: one algorithm, in two halves.

The *server half* is a `Step`: it makes the next model from the last one and the mean of the updates. The
*client half* is a `Regularizer`: it adds a term to the loss that a trainer minimises. Either may do nothing.
One algorithm is one file; the `sort` of a config's `optimizer` leads to it through `flame.extend`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from flame.weights.layout import Layout


class Step(Protocol):
    """The server half, asked block by block, so that no array of the model's size is needed in between.

    A round is `open`, then `block` for every block of every floating-point segment, from several threads but
    never twice for the same place, then `close`. Integers are none of a step's business: they become base +
    mean.
    """

    @property
    def repeatable(self) -> bool:
        """Whether blocks may be asked for again after `open`, because a round's updates had to be read again."""

    def open(self, layout: Layout) -> None:
        """A round's blocks will come from models of this layout; state is allocated on first use."""

    def block(
        self, segment: int, where: slice, base: NDArray[np.float64], mean: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """The next model at elements `where` of a segment.

        Args:
            segment: the number of the segment in the layout.
            where: the elements of that segment.
            base: the model that was sent out, float64 of shape (elements,); may be overwritten.
            mean: the mean update, likewise.

        Returns:
            The new values, not yet rounded; they may lie in `base` or `mean`.
        """

    def close(self) -> None:
        """All blocks of the round have been asked for."""

    def state(self) -> dict[str, NDArray[np.float64]]:
        """What must be kept to go on later, as arrays by name, not copied; {} where there is nothing."""

    def restore(self, state: Mapping[str, NDArray[np.float64]]) -> None:
        """Go on from what `state` returned."""


class Regularizer(Protocol):
    """The client half, of any framework whose arrays know arithmetic."""

    def get_term(self, **values: Any) -> Any:
        """A scalar to add to the loss."""

    def save_state(self, state: Any, **values: Any) -> None:
        """Before or after training: remember what the algorithm needs of the models."""

    def update(self) -> None:
        """The round is over."""


class Optimizer(Protocol):
    """One algorithm of federated optimization."""

    @property
    def name(self) -> str:
        """Its `sort` in a config; its halves talk through `extras[name]` of a message."""

    @property
    def step(self) -> Step:
        """The server half."""

    def weigh(self, samples: int, staleness: int) -> tuple[float, float]:
        """How an update counts: by what it is multiplied, and how much that adds to what the sum is divided by.

        Args:
            samples: how many are behind it.
            staleness: how many rounds ago its base was sent out; 0 in a synchronous federation.
        """

    @property
    def regularizer(self) -> Regularizer:
        """The client half."""
