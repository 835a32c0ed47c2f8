"""The rings of a group, carried out: what the members agree on (`agreement`), over a channel."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from flame.channel.channel import Channel
from flame.engine.agreement import Local, Member, Outcome
from flame.engine.convening import Shares, in_rounds
from flame.engine.speaking import Plan, from_plain, to_plain
from flame.errors import DecodeError, RunError
from flame.weights.layout import Allocate
from flame.wire.message import Order

logger = logging.getLogger(__name__)

SPEECH = "ring"
"""The key of a message's extras under which members talk."""

GLANCE_S = 0.005


class Circle:
    """The half of a role that turns rings with its peers.

    Args:
        channel: where the peers are; a self-loop.
        shares: who of those who have reported turns the next ring, and how much each one counts.
        token: a number that another process with the same id would not have.
        allocate: memory for what is sent.
        silence_s: how long a neighbour in the ring may be there for others only, and not be seen here.
        seated: whether everybody was there from the start, so that nobody has to be looked for.
    """

    def __init__(
        self,
        channel: Channel,
        shares: Shares,
        *,
        token: int,
        allocate: Allocate,
        silence_s: float | None,
        seated: bool,
    ) -> None:
        self._channel, self._silence_s, self._seated = channel, silence_s, seated
        me, rests = channel.get_backend_id(), shares is in_rounds
        self._member = Member(me, shares, rests=rests, token=token, allocate=allocate)

    def bring(self, local: Local) -> None:
        """This member has a model to be averaged with the others'; it must not change until the ring is closed."""
        if not self._seated:
            self._channel.look(GLANCE_S)
        self._member.see(self._channel.lives())
        self._member.bring(local)
        self._post()

    def agreed(self) -> Plan | None:
        """Wait until this member is in a ring; None if one has been closed already.

        Raises:
            WeightsError: the others' models have other tensors.
            RunError: somebody sent something that does not belong to a ring.
        """
        while self._member.plan is None and self._member.outcome is None:
            self._wait()
        return self._member.plan

    def closed(self) -> Outcome:
        """Wait until the ring is closed, whoever dies meanwhile.

        Raises:
            WeightsError: the others' models have other tensors.
            RunError: somebody sent something that does not belong to a ring.
        """
        while self._member.outcome is None:
            self._wait()
        self._channel.dispatch()  # whoever is told that it is closed shall not wait until this one has trained again
        return self._member.outcome

    def rest(self, until: Callable[[], object], what: Callable[[], str]) -> None:
        """Answer the others, having nothing for a ring, until something is so."""
        self._member.see(self._channel.lives())
        self._member.rest()
        self._post()
        while not until():
            if self._hear():
                continue
            self._channel.await_news(self._member.view, what, also=until)
        self._channel.dispatch()

    def state(self) -> list[int]:
        """What must be kept between two rings to go on later."""
        return self._member.state()

    def restore(self, state: Sequence[int]) -> None:
        """Go on from what `state` returned."""
        self._member.restore(state)

    def _wait(self) -> None:
        """Take in one thing that happens."""
        if self._hear():
            return
        if not self._channel.await_news(self._member.view, self._what, self._silence_s):
            if self._member.give_up_on():
                logger.warning("a neighbour in the ring is not seen here, and is done without")
            self._post()

    def _hear(self) -> bool:
        """What has been said, or else who has come or gone; whether there was anything."""
        channel, member = self._channel, self._member
        end = channel.unread()
        if end is not None:
            message = channel.take(end)
            if not isinstance(message, Order) or SPEECH not in message.extras:
                raise RunError(
                    f"a word of the ring was due from {end}; it sent {'an' if message else ''} {type(message).__name__}"
                )
            try:
                talk = from_plain(message.extras[SPEECH])
            except DecodeError as error:
                logger.warning("%s talks nonsense: %s", end, error)
                return True
            member.hear(end, talk, message.weights)
        else:
            lives = channel.lives()
            if lives is member.view or lives == member.view:
                return False
            for lost in member.view.keys() - lives.keys():
                logger.info("%s has left the ring", lost)
            member.see(lives)
        self._post()
        return True

    def _post(self) -> None:
        for sent in self._member.mail():
            self._channel.post(sent.ends, Order(0, sent.weights, False, {SPEECH: to_plain(sent.talk)}))

    def _what(self) -> str:
        ends = self._member.awaits()
        some = ", ".join(self._channel.readable(end) for end in ends[:5])
        return f"{some or 'others'}, to turn a ring with, on {self._channel.name()}"
