"""The talk with a coordinator, as seen from the workers that it assigns to each other.

A coordinator's word is an order without weights, on a channel of its own; an `Assignment` is in its extras. The top
says when it is ready for a round, with an update without weights. Whatever is said carries its round's number, so that
what comes too late is known to be.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from flame.channel.channel import Channel
from flame.engine.assignment import NAME, Assignment
from flame.engine.following import Following
from flame.errors import PeerLost, RunError
from flame.weights.layout import Weights
from flame.wire.message import Order, Update

logger = logging.getLogger(__name__)


class Desk:
    """Where a worker hears what its coordinator has decided.

    Args:
        channel: to the coordinator.
        patience_s: how long to wait for it to join.
        return_s: how long to wait for it, or for a peer that it has named, when there is no word of them.

    Attributes:
        assignment: what was decided last.
        over: whether the training has ended.
    """

    def __init__(self, channel: Channel, patience_s: float, return_s: float) -> None:
        self._channel = channel
        self._patience_s, self._return_s = patience_s, return_s
        self._coordinator: str | None = None
        self._heard = self._told = False
        self.assignment = Assignment()
        self.over = False

    def state(self) -> dict[str, Any]:
        """What must be kept to go on later, as plain values."""
        decided = (self.assignment.round, self.assignment.extras())
        words = {"coordinator": self._coordinator, "heard": self._heard, "over": self.over}
        return {**words, "assignment": decided}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state` returned."""
        self._coordinator, self.over = state["coordinator"], state["over"]
        self._heard = state["heard"]
        self.assignment = Assignment.read(*state["assignment"])

    def arrive(self) -> None:
        """Wait for the coordinator to be there; if it does not come for so long, or came and went, all is over."""
        if self._coordinator is None:
            if self._channel.unread() is None:  # it may have left what it had to say
                self._channel.await_peer(self._patience_s)
            self._coordinator = self._channel.unread() or next(iter(self._channel.all_ends()), None)
            self.over = self._coordinator is None

    def next(self, ready: Update | None = None) -> bool:
        """Wait for the word of the next round, and take it in; False if the training is over.

        Args:
            ready: what the coordinator waits for before it opens one; said again when it has been away.

        Raises:
            PeerLost: the coordinator has gone, without an end of training.
        """
        self.arrive()
        while not self.over:
            absences = self._absences
            if ready is not None and self._coordinator is not None:
                self._channel.post([self._coordinator], ready)

            def news(before: int = absences) -> bool:
                return self.moved_on() or self._away or self._absences != before

            self._channel.wait(news, "the coordinator's word for the next round")
            if self.moved_on():
                return self._take_in()
            self._await_return()
        return False

    def moved_on(self) -> bool:
        """Whether the coordinator has opened another round, or ended the training, or gone.

        What it has said anew about this round is taken in.
        """
        if self.over:
            return True
        while (word := self._waiting()) is not None:
            if word.end or word.round > self.assignment.round:
                return True
            self._take()
            if word.round == self.assignment.round:
                self._hear(word)
        return self._coordinator is not None and self._channel.gone(self._coordinator)

    @property
    def heard(self) -> bool:
        """Whether anything was decided yet."""
        return self._heard

    def check(self) -> bool:
        """Whether the training is over, without waiting.

        Raises:
            PeerLost: the coordinator has gone, without an end of training.
        """
        if not self.over and self.moved_on():
            self._take_in()
        return self.over

    def finish(self, round_: int) -> None:
        """Tell the coordinator, once, that the training is over."""
        if not self._told and not self.over and self._coordinator is not None:
            self._channel.post([self._coordinator], Update(None, 0, round_, {NAME: {"end": True}}))
        self._told = True

    def await_assigned(self, channel: Channel) -> None:
        """Wait until everybody who was assigned is there, or was and has left; whoever is not heard of is left out.

        Args:
            channel: the one on which they are; it is told who they are.
        """

        def settled() -> bool:
            moved_on = self.moved_on()
            channel.assign(self.assignment.below)
            return moved_on or not missing()

        def missing() -> list[str]:
            return [end for end in self.assignment.below if not channel.has(end) and not channel.left(end)]

        if not channel.wait(settled, f"who was assigned to join on {channel.name()}", self._return_s):
            logger.warning(
                "round %s goes on without %s, of whom nothing is heard on %s",
                self.assignment.round,
                ", ".join(missing()),
                channel.name(),
            )

    def _take_in(self) -> bool:
        word = self._waiting()
        if word is None:
            assert self._coordinator is not None  # it has moved on: by a word, or by going
            raise PeerLost(self._coordinator, "the coordinator left before it ended the training")
        self._take()
        self.over = word.end
        if not word.end:
            self._hear(word)
        return not self.over

    def _hear(self, word: Order) -> None:
        self.assignment = Assignment.read(word.round, word.extras)
        self._heard = True

    def _waiting(self) -> Order | None:
        """The coordinator's word that is read next, if there is one."""
        end = self._channel.unread()
        if end is None:
            return None
        word = self._channel.peek(end)[0]
        if not isinstance(word, Order):
            raise RunError(f"a coordinator's word was due from {end}; it sent a {type(word).__name__}")
        self._coordinator = end
        return word

    def _take(self) -> None:
        assert self._coordinator is not None  # something of it waits
        self._channel.take(self._coordinator)

    @property
    def _away(self) -> bool:
        return self._coordinator is not None and not self._channel.has(self._coordinator)

    @property
    def _absences(self) -> int:
        return 0 if self._coordinator is None else self._channel.left(self._coordinator)

    def _await_return(self) -> None:
        end = self._coordinator
        if end is not None and not self._channel.await_return(end, self._return_s):
            raise PeerLost(end, "nothing is heard of the coordinator any more")


class Assigned(Following):
    """The half of a role whose leader is assigned to it.

    Args:
        desk: where it hears by whom it is led, and when that is over.
        patience_s: how long to wait for somebody to join above.
    """

    def __init__(self, desk: Desk, patience_s: float) -> None:
        super().__init__(patience_s)
        self._desk = desk

    def fetch(self, channel: Channel) -> Order | None:
        """The next order of whoever was assigned, or of anybody if nobody was; None if there will be none.

        Raises:
            RunError: what came is no order.
        """
        desk = self._desk
        desk.arrive()
        while True:
            above = desk.assignment.above

            def speaks(above: str | None = above) -> str | None:
                if above is None:
                    return channel.unread()
                return None if channel.is_rxq_empty(above) else above

            channel.wait(lambda: desk.moved_on() or speaks(), f"an order on {channel.name()}")
            end = None if desk.moved_on() else speaks()
            if end is None:
                return None
            message = channel.take(end)
            if not isinstance(message, Order):
                raise RunError(f"an order was due from {end}; it sent a {type(message).__name__}")
            if message.round >= desk.assignment.round:
                self.order, self._leader = message, end
                return message

    def answer(self, channel: Channel, weights: Weights | None, samples: int, extras: dict[str, Any]) -> None:
        """Send an update to whoever's order was fetched last; nothing if none was."""
        if self.order is not None:
            super().answer(channel, weights, samples, extras)
