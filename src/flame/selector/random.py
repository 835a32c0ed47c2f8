"""k ends are asked, chosen anew in every round."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Any

from flame.common.settings import refuse_others
from flame.errors import ConfigError
from flame.selector.choice import Choice, kept, put_back


class Random:
    """Chooses k ends without replacement, each set of k with the same chance; costs O(k) whatever there are.

    A negative k counts as 1, k = 0 chooses nobody, and a k beyond the number of ends chooses all.
    """

    def __init__(self, *, generator: random.Random, k: Any = None, **others: Any) -> None:
        refuse_others("selector", "random", others, ("k",))
        if k is None:
            raise ConfigError("selector.kwargs.k", "random needs it", "how many ends are asked in a round")
        if type(k) is not int:
            raise ConfigError("selector.kwargs.k", f"a whole number is needed, not {k!r}")
        self.k = k
        self._generator = generator
        self._choice = Choice()

    def select(self, ends: Sequence[str], properties: Mapping[str, Any]) -> Sequence[str]:
        """The ends chosen for this round that are still there."""
        return self._choice.renew(ends, properties, self._sample)

    def state(self) -> Mapping[str, Any]:
        """The generator's state and the choice of this round; {} before the first choice."""
        chosen = self._choice.state()
        return {"choice": chosen, "generator": kept(self._generator)} if chosen else {}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state` returned."""
        if state:
            self._choice.restore(state["choice"])
            put_back(self._generator, state["generator"])

    def _sample(self, ends: Sequence[str]) -> list[str]:
        size = min(1 if self.k < 0 else self.k, len(ends))
        return [ends[number] for number in sorted(self._generator.sample(range(len(ends)), size))]
