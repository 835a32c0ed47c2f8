"""A choice that holds for a round."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any


class Choice:
    """Remembers whom a selector chose, and for which round."""

    __slots__ = ("_chosen", "_ends", "_length", "_round")

    def __init__(self) -> None:
        self._chosen: Sequence[str] = ()
        self._ends: Sequence[str] = ()
        self._length = 0
        self._round: Any = None

    def renew(
        self,
        ends: Sequence[str],
        properties: Mapping[str, Any],
        choose: Callable[[Sequence[str]], Sequence[str]],
    ) -> Sequence[str]:
        """The choice of this round: the one that was made, less those who have gone, or else a new one."""
        if ends is not self._ends or len(ends) != self._length:
            present = frozenset(ends) if self._chosen else ()
            self._chosen = [end for end in self._chosen if end in present]
            self._ends, self._length = ends, len(ends)
        round_ = properties.get("round", 0)
        if not self._chosen or round_ != self._round:
            self._chosen, self._round = choose(ends), round_
        return self._chosen
