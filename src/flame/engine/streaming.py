"""Asynchronous rounds as seen from above: whoever is idle is asked, and answers count as they come.

J. Nguyen et al.: Federated Learning with Buffered Asynchronous Aggregation (FedBuff). AISTATS 2022.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from flame.channel.channel import Channel
from flame.engine.arrivals import Arrivals
from flame.engine.leading import Leading
from flame.engine.round import Round
from flame.errors import PeerLost
from flame.wire.message import Order


class Streaming(Leading):
    """The half of a role that leads asynchronously; a round ends when its gate says so, whoever is still busy.

    Args:
        arrivals: which of the busy peers is heard next.
    """

    def __init__(self, *args: Any, arrivals: Arrivals, **more: Any) -> None:
        super().__init__(*args, **more)
        self._arrivals = arrivals
        self._busy: dict[str, None] = {}
        self.begin()

    def begin(self) -> None:
        """The round is over: the next time that anybody is asked, it is in a new one."""
        self._round, self._begun = Round(0, self._gate, late=True), False

    def state(self) -> dict[str, Any]:
        """What time it is, and who is busy since when, in the order in which they were asked."""
        return {**super().state(), "busy": {end: self._given.get(end, 0.0) for end in self._busy}}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state` returned."""
        super().restore(state)
        self._given = dict(state.get("busy", {}))
        self._busy = dict.fromkeys(self._given)

    def ask(self, channel: Channel, make: Callable[[], Order]) -> int:
        """Ask whoever is idle and chosen, in a new round if none is open; returns how many are busy now."""
        if not self._begun:
            self._open(channel, make(), self._round)
            self._round.ask(list(self._busy))
            self._begun = True
        assert self._asked is not None  # the round is open
        order = self._asked[1]
        channel.set_property("busy", self._busy)
        ends = [end for end in channel.ends("send") if end not in self._busy]
        self._round.ask(ends)
        self._busy.update(dict.fromkeys(ends))
        self._post(channel, ends, order)
        return len(self._busy)

    def gather(self, channel: Channel) -> None:
        """Fold one answer; nothing if nobody is busy.

        Raises:
            RunError: a peer sent something that is no update.
        """
        if self._busy and not self._round.met:
            end = self._arrivals.next(channel, list(self._busy))
            assert end is not None  # it waits as long as it takes
            message = channel.take(end)
            del self._busy[end]
            self._answered(channel, end, message)

    def _without(self, lost: PeerLost) -> None:
        """The round is closed with what is left."""
