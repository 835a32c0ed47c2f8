"""A round as seen from below by a worker that has several above it, each with a model of its own, and answers one."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from flame.channel.channel import Channel
from flame.engine.following import Following
from flame.errors import PeerLost, RunError
from flame.weights.layout import Weights
from flame.wire.message import Order, Update

logger = logging.getLogger(__name__)


class Choosing(Following):
    """The half of a role that has several above it.

    Attributes:
        leaders: everybody who ever sent an order, in the order in which they were first seen.
    """

    def __init__(self, patience_s: float) -> None:
        super().__init__(patience_s)
        self.leaders: list[str] = []
        self._orders: dict[str, Order] = {}
        self._over: set[str] = set()

    def state(self) -> dict[str, Any]:
        """Who has sent orders so far, and of whom none will come."""
        return {"leaders": list(self.leaders), "over": sorted(self._over)}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state` returned."""
        self.leaders, self._over = list(state["leaders"]), set(state["over"])

    def fetch_each(self, channel: Channel) -> dict[str, Order]:
        """The next order of everybody above, by sender; {} if nobody came in time or all have ended the training.

        One that has gone for good is left out from then on.

        Raises:
            PeerLost: everybody left above has gone without an end of training.
            RunError: somebody sent something that is no order.
        """
        if not channel.await_peer(self._patience_s):
            return {}
        ends = dict.fromkeys([*self.leaders, *channel.all_ends()])
        lost = [end for end in ends if end not in self._over and not self._fetched(channel, end)]
        self._over.update(lost)
        if lost and not self._orders:
            raise PeerLost(lost[-1], "it left before it ended the training")
        return dict(self._orders)

    def choose(self, end: str) -> Order:
        """This one is answered with an update; the others with none."""
        self._leader, self.order = end, self._orders.pop(end)
        return self.order

    def answer(self, channel: Channel, weights: Weights | None, samples: int, extras: dict[str, Any]) -> None:
        """Send the update to whom was chosen, and to the others that there is none."""
        super().answer(channel, weights, samples, extras)
        for end, order in self._orders.items():
            if channel.has(end):
                channel.post([end], Update(None, 0, order.round))
        self._orders.clear()

    def _fetched(self, channel: Channel, end: str) -> bool:
        """Whether a peer sent its next order, or the end; False if it has gone for good."""
        message = channel.take(end)
        while message is None and channel.await_return(end, self._patience_s):
            message = channel.take(end)
        if message is None:
            logger.warning("%s has gone; there is one model less to choose from", end)
            return False
        if not isinstance(message, Order):
            raise RunError(f"an order was due from {end}; it sent a {type(message).__name__}")
        if end not in self.leaders:
            self.leaders.append(end)
        if message.end:
            self._over.add(end)
        else:
            self._orders[end] = message
        return True
