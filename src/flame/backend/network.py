"""The program's side of a network backend: sends, waits for news, and knows who is where."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

from flame.backend import Sink
from flame.backend.coding import Coding
from flame.backend.courier import Courier, Mailbox
from flame.backend.directory import Directory, Seat
from flame.backend.node import MOST_KEPT, Node
from flame.backend.peer import Came, Ended, Joined, Left, Me
from flame.backend.pool import Pool
from flame.errors import ChannelError, DecodeError, FlameError

T = TypeVar("T")

LOOK_EVERY = 64
"""After so many messages it is seen whether peers keep up."""


class Finder(Protocol):
    """How peers are found and reached."""

    def announce(self, seats: Sequence[Seat], wants: Sequence[tuple[str, str, str]]) -> None:
        """Seats have been taken."""

    def close(self) -> None:
        """Let go of every connection."""


class Network:
    """A backend whose peers are other processes, anywhere.

    Args:
        me: who this process is.
        coding: between messages and bytes.
        pool: memory for what comes.
        finder: makes what finds peers; called once, with the courier's side of this backend.

    Raises:
        ChannelError: the transport cannot begin.
    """

    def __init__(self, me: Me, coding: Coding, pool: Pool, finder: Callable[[Node, Courier], Finder]) -> None:
        self.directory = Directory()
        self.sent_bytes = self.sent_messages = 0
        self._me, self._coding, self._pool = me, coding, pool
        self._sinks: dict[str, Sink] = {}
        self._mailbox = Mailbox()
        self._courier = Courier(f"flame-{me.end[:8]}", self._mailbox.put)
        self._node = Node(me, self._courier, self._mailbox, pool.allocate, [])
        self._finder = finder(self._node, self._courier)
        self._closed = False
        self._courier.start()

    def fileno(self) -> int:
        """Readable when there is news."""
        return self._mailbox.fileno()

    @property
    def pending(self) -> bool:
        """Nothing waits for this side: the courier writes."""
        return False

    @property
    def strangers(self) -> int:
        """Who is known has been met."""
        return 0

    def attach(self, end: str, sink: Sink) -> None:
        """Deliver what is sent to `end` to that sink."""
        self._sinks[end] = sink

    def sit(self, seats: Sequence[Seat], wants: Sequence[tuple[str, str, str]]) -> None:
        """Take seats, and tell whoever has to know."""
        self.directory.seat(seats, 0)
        self._courier.call(self._node.sit, list(seats), list(wants))
        self._courier.call(self._finder.announce, list(seats), list(wants))

    def send(self, channel: str, source: str, targets: Sequence[str], message: object) -> int:
        """Hand a message over; an end that has gone is passed over."""
        away = [target for target in targets if target not in self._sinks]
        for target in targets:
            sink = self._sinks.get(target)
            if sink is not None:
                sink.deliver(channel, source, message)
        if away:
            payload = self._coding.to_payload(message)
            self._courier.call(self._node.post, channel, source, away, payload, self._coding.may_wait(message))
        nbytes = self._coding.size_of(message) * len(targets)
        before, self.sent_messages = self.sent_messages, self.sent_messages + len(targets)
        self.sent_bytes += nbytes
        if before // LOOK_EVERY != self.sent_messages // LOOK_EVERY:
            self._keep_pace()
        return nbytes

    def poll(self, timeout_s: float | None) -> None:
        """Take in what has come; wait at most so long for it.

        Raises:
            ChannelError: this process may not take part, or its courier has failed.
        """
        for item in self._mailbox.take(timeout_s):
            if isinstance(item, Came):
                self._came(item)
            elif isinstance(item, Joined):
                for end in [] if item.before is None else self.directory.ends_in(item.before):
                    self.directory.leave(end)
                self.directory.seat(item.seats, item.number)
            elif isinstance(item, Left):
                for end in self.directory.ends_in(item.number) if item.end is None else [item.end]:
                    self.directory.leave(end, missing=item.missing)
            elif isinstance(item, Ended):
                self.directory.give_up(item.end)
            elif isinstance(item, FlameError):
                raise item
            else:
                raise ChannelError(f"the courier failed: {type(item).__name__}: {item}") from item

    def flush(self) -> None:
        """Return when everything that was sent has been heard, or its peer has gone."""
        while True:
            unsaid, lent, read_at = self._ask(lambda: (self._node.unsaid, self._node.lent, self._node.last_read))
            idle_s = time.monotonic() - read_at
            # What a peer has heard of and does not read it may never read: it is not waited for longer than silence.
            if not unsaid and (not lent or idle_s > self._me.silence_s):
                return
            self.poll(0.02)

    def leave(self, end: str) -> None:
        """One of this process's ends has ended: everybody learns it, after what it has said."""
        self._sinks.pop(end, None)
        self.directory.leave(end)
        self._courier.call(self._node.leave, end)

    def close(self) -> None:
        """Flush, say goodbye, and end every connection."""
        if self._closed:
            return
        self._closed = True
        try:
            self.flush()
            for end in list(self._sinks):
                self.leave(end)
            self.flush()
        except ChannelError:
            pass  # nobody is there to say goodbye to
        self._courier.call(self._finder.close)
        self._courier.stop()
        self._mailbox.close()

    def _came(self, item: Came) -> None:
        item.account.taken += item.nbytes
        if item.account.full:
            self._courier.call(self._node.go_on, item.number)
        if not any(self.directory.meet(item.channel, item.source, end) for end in item.targets):
            return
        if self.directory.host_of(item.source) != item.number:
            return  # it speaks for somebody else
        try:
            message = self._coding.from_payload(item.payload)
        except DecodeError:
            self._courier.call(self._node.nonsense, item.number)
            return
        for end in item.targets:
            sink = self._sinks.get(end)
            # The TAG is the firewall: who shares no group with an end cannot write to it.
            if sink is not None and self.directory.meet(item.channel, item.source, end):
                sink.deliver(item.channel, item.source, message)

    def _keep_pace(self) -> None:
        """Wait until peers have heard most of what was sent."""
        while self._ask(lambda: self._node.unsaid) > MOST_KEPT:
            self.poll(0.01)

    def _ask(self, question: Callable[[], T]) -> T:
        """Have the courier answer something about its side."""
        answered = threading.Event()
        answers: list[T] = []

        def answer() -> None:
            answers.append(question())
            answered.set()

        self._courier.call(answer)
        while not answered.wait(0.5):
            self.poll(0.0)  # raises if the courier has failed
        return answers[0]
