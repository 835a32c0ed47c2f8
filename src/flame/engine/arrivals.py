"""Which of the busy peers is heard next: whoever is first, by a clock, in turn, or in simulated time."""

from __future__ import annotations

import time
from collections.abc import Collection
from typing import Protocol

from flame.channel.channel import Channel
from flame.common.fiber import Fiber
from flame.engine.simulated import Clock, Simulated


class Arrivals(Protocol):
    """The order in which peers are heard."""

    def now(self) -> float:
        """Seconds, since whenever."""

    def next(self, channel: Channel, busy: Collection[str], until: float | None = None) -> str | None:
        """The busy peer that is heard next, of those in the order in which they were asked; waits until one can be.

        Args:
            channel: where they are.
            busy: who was asked and has not been heard.
            until: by then; None waits as long as it takes.

        Returns:
            A peer that has answered, or gone; None if nobody has by `until`.
        """

    def idle(self, channel: Channel, busy: Collection[str]) -> list[str]:
        """Which of the busy peers have answered, or gone, by now."""


class AsTheyCome:
    """Whose message came first: for programs that are started one by one."""

    def now(self) -> float:
        """The machine's monotonic clock."""
        return time.monotonic()

    def next(self, channel: Channel, busy: Collection[str], until: float | None = None) -> str | None:
        """The first; None if nobody has answered by `until`."""
        return channel.first_of(busy, None if until is None else max(0.0, until - self.now()))

    def idle(self, channel: Channel, busy: Collection[str]) -> list[str]:
        """Whoever has answered."""
        return [end for end in busy if channel.answered(end)]


class InTurn:
    """Everybody takes equally long: what is heard next shall not depend on which process of a host was faster."""

    def now(self) -> float:
        """It is always the same time."""
        return 0.0

    def next(self, channel: Channel, busy: Collection[str], until: float | None = None) -> str | None:
        """Whoever was asked first."""
        return next(iter(busy))

    def idle(self, channel: Channel, busy: Collection[str]) -> list[str]:
        """Everybody: all are as fast as the first."""
        return list(busy)


def arrivals_of(clock: Clock | None, fiber: Fiber | None) -> Arrivals:
    """The order in which an aggregator hears its peers, where it runs."""
    if clock is not None:
        return Simulated(clock)
    return AsTheyCome() if fiber is None else InTurn()
