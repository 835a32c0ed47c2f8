"""Everybody is asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from random import Random
from typing import Any

from flame.common.settings import refuse_others
from flame.selector.choice import Choice


class Default:
    """Chooses all ends that are there when a round begins; one that joins later waits for the next round."""

    def __init__(self, *, generator: Random, **others: Any) -> None:
        refuse_others("selector", "default", others)
        self._choice = Choice()

    def select(self, ends: Sequence[str], properties: Mapping[str, Any]) -> Sequence[str]:
        """All ends of this round that are still there."""
        return self._choice.renew(ends, properties, tuple)

    def state(self) -> Mapping[str, Any]:
        """Keeps nothing: everybody is asked."""
        return {}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Needs nothing."""
