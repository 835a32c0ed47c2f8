"""So many ends are busy at a time: whoever is idle may be asked, until there are c."""

from __future__ import annotations

import random
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from flame.common.settings import refuse_others
from flame.errors import ConfigError
from flame.selector.choice import kept, put_back


class FedBuff:
    """Chooses among those that are not busy, each with the same chance, so many that `c` are busy in all.

    Who is busy is the channel's property `busy`. Asked with the state "recv", it names them; if there are none, as on
    the side that is asked, everybody.
    """

    def __init__(self, *, generator: random.Random, c: Any = None, **others: Any) -> None:
        refuse_others("selector", "fedbuff", others, ("c",))
        if c is None:
            raise ConfigError("selector.kwargs.c", "fedbuff needs it", "how many ends are busy at a time")
        if type(c) is not int or c < 1:
            raise ConfigError("selector.kwargs.c", f"a whole number of at least 1 is needed, not {c!r}")
        self.c = c
        self._generator = generator
        self._drawn = False

    def select(self, ends: Sequence[str], properties: Mapping[str, Any]) -> Sequence[str]:
        """Those to ask now, in the order of `ends`."""
        busy: Collection[str] = properties.get("busy", ())
        if properties.get("state") == "recv":
            return [end for end in ends if end in busy] or ends
        idle = [end for end in ends if end not in busy]
        self._drawn = True
        size = max(0, min(self.c - (len(ends) - len(idle)), len(idle)))
        return [idle[number] for number in sorted(self._generator.sample(range(len(idle)), size))]

    def state(self) -> Mapping[str, Any]:
        """The generator's state."""
        return {"generator": kept(self._generator)} if self._drawn else {}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state` returned."""
        if state:
            self._drawn = True
            put_back(self._generator, state["generator"])
