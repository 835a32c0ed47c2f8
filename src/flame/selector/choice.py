"""A choice that holds for a round."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from random import Random
from typing import Any

import numpy as np


class Choice:
    """Remembers whom a selector chose, and for which round."""

    __slots__ = ("_chosen", "_ends", "_length", "_round")

    def __init__(self) -> None:
        self._chosen: Sequence[str] = ()
        self._ends: Sequence[str] = ()
        self._length = 0
        self._round: Any = None

    def state(self) -> dict[str, Any]:
        """Whom was chosen, and for which round; {} before anybody was."""
        return {"chosen": list(self._chosen), "round": self._round} if self._chosen else {}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state` returned."""
        if state:
            self._chosen, self._round = state["chosen"], state["round"]

    def renew(
        self,
        ends: Sequence[str],
        properties: Mapping[str, Any],
        choose: Callable[[Sequence[str]], Sequence[str]],
    ) -> Sequence[str]:
        """The choice of this round: the one that was made, less those who have gone, or else a new one of idle ends."""
        if ends is not self._ends or len(ends) != self._length:
            present = frozenset(ends) if self._chosen else ()
            self._chosen = [end for end in self._chosen if end in present]
            self._ends, self._length = ends, len(ends)
        round_ = properties.get("round", 0)
        if not self._chosen or round_ != self._round:
            busy = properties.get("busy")
            idle = [end for end in ends if end not in busy] if busy else ends
            self._chosen, self._round = choose(idle), round_
        return self._chosen


def kept(generator: Random) -> tuple[Any, ...]:
    """A generator's state, as plain values."""
    version, words, gauss = generator.getstate()
    return version, np.array(words, np.uint32), gauss


def put_back(generator: Random, state: tuple[Any, ...]) -> None:
    """Set a generator to a state that was kept."""
    version, words, gauss = state
    generator.setstate((version, tuple(words.tolist()), gauss))
