"""Rounds that are over before everybody has answered: whoever is late is passed over, and asked again when idle.

K. Bonawitz et al.: Towards Federated Learning at Scale: System Design. MLSys 2019 (over-selection).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from flame.channel.channel import Channel
from flame.engine.arrivals import Arrivals
from flame.engine.gate import Within
from flame.engine.leading import Leading, Said
from flame.engine.round import Round
from flame.engine.simulated import Simulated
from flame.selector.feedback import heard
from flame.wire.message import Order, Update

logger = logging.getLogger(__name__)


class Racing(Leading):
    """The half of a role that leads synchronously, and does not wait for the slowest.

    Args:
        arrivals: which of the busy peers is heard next.
    """

    def __init__(self, *args: Any, arrivals: Arrivals, **more: Any) -> None:
        super().__init__(*args, **more)
        self._arrivals = arrivals
        self._busy: dict[str, None] = {}
        self._late: dict[str, Said | None] = {}
        self._until: float | None = None
        self._overdue = False

    @property
    def met(self) -> bool:
        """Whether the round that is open has enough."""
        return self._round.met or (self._overdue and self._round.folded >= self._gate.at_least)

    def state(self) -> dict[str, Any]:
        """What time it is; who is busy since when, when they would be idle, and what the selector will hear of them."""
        busy: dict[str, Any] = {}
        if isinstance(self._arrivals, Simulated):  # everybody else is idle when a round is over, or not known to be
            for end, said in self._late.items():
                busy[end] = (self._given.get(end, 0.0), self._arrivals.due(end), said and msgspec.structs.astuple(said))
        return {**super().state(), "busy": busy}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state` returned."""
        super().restore(state)
        for end, (given, due, said) in state.get("busy", {}).items():
            assert isinstance(self._arrivals, Simulated)  # as it was when it was kept
            self._arrivals.expect(end, due)
            self._busy[end], self._given[end] = None, given
            self._late[end] = said and Said(*said)

    def ask(self, channel: Channel, make: Callable[[], Order]) -> int:
        """Open a round: ask those of the idle peers that the selector chooses; returns how many."""
        for end in self._arrivals.idle(channel, self._busy):
            self._pass_over(channel, end)
        channel.set_property("busy", self._busy)
        while not (ends := [end for end in channel.ends("send") if end not in self._busy]) and self._busy:
            self._pass_over(channel, self._next(channel, None) or "")
        order = self._open(channel, make(), Round(0, self._gate))
        self._overdue = False
        self._until = self._arrivals.now() + self._gate.seconds if isinstance(self._gate, Within) else None
        self._round.ask(ends)
        self._busy.update(dict.fromkeys(ends))
        self._post(channel, ends, order)
        return len(ends)

    def gather(self, channel: Channel) -> None:
        """Fold answers as they come, until the round's gate says that it is enough; let go of those that are late.

        Raises:
            RunError: a peer sent something that is no update.
            TooFewAnswers: fewer answers count than the gate asks for.
        """
        while not self.met:
            end = self._next(channel, self._until)
            if end is None:
                self._overdue, self._until = True, None
            elif end in self._late:
                self._pass_over(channel, end)
            else:
                del self._busy[end]
                self._answered(channel, end, channel.take(end))
        self._release(channel)
        self._enough()

    def _next(self, channel: Channel, until: float | None) -> str | None:
        return self._arrivals.next(channel, list(self._busy), until)

    def _release(self, channel: Channel) -> None:
        """What late peers have sent by now takes no memory, even if in simulated time it is still under way."""
        for end in self._arrivals.idle(channel, self._busy):
            self._pass_over(channel, end)
        if self.clock is not None:
            for end in self._busy:
                if end not in self._late:
                    self._late[end] = self._late_answer(channel, end)

    def _pass_over(self, channel: Channel, end: str) -> None:
        """A late answer is there: its sender is idle."""
        said = self._late.pop(end) if end in self._late else self._late_answer(channel, end)
        del self._busy[end]
        if said is not None:
            logger.info("an update of %s for round %s is passed over: it is late", end, said.round)
            heard(channel.selector, end, said.round, said.seconds, said.said)

    def _late_answer(self, channel: Channel, end: str) -> Said | None:
        """What the selector is told of a late answer; None if the peer has gone."""
        message = channel.take(end)
        return self._said(channel, end, message) if isinstance(message, Update) else None
