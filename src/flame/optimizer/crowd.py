"""A server half for which every client counts the same, and that knows how many there are."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from flame.optimizer import Said
from flame.optimizer.halves import Plain, number_said
from flame.weights.layout import Weights

CLIENTS, PEERS, TOTAL = "clients", "peers", "total"


class Crowd(Plain):
    """Counts clients: those behind the updates of a round, and those that there are.

    A middle aggregator speaks for all below it; until it has spoken it counts as one.

    Attributes:
        heard: how many clients are behind the updates of the round.
        there: how many there are, whether they were asked or not.
    """

    repeatable = False

    def __init__(self, sort: str) -> None:
        self._sort = sort
        self._counting, self.heard, self.there = 0.0, 0.0, 0.0
        self._behind: dict[str, float] = {}
        self._sizes: Mapping[str, int] = {}

    def sized(self, sizes: Mapping[str, int]) -> None:
        """The samples of each peer that is there, to be told with the next order: how many in all, of how many."""
        self._sizes = dict(sizes)

    def tell(self, sent: Weights, averaged: Collection[str]) -> Said:
        """Sizes, where they are known."""
        total = sum(self._sizes.values())
        return {TOTAL: total, CLIENTS: len(self._sizes)} if total else {}

    def hear(self, end: str, samples: int, said: Said) -> None:
        """Count who is behind an update. Raises RunError if that is no number."""
        self._counting += number_said(self._sort, said, CLIENTS, above=0, default=1)
        self._behind[end] = number_said(self._sort, said, PEERS, above=0, default=1)

    def gathered(self, ends: Sequence[str]) -> None:
        """All of the round have been counted."""
        self._behind = {end: count for end, count in self._behind.items() if end in set(ends)}
        self.heard, self._counting = self._counting, 0.0
        self.there = max(1.0, self.heard, float(len(self._sizes)) or sum(self._behind.get(end, 1.0) for end in ends))

    def relay(self) -> Said:
        """How many are behind the mean, and how many there are below."""
        return {CLIENTS: self.heard, PEERS: self.there}


class Evenly:
    """Every client counts the same, whatever its samples; both halves have to agree on the round."""

    name: str
    synchronous = True

    def weigh(self, samples: int, staleness: int, said: Said) -> tuple[float, float]:
        """As many as it speaks for: one, or all behind a middle aggregator's mean."""
        clients = number_said(self.name, said, CLIENTS, above=0, default=1)
        return clients, clients


def part(said: Said, samples: int | None, sort: str) -> float:
    """A client's samples over the mean of all clients'; 1 where nobody has counted them.

    Args:
        said: what the server half tells.
        samples: the client's own, if its role has said so.
        sort: the optimizer, for errors.

    Raises:
        RunError: what is told is no number.
    """
    if not samples or TOTAL not in said:
        return 1.0
    return samples * number_said(sort, said, CLIENTS, above=0) / number_said(sort, said, TOTAL, above=0)
