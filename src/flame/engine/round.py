"""One round as a state machine: who was asked, whose answer counts, and when it is enough. No I/O, no clock."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum

from flame.engine.gate import Everyone, Gate


class Verdict(Enum):
    """What an answer is worth."""

    FOLDED = "folded"
    EMPTY = "empty"
    STALE = "stale"
    UNASKED = "unasked"


class Round:
    """The peers of one round.

    Answers are taken in the order in which peers were asked (`next`), so that floating-point sums do not depend on
    who was fast; an answer that comes early waits where it is.

    Args:
        number: the round's number, from 1.
        gate: when it is enough; when everyone has answered if there is none.
        late: whether answers to earlier rounds count, and a peer may be asked again once it has answered.

    Attributes:
        late: whether answers to earlier rounds count.
        heard: how many peers have answered.
        folded: how many answers count.
        samples: how many samples are behind them.
    """

    def __init__(self, number: int, gate: Gate | None = None, *, late: bool = False) -> None:
        self.number = number
        self._gate, self.late = gate or Everyone(), late
        self._asked: dict[str, bool] = {}
        self._order: list[str] = []
        self._at = 0
        self._settled = 0
        self.heard = 0
        self.folded = 0
        self.samples = 0

    def ask(self, ends: Sequence[str]) -> None:
        """These peers have been asked; who had been already stays asked once."""
        for end in ends:
            if self.late and self._asked.get(end):
                self.reopen(end)
            elif end not in self._asked:
                self._asked[end] = False
                self._order.append(end)

    @property
    def next(self) -> str | None:
        """The peer whose answer is folded next; None if nobody's is open."""
        while self._at < len(self._order) and self._asked[self._order[self._at]]:
            self._at += 1
        return self._order[self._at] if self._at < len(self._order) else None

    def offer(self, end: str, number: int, samples: int, *, empty: bool = False) -> Verdict:
        """A peer has answered.

        Args:
            end: who.
            number: the round that the answer is for.
            samples: how many samples are behind it.
            empty: whether it brings no weights.

        Returns:
            FOLDED: it counts. EMPTY: it settles the peer and adds nothing. STALE: it is for another round and
            settles nothing. UNASKED: nobody asked, or it has answered before.
        """
        if number != self.number and not (self.late and number < self.number):
            return Verdict.STALE
        if self._asked.get(end, True):
            return Verdict.UNASKED
        self._settle(end)
        self.heard += 1
        if empty or samples <= 0:
            return Verdict.EMPTY
        self.folded += 1
        self.samples += samples
        return Verdict.FOLDED

    def retract(self, samples: int) -> None:
        """An answer that was folded does not count after all."""
        self.heard -= 1
        self.folded -= 1
        self.samples -= samples

    def reopen(self, end: str) -> None:
        """A peer is asked again: its answer is open."""
        if self._asked.get(end):
            self._asked[end] = False
            self._settled -= 1
            self._at = 0

    def lost(self, end: str) -> None:
        """A peer has gone: its answer is not waited for any longer."""
        if self._asked.get(end) is False:
            self._settle(end)

    @property
    def ends(self) -> Sequence[str]:
        """Who was asked, in that order; not to be changed."""
        return self._order

    @property
    def asked(self) -> int:
        """How many peers were asked."""
        return len(self._asked)

    @property
    def met(self) -> bool:
        """Whether what has been answered is enough."""
        return self._gate.met(self.folded, self._settled, len(self._asked))

    def _settle(self, end: str) -> None:
        self._asked[end] = True
        self._settled += 1
