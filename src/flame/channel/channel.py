"""One worker's view of one channel: its peers in its group, and what they have sent."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, overload

from flame.backend import Backend
from flame.backend.directory import Members, Seat
from flame.channel.coding import CODING, Message, Sealed
from flame.channel.inbox import Came, Inbox
from flame.channel.packing import Packing, plain
from flame.common.constants import PROP_ROUND_END_TIME, PROP_ROUND_START_TIME
from flame.common.fiber import Hub
from flame.errors import DeadlinePassed
from flame.selector import Selector
from flame.selector.abstract import END_PROPERTIES
from flame.wire.message import Order, Update

KEY_CH_STATE = "state"
VAL_CH_STATE_RECV = "recv"
VAL_CH_STATE_SEND = "send"
KEY_CH_SELECT_REQUESTER = "requester"

_NOT_KEPT = frozenset({KEY_CH_SELECT_REQUESTER, "busy", END_PROPERTIES})
"""Properties that are set before each time that they are looked at, or kept in their own place."""
_DATES = frozenset({PROP_ROUND_START_TIME, PROP_ROUND_END_TIME})
"""Properties that hold times, which are no plain values; whoever goes on from a checkpoint asks anew."""


@dataclass(frozen=True, slots=True)
class Wiring:
    """What a channel is plugged into: the host's backend and hub, and how ids are written for people."""

    backend: Backend
    hub: Hub
    readable: Callable[[str], str]


class Channel:
    """A group of peers, over whatever transport the host chose.

    Programs send and receive plain values; the engine posts and takes messages. Nothing waits for ever for a peer that
    has gone: what it sent before can still be received, then it answers with None. Of each end it is remembered when it
    was last sent an order, and when it answered: a (round, datetime) as the properties `round_start_time` and
    `round_end_time`.

    Args:
        seat: this worker's own place: channel, group, role and id.
        other_role: the role at the other side (the same one on a self-loop).
        wiring: what it is plugged into.
        selector: who of the peers is chosen when `ends` is asked.
        job_id: the job.
        packing: how weights are compressed; None for not at all.
        timed: whether it looks at the clock when messages go and come.

    Attributes:
        selector: who of the peers is chosen when `ends` is asked.
        sent_bytes: how many bytes were sent so far.
        tally: is told of every message how large it is; None for nobody.
        moved: how many messages were sent, or taken out by whoever they are for, so far.
        awaited: the one peer whose message the worker waits for; None if it waits for anything, or not at all.
    """

    def __init__(
        self,
        seat: Seat,
        other_role: str,
        wiring: Wiring,
        selector: Selector,
        job_id: str,
        packing: Packing | None = None,
        *,
        timed: bool = False,
    ) -> None:
        self._end_properties: dict[str, dict[str, object]] = {}
        self.properties: dict[str, object] = {END_PROPERTIES: self._end_properties}
        self._seat = seat
        self._other_role = other_role
        self._job_id = job_id
        self._wiring = wiring
        self.selector: Selector | None = selector
        self._packing = packing
        self._members: Members = wiring.backend.directory.members(seat.channel, seat.group, other_role)
        self._inbox = Inbox()
        self._asked: dict[str, int] = {}
        self._assigned: Sequence[str] | None = None
        self._listed: tuple[object, Sequence[str]] | None = None
        self._timed = timed
        self._posted: dict[str, float] = {}
        self._took: dict[str, float] = {}
        self._met = not self.empty()
        self.sent_bytes = self.moved = 0
        self.tally: Callable[[str, int], None] | None = None
        self._lives_of = -1
        self._lives: dict[str, int] = {}
        self.awaited: str | None = None
        self._last: tuple[Message, dict[str, int]] | None = None

    # -- identity ------------------------------------------------------------------

    def name(self) -> str:
        """The channel's name in the TAG."""
        return self._seat.channel

    def job_id(self) -> str:
        """The job's id."""
        return self._job_id

    def my_role(self) -> str:
        """This worker's role."""
        return self._seat.role

    def other_role(self) -> str:
        """The role of the peers."""
        return self._other_role

    def groupby(self) -> str:
        """The group that this worker is in on this channel."""
        return self._seat.group

    def get_backend_id(self) -> str:
        """This worker's own id, as its peers see it."""
        return self._seat.end

    # -- peers ------------------------------------------------------------------

    def ends(self, state: str | None = None) -> list[str]:
        """The peers that the selector chooses, in a fixed order; of assigned ones, all.

        Args:
            state: "send" or "recv", for selectors that tell the two apart; it holds until another is given.
        """
        if state in (VAL_CH_STATE_RECV, VAL_CH_STATE_SEND):
            self.properties[KEY_CH_STATE] = state
        self.properties[KEY_CH_SELECT_REQUESTER] = self._seat.end
        if self.selector is None:
            return list(self.all_ends())
        return list(self.selector.select(self.all_ends(), self.properties))

    def one_end(self, state: str | None = None) -> str | None:
        """The first of `ends`; None if there is none."""
        return next(iter(self.ends(state)), None)

    def all_ends(self) -> Sequence[str]:
        """Every peer that is there, chosen or not; the list must not be changed. Of assigned ones, those."""
        ends = self._members.ends()
        if self._assigned is not None:
            if self._listed is None or self._listed[0] is not ends:
                self._listed = ends, [end for end in self._assigned if end in self._members]
            return self._listed[1]
        if self._seat.role == self._other_role:
            return [end for end in ends if end != self._seat.end]
        return ends

    def ever(self) -> list[str]:
        """Every peer that is or was there: some may have ended before this worker has looked."""
        return [end for end in self._members.ever() if end != self._seat.end]

    @property
    def several(self) -> bool:
        """Whether more than one peer is or was there."""
        return self._members.several and (self._seat.role != self._other_role or len(self.ever()) > 1)

    def ends_digest(self) -> str:
        """32 hex digits that are the same for all who see the same group, themselves included; "" if nobody is chosen.

        Whether ids are equally long makes no difference.
        """
        ends = self.ends()
        if not ends:
            return ""
        from hashlib import blake2b  # see `Layout.digest`

        everybody = sorted([self._seat.end, *ends])
        return blake2b("\0".join(everybody).encode(), digest_size=16).hexdigest()

    def empty(self) -> bool:
        """Whether nobody is there."""
        return not self.all_ends()

    def has(self, end: str) -> bool:
        """Whether a peer is there."""
        return end in self._members and end != self._seat.end

    def assign(self, ends: Sequence[str], selector: Selector | None = None) -> None:
        """From now on only these peers are asked, in this order.

        Args:
            ends: whom a coordinator has chosen.
            selector: who of them is chosen at a time; all if it is left out.
        """
        self.selector = selector
        if ends != self._assigned:
            self._assigned, self._listed = ends, None

    def left(self, end: str) -> int:
        """How many times a peer has left: who comes back is somebody new."""
        return self._members.left(end)

    def gone(self, end: str) -> bool:
        """Whether a peer was there, and is known to have ended."""
        return not self.has(end) and self.left(end) > 0 and not self._members.missing(end)

    def wait(self, condition: Callable[[], object], what: str, timeout: float | None = None) -> bool:
        """Wait until something is so that a message, or a peer that comes or goes, can bring about.

        Args:
            condition: looked at whenever there is news on any channel of this worker.
            what: is awaited, in words.
            timeout: seconds; None waits as long as it takes.

        Returns:
            Whether it is so.
        """
        return self._wait(condition, lambda: what, timeout)

    def await_join(self, timeout: float | None = None, at_least: int = 1) -> bool:
        """Wait until somebody is there.

        Args:
            timeout: seconds; None waits as long as it takes.
            at_least: how many have to be there.

        Returns:
            True if it **timed out**.
        """

        def there() -> bool:
            return len(self.all_ends()) >= at_least

        def what() -> str:
            if at_least == 1:
                return f"somebody to join as {self._other_role}"
            return f"{at_least} to join as {self._other_role}; {len(self.all_ends())} are there"

        return not (there() or self._wait(there, what, timeout))

    def unread(self) -> str | None:
        """A peer, there or not, something of which waits to be received; None if nothing does."""
        return self._inbox.anybody()

    def speaker(self, otherwise: Callable[[], object], what: Callable[[], str]) -> str | None:
        """Whose message came first, of all that wait to be received; waits for one, or until `otherwise()` is true.

        Args:
            otherwise: looked at whenever something comes, or somebody joins or leaves.
            what: says in words what is awaited.

        Returns:
            The peer, there or not; None if nothing came, but `otherwise()` is true.
        """
        self._wait(lambda: self.unread() or otherwise(), what, None)
        return self._inbox.first()

    def await_peer(self, timeout: float) -> bool:
        """Wait until somebody is there, or was and has gone; whether that came about within `timeout` seconds."""

        def settled() -> bool:
            return not self.empty() or self._met or self.unread() is not None

        return self._met or self._wait(settled, lambda: f"somebody to join as {self._other_role}", timeout)

    def await_return(self, end: str, timeout: float, *, anew: bool = False) -> bool:
        """Wait for a peer that was cut off; whether it is there again within `timeout` seconds.

        One that is known to have ended is waited for only if somebody may take its place (`anew`).
        """
        self._wait(
            lambda: self.has(end) or not (anew or self._members.missing(end)),
            lambda: f"{self._wiring.readable(end)}, of which nothing is heard on {self._seat.channel}",
            timeout,
        )
        return self.has(end)

    def lives(self) -> dict[str, int]:
        """Every peer that is there, and how many times each one has left before; must not be changed."""
        if self._lives_of != self._members.version:
            self._lives_of = self._members.version
            self._lives = {end: self._members.left(end) for end in self.all_ends()}
        return self._lives

    def look(self, seconds: float) -> None:
        """Take in what has come of the others, and who has; for so long if nothing does."""
        self._wait(lambda: False, lambda: "whatever has come", seconds)

    def look_around(self, seconds: float, patience_s: float) -> None:
        """See who is there.

        Args:
            seconds: how long somebody is waited for if nobody is.
            patience_s: how long processes are waited for that are there, and have not said yet who is in them.
        """
        backend = self._wiring.backend
        self._wait(lambda: self._met, lambda: f"somebody to join as {self._other_role}", seconds)

        def what() -> str:
            return f"{backend.strangers} processes of the job that are busy, and have not said yet who they are"

        self._wait(lambda: not backend.strangers, what, patience_s)

    def dispatch(self) -> None:
        """Let what was sent go out now, not when this worker waits the next time: it may compute for long before."""
        if self._wiring.backend.pending:
            self._wiring.backend.flush()

    def await_news(
        self,
        known: Mapping[str, int],
        what: Callable[[], str],
        timeout: float | None = None,
        also: Callable[[], object] = lambda: False,
    ) -> bool:
        """Wait until something can be received, others are there than `known`, or `also()`; whether it was in time."""

        def news() -> object:
            there = self.lives()
            return self.unread() or also() or (there is not known and there != known)

        return self._wait(news, what, timeout)

    def readable(self, end: str) -> str:
        """A peer's name for people."""
        return self._wiring.readable(end)

    # -- values, for programs ------------------------------------------------------------------

    def send(self, end: str, value: object) -> bool:
        """Send a plain value to a peer.

        The value is encoded now, so that it may be changed afterwards.

        Returns:
            Whether the peer is there.

        Raises:
            EncodeError: the value is not plain data.
        """
        self._post([end], Sealed.of(value))
        return self.has(end)

    def broadcast(self, value: object) -> None:
        """Send a plain value to every peer that is there.

        Raises:
            EncodeError: the value is not plain data.
        """
        self._post(self.all_ends(), Sealed.of(value), "broadcast")

    def recv(self, end: str | None) -> tuple[object, datetime | None]:
        """Wait for the next value of a peer.

        Returns:
            The value and when it arrived; (None, None) for a peer that is not there, or leaves meanwhile.
        """
        taken = self._take(end) if end is not None else None
        return (None, None) if taken is None else _opened(taken)

    def recv_fifo(self, ends: Sequence[str], first_k: int = 0) -> Iterator[tuple[object, tuple[str, datetime | None]]]:
        """One value of each of some peers, in the order in which they arrive.

        Args:
            ends: the peers; an empty list gives one item, (None, ("", now)).
            first_k: stop after so many; 0 or less means all.

        Yields:
            The value, and the peer with the time of arrival; (None, (end, None)) for a peer that has gone.
        """
        if not ends:
            yield None, ("", datetime.now())
            return
        open_ends = dict.fromkeys(ends)
        left = min(first_k, len(open_ends)) if first_k > 0 else len(open_ends)
        while left and open_ends:
            end = self.first_of(open_ends)
            del open_ends[end]
            taken = self._take(end)
            value, arrived = (None, None) if taken is None else _opened(taken)
            left -= 1
            yield value, (end, arrived)

    def peek(self, end: str) -> tuple[object, datetime | None]:
        """The next value of a peer, left where it is; (None, None) if there is none yet."""
        came = self._inbox.next(end)
        return (None, None) if came is None else _opened(came)

    def drain_messages(self) -> None:
        """Throw away everything that has arrived."""
        self.moved += 1
        self._inbox.clear()

    def is_rxq_empty(self, end: str) -> bool:
        """Whether nothing of a peer waits to be received."""
        return not self._inbox.holds(end)

    def is_txq_empty(self, end: str) -> bool:
        """Whether nothing waits to be sent to a peer; always so, because the backend takes it at once."""
        return True

    # -- messages, for the engine ------------------------------------------------------------------

    def post(self, ends: Sequence[str], message: Message) -> None:
        """Send one message to some peers. The message is shared: it must not be changed."""
        for end in ends:
            self._asked[end] = self._members.left(end)
        if self._timed:
            self._posted.update(dict.fromkeys(ends, time.time()))
        if isinstance(message, Order):
            asked = message.round, datetime.now()
            for end in ends:
                self.set_end_property(end, PROP_ROUND_START_TIME, asked)
        self._post(ends, message)

    def post_last(self, message: Message) -> None:
        """Send everybody who is there a message after which there will be none, and keep it for `tell_latecomers`."""
        ends = self.all_ends()
        self._last = message, {end: self.left(end) for end in ends}
        self.post(ends, message)

    def tell_latecomers(self) -> None:
        """Send the last message, if there was one, to those who have come since, or come back."""
        if self._last is not None:
            message, told = self._last
            self.post([end for end in self.all_ends() if told.get(end) != self.left(end)], message)

    @property
    def over(self) -> bool:
        """Whether the last message was sent."""
        return self._last is not None

    def take(self, end: str, deadline_s: float | None = None) -> Message | None:
        """Wait for the next message of a peer; None if it has gone, or has come back since it was posted to.

        Raises:
            DeadlinePassed: nothing came within `deadline_s` seconds.
        """
        taken = self._take(end, deadline_s, self._asked.get(end))
        if taken is None:
            self._asked.pop(end, None)  # said once: whoever takes again waits for what comes from now on
            return None
        if self._timed and end in self._posted:
            self._took[end] = max(0.0, taken.at - self._posted[end])
        if isinstance(taken.message, Update):
            dates = taken.message.round, datetime.fromtimestamp(taken.at)
            self.set_end_property(end, PROP_ROUND_END_TIME, dates)
        return taken.message

    def took_s(self, end: str) -> float | None:
        """How many seconds after it was posted to the peer's last message came; None where nobody looks at a clock."""
        return self._took.get(end)

    def answered(self, end: str) -> bool:
        """Whether something of a peer can be taken, or it has gone, or has come back since it was posted to."""
        return self._answers(end, self._asked.get(end))

    def next_of(self, end: str) -> Message | None:
        """Wait for the next message of a peer, and leave it to be taken; None if the peer has gone."""
        self._await_message(end, None, self._asked.get(end))
        came = self._inbox.next(end)
        return None if came is None else came.message

    def put(self, source: str, message: Message) -> None:
        """Take in a message; the backend calls this."""
        if self.tally is not None:
            self.tally("recv", CODING.size_of(message))
        self._inbox.put(source, message)

    # -- properties ------------------------------------------------------------------

    def set_property(self, key: str, value: object) -> None:
        """Remember something about the channel; selectors see it."""
        self.properties[key] = value

    def set_end_property(self, end: str, key: str, value: object) -> None:
        """Remember something about a peer."""
        self._end_properties.setdefault(end, {})[key] = value

    def get_end_property(self, end: str, key: str) -> object:
        """What is remembered about a peer; None if nothing is."""
        return self._end_properties.get(end, {}).get(key)

    # -- to be kept ------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        """What must be kept to go on later, as plain values: what has come and was not taken, whom was chosen, ….

        Raises:
            EncodeError: a property of the channel, or of an end, is no plain value.
            PeerLost: a message lies with a peer that has gone.
        """
        properties = {key: value for key, value in self.properties.items() if key not in _NOT_KEPT}
        ends = {
            end: {key: value for key, value in known.items() if key not in _DATES}
            for end, known in self._end_properties.items()
        }
        parts: dict[str, Any] = {
            "inbox": self._inbox.state(),
            "properties": properties,
            "ends": {end: known for end, known in ends.items() if known},
            "selector": {} if self.selector is None else self.selector.state(),
            "packing": {} if self._packing is None else self._packing.state(),
            "sent_bytes": self.sent_bytes,
        }
        return {name: part for name, part in parts.items() if part}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state` returned. Raises DecodeError if there is a message in it that is none."""
        self._inbox.restore(state.get("inbox", ()))
        self.properties.update(state.get("properties", {}))
        for end, properties in state.get("ends", {}).items():
            self._end_properties.setdefault(end, {}).update(properties)
        if self.selector is not None:
            self.selector.restore(state.get("selector", {}))
        if self._packing is not None:
            self._packing.restore(state.get("packing", {}))
        self.sent_bytes = state.get("sent_bytes", 0)

    # -- inside ------------------------------------------------------------------

    def watch(self, changed: Callable[[], None]) -> None:
        """Call `changed()` when a peer joins or leaves."""

        def noticed() -> None:
            self._met = self._met or not self.empty()
            changed()

        self._members.watch(noticed)

    def _post(self, ends: Sequence[str], message: Message, way: str = "send") -> None:
        self.moved += 1
        there = self._members.among(ends)
        if self._seat.role == self._other_role:
            there = [end for end in there if end != self._seat.end]
        if there:
            message = plain(message) if self._packing is None else self._packing.of(message)
        nbytes = self._wiring.backend.send(self._seat.channel, self._seat.end, there, message)
        self.sent_bytes += nbytes
        if self.tally is not None:
            self.tally(way, nbytes)

    def _take(self, end: str, deadline_s: float | None = None, asked: int | None = None) -> Came | None:
        came = self._inbox.take(end)
        if came is None:
            self._await_message(end, deadline_s, asked)
            came = self._inbox.take(end)
        self.moved += 1
        return came

    def _answers(self, end: str, asked: int | None) -> bool:
        """Whether there is nothing to wait for: a message is here, or its sender left after it was asked."""
        if self._inbox.holds(end) or end not in self._members:
            return True
        return asked is not None and asked != self._members.left(end)

    def _await_message(self, end: str, deadline_s: float | None, asked: int | None) -> None:
        def answered() -> bool:
            return self._answers(end, asked)

        def what() -> str:
            return f"a message of {self._wiring.readable(end)} on {self._seat.channel}"

        self.awaited = end
        try:
            if not self._wait(answered, what, deadline_s):
                raise DeadlinePassed(what(), deadline_s or 0.0)
        finally:
            self.awaited = None

    @overload
    def first_of(self, ends: Collection[str]) -> str: ...

    @overload
    def first_of(self, ends: Collection[str], deadline_s: float | None) -> str | None: ...

    def first_of(self, ends: Collection[str], deadline_s: float | None = None) -> str | None:
        """The peer whose message came first, or one that has gone; waits for one, or until `deadline_s` have passed."""

        def ready() -> list[str]:
            return [end for end in ends if self.answered(end)]

        def what() -> str:
            some = ", ".join(self._wiring.readable(end) for end in list(ends)[:5])
            return f"a message of any of {len(ends)} on {self._seat.channel}: {some}"

        if not self._wait(ready, what, deadline_s):
            return None
        return min(ready(), key=self._inbox.number)

    def _wait(self, condition: Callable[[], object], what: Callable[[], str], seconds: float | None) -> bool:
        return self._wiring.hub.wait(condition, what, seconds)


def _opened(came: Came) -> tuple[object, datetime]:
    message = came.message
    return (message.open() if isinstance(message, Sealed) else message), datetime.fromtimestamp(came.at)
