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

Models = Mapping[str, Weights | None]


class Choosing(Following):
    """The half of a role that has several above it.

    The last model of one that has ended, or gone, stays among those to choose from: otherwise whom it fits best would
    train another one, which fits others.

    Args:
        patience_s: how long to wait for somebody to join above.
        promised: how many will: nothing is chosen before all of them have sent a model. 0 if all are there already.

    Attributes:
        leaders: everybody who ever sent an order; those who were waited for at first are in the order of their ids.
    """

    def __init__(self, patience_s: float, promised: int = 0) -> None:
        super().__init__(patience_s)
        self.leaders: list[str] = []
        self._promised = promised
        self._orders: dict[str, Order] = {}
        self._models: dict[str, Weights | None] = {}
        self._over: set[str] = set()
        self._lost: set[str] = set()

    def state(self) -> dict[str, Any]:
        """Who has sent orders so far, of whom none will come, and these ones' last models."""
        left = {end: self._models[end] for end in self.leaders if end in self._over | self._lost}
        return {"leaders": list(self.leaders), "over": sorted(self._over), "lost": sorted(self._lost), "models": left}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state` returned."""
        self.leaders, self._models = list(state["leaders"]), dict(state["models"])
        self._over, self._lost = set(state["over"]), set(state["lost"])

    @property
    def begins(self) -> bool:
        """Whether all orders that came are of a first round."""
        return all(order.round == 1 for order in self._orders.values())

    def fetch_each(self, channel: Channel) -> Models:
        """The model of everybody above, by who leads it, once each who is there has sent its next order.

        Returns:
            The models; {} if nobody came in time or nobody is left who wants an answer.

        Raises:
            PeerLost: the last one above has gone, and nobody has said that the training is over.
            RunError: fewer than were promised have come for as long as the job may run; somebody sent something that
                is no order.
        """
        if not channel.await_peer(self._patience_s):
            return {}
        if self._unheard(channel):
            self._meet(channel)
        ends = dict.fromkeys([*self.leaders, *channel.all_ends()])
        awaited = [end for end in ends if end not in self._over and end not in self._orders]
        lost = [end for end in awaited if not self._fetched(channel, end)]
        newly, self._lost = [end for end in lost if end not in self._lost], set(lost)
        for end in newly:
            logger.warning("%s has gone; what it sent last is still chosen from, and no longer trained", end)
        if newly and not self._orders and not self._over:
            raise PeerLost(newly[-1], "it left before it ended the training")
        return {end: self._models[end] for end in self.leaders} if self._orders else {}

    def choose(self, end: str) -> Order | None:
        """This one is answered with an update, the others with none; None if it is not there to be answered."""
        self._leader, self.order = end, self._orders.pop(end, None)
        return self.order

    def answer(self, channel: Channel, weights: Weights | None, samples: int, extras: dict[str, Any]) -> None:
        """Send the update to whom was chosen, and to the others that there is none."""
        if self.order is not None:
            super().answer(channel, weights, samples, extras)
        for end, order in self._orders.items():
            if channel.has(end):
                channel.post([end], Update(None, 0, order.round))
        self._orders.clear()

    def _meet(self, channel: Channel) -> None:
        """Take the first order of everybody, in whatever order they come.

        Whoever comes when rounds are under way keeps out of them meanwhile. One that has ended before will not come
        any more, and the others wait for an answer.
        """

        def what() -> str:
            return f"{self._unheard(channel)} of {self._promised} models of {channel.other_role()}s"

        while missing := self._unheard(channel):
            if self._over and self._over.issuperset(channel.all_ends()):
                break

            def news(before: int = missing) -> object:
                return channel.unread() or self._unheard(channel) != before

            if not channel.wait(news, what(), self._patience_s):
                raise RunError(f"{what()} did not come within {self._patience_s:g} s: see hyperparameters.clusters")
            while (end := channel.unread()) is not None:
                self._fetched(channel, end)
            if self._unheard(channel) and not self.begins:
                self.answer(channel, None, 0, {})
        self.leaders.sort()

    def _unheard(self, channel: Channel) -> int:
        """How many of those who were promised may still come with a first order."""
        known = self._over.union(self.leaders)
        gone = [end for end in channel.ever() if end not in known and channel.gone(end)]
        return max(0, self._promised - len(self.leaders) - len(gone))

    def _fetched(self, channel: Channel, end: str) -> bool:
        """Whether a peer sent its next order, or the end; False if it has gone for good."""
        message = channel.take(end)
        while message is None and channel.await_return(end, self._patience_s):
            message = channel.take(end)
        if message is None:
            return False
        if not isinstance(message, Order):
            raise RunError(f"an order was due from {end}; it sent a {type(message).__name__}")
        if message.end:
            self._over.add(end)
            return True
        if end not in self.leaders:
            self.leaders.append(end)
        self._orders[end], self._models[end] = message, message.weights
        return True
