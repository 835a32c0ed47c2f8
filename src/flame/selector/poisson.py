"""Each end is asked with the same probability, independently of the others (Poisson sampling), anew every round."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Any

from flame.common.settings import check_number, refuse_others
from flame.errors import ConfigError
from flame.selector.choice import kept, put_back


class Poisson:
    """Asks each end with probability `rate`; in some rounds that may be nobody.

    It is the sampling by which differential privacy at the server gains most: see `privacy`.
    """

    blind = True

    def __init__(self, *, generator: random.Random, rate: Any = None, **others: Any) -> None:
        refuse_others("selector", "poisson", others, ("rate",))
        if rate is None:
            raise ConfigError("selector.kwargs.rate", "poisson needs it", "the probability with which an end is asked")
        if isinstance(rate, bool) or rate != 1:
            check_number("selector", "rate", rate, least=0, below=1, beyond=True)
        self.rate = float(rate)
        self._generator = generator
        self._round: object = None
        self._chosen: list[str] = []

    def select(self, ends: Sequence[str], properties: Mapping[str, Any]) -> Sequence[str]:
        """The ends of this round that are still there, even if there are none."""
        number = properties.get("round", 0)
        if number != self._round:
            self._round = number
            self._chosen = [end for end in ends if self._generator.random() < self.rate]
        present = frozenset(ends)
        return [end for end in self._chosen if end in present]

    def state(self) -> Mapping[str, Any]:
        """The generator's state and the choice of this round; {} before the first choice."""
        if self._round is None:
            return {}
        return {"round": self._round, "chosen": self._chosen, "generator": kept(self._generator)}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state` returned."""
        if state:
            self._round, self._chosen = state["round"], state["chosen"]
            put_back(self._generator, state["generator"])
