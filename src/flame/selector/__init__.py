"""What a selector is: it says which of the peers of a channel are asked.

The `sort` of a config's `selector` leads to it through `flame.extend`. A selector is made with its settings
and, as `generator`, the only source of chance it may use: the same generator and the same calls give the same
choices. Programs' own ones may be written so too, or as an `AbstractSelector`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from flame.selector.abstract import AbstractSelector, SelectorReturnType

__all__ = ["AbstractSelector", "Selector", "SelectorReturnType"]


class Selector(Protocol):
    """Chooses among the peers of one channel.

    One that chooses by what peers have answered has, besides, a `name` and three methods:

    - `hear(end, number, seconds, said)`: a peer has answered round `number`, after so many `seconds` (None where
      everybody takes equally long), and its side `said` that.
    - `says(metrics, samples)`: that side; what goes with an answer of a worker that measured `metrics`.
    - `relay()`: what goes with an answer on behalf of all that were heard since the last time.

    What is said is plain values, and comes from a network.
    """

    def select(self, ends: Sequence[str], properties: Mapping[str, Any]) -> Sequence[str]:
        """The ends that are asked, in the order of `ends`.

        A choice holds for a round, which `properties["round"]` counts, except that an end which has gone is
        dropped at once. While nobody is chosen every call chooses anew.

        Args:
            ends: the peers that are there, in a fixed order. The sequence is not changed afterwards: when
            somebody
                comes or goes, another one is given. (So that a million ends need not be compared at every
                call.)
            properties: what is known about the channel.

        Returns:
            The chosen ends; the sequence must not be changed.
        """

    def state(self) -> Mapping[str, Any]:
        """What must be kept to make the same choices later, as plain values; {} where there is nothing."""

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state` returned."""
