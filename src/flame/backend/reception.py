"""The rendezvous: who is in a job, in which groups, and where they can be reached. It carries nothing else.

It keeps nothing on disk. When it is started again its workers call it again, and everything is as before; those who
know each other do not need it meanwhile.
"""

from __future__ import annotations

import os
import socket
import time
import weakref
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial

from flame.backend.courier import Courier
from flame.backend.credentials import proof, same
from flame.backend.directory import Seat
from flame.backend.tcp import Connection, Lines, answer
from flame.errors import DecodeError
from flame.wire import speech
from flame.wire.speech import Head, Hello, Meeting

PLAIN = Lines()

AT_ONCE = 1000
"""Of how many others one message tells."""


@dataclass(slots=True, eq=False)
class Guest:
    """A process that has introduced itself; `number` is its own, which nobody else knows."""

    job: str
    end: str
    link: Connection
    addresses: list[str]
    number: bytes
    seats: set[speech.Place] = field(default_factory=set)
    wants: set[speech.Place] = field(default_factory=set)
    last: float = 0.0


class Reception:
    """Tells the processes of every job of each other.

    Args:
        courier: whose thread this is.
        door: a listening socket.
        token: who does not know it is sent away; b"" lets everybody in.
        lines: how connections are made of what is accepted.
        silence_s: how long a process may be silent before it counts as gone.
    """

    def __init__(
        self,
        courier: Courier,
        door: socket.socket,
        token: bytes = b"",
        lines: Lines = PLAIN,
        silence_s: float = 10.0,
    ) -> None:
        door.setblocking(False)
        self._courier, self._door, self._token, self._lines = courier, door, token, lines
        self._silence_s = silence_s
        self._guests: dict[tuple[str, str], Guest] = {}
        self._sitting: dict[tuple[str, speech.Place], dict[str, Guest]] = {}
        self._wanting: dict[tuple[str, speech.Place], dict[str, Guest]] = {}
        self._nonces: dict[Connection, bytes] = {}
        self._links: weakref.WeakSet[Connection] = weakref.WeakSet()
        self._ticked = time.monotonic()
        courier.call(self._begin)

    @property
    def guests(self) -> int:
        """How many processes are there."""
        return len(self._guests)

    def close(self) -> None:
        """End every connection; the door is whose who gave it. In the courier's thread."""
        self._courier.forget(self._door)
        for link in list(self._links):
            link.close()

    def _begin(self) -> None:
        self._courier.watch(self._door, 1, self._taken)
        self._tick()

    def _taken(self, events: int) -> None:
        link = answer(self._courier, self._door, self, self._lines.take)
        if link is not None:
            self._links.add(link)
            self._courier.later(self._silence_s, partial(self._give_up, link))

    def _give_up(self, link: Connection) -> None:
        """End a connection of somebody who does not introduce itself."""
        if link.peer is None:
            link.close(TimeoutError("nobody has introduced itself"))

    def opened(self, link: Connection) -> None:
        """Speak first: what the guest proves is about this number."""
        nonce = self._nonces[link] = os.urandom(16)
        hello = Hello(speech.SPEECH, "", "", nonce, b"", 0, [])
        link.send(Head(speech.HELLO, header=speech.encode(hello)))

    def place_for(self, link: Connection, head: Head, nbytes: int) -> memoryview | None:
        """Nobody sends bodies here."""
        raise DecodeError("a body at the rendezvous")

    def heard(self, link: Connection, head: Head, body: bytes | None) -> None:
        """A guest introduces itself, takes more seats, or shows that it is alive."""
        guest = link.peer if isinstance(link.peer, Guest) else None
        if head.kind == speech.HELLO:
            self._introduced(link, speech.hello_from(head.header))
        elif guest is not None and head.kind == speech.SEATS:
            seating = speech.seating_from(head.header)
            reason = self._lines.admits(link, guest.job, guest.end, [Seat(*row) for row in seating.seats])
            if reason:
                raise DecodeError(reason)
            self._seated(guest, [row[:3] for row in seating.seats], seating.wants)
        elif head.kind != speech.BEAT:
            raise DecodeError(f"a frame of kind {head.kind} at the rendezvous")

    def progress(self, link: Connection) -> None:
        """Whoever sends bytes is alive."""
        if isinstance(link.peer, Guest):
            link.peer.last = time.monotonic()

    def closed(self, link: Connection, error: Exception) -> None:
        """A guest has gone, or calls again."""
        self._nonces.pop(link, None)
        if isinstance(link.peer, Guest):
            self._leave(link.peer)

    def _introduced(self, link: Connection, hello: Hello) -> None:
        if isinstance(link.peer, Guest):
            raise DecodeError("a second introduction")
        nonce = self._nonces.pop(link, b"")
        right = proof(self._token, hello.job, hello.end, hello.mine, nonce)
        if self._token and not (hello.yours == nonce and same(hello.proof, right)):
            self._refuse(link, "it does not know the job's token")
            return
        reason = self._lines.admits(link, hello.job, hello.end, [Seat(*row) for row in hello.seats])
        if reason:
            self._refuse(link, reason)
            return
        before = self._guests.get((hello.job, hello.end))
        if before is not None:
            again = before.number == hello.mine  # its connection broke, and that was not noticed here
            if not again and time.monotonic() - before.last < self._silence_s / 2:
                self._refuse(link, f"another process of this job runs as {hello.end}")
                return
            before.link.close()
            self._leave(before, known=again)
        guest = Guest(hello.job, hello.end, link, hello.addresses, hello.mine, last=time.monotonic())
        link.peer = guest
        self._guests[hello.job, hello.end] = guest
        self._seated(guest, [row[:3] for row in hello.seats], hello.wants)

    def _refuse(self, link: Connection, reason: str) -> None:
        link.send(Head(speech.REFUSED, header=reason.encode()))
        self._courier.later(0.2, link.close)

    def _seated(self, guest: Guest, seats: Sequence[speech.Place], wants: Sequence[speech.Place]) -> None:
        """A guest takes seats: it meets those whom it wants there, and those who want it."""
        if max(len(guest.seats) + len(seats), len(guest.wants) + len(wants)) > speech.MOST_SEATS:
            raise DecodeError("too many seats")
        guest.seats.update(seats)
        guest.wants.update(wants)
        for place in seats:
            self._sitting.setdefault((guest.job, place), {})[guest.end] = guest
        for place in wants:
            self._wanting.setdefault((guest.job, place), {})[guest.end] = guest
        met = {o.end: o for place in wants for o in self._sitting.get((guest.job, place), {}).values()}
        met |= {o.end: o for place in seats for o in self._wanting.get((guest.job, place), {}).values()}
        met.pop(guest.end, None)
        others = list(met.values())
        for at in range(0, len(others), AT_ONCE):
            self._tell(guest, Meeting([(o.end, o.addresses) for o in others[at : at + AT_ONCE]], True))
        news = Meeting([(guest.end, guest.addresses)], False)
        for other in others:
            self._tell(other, news)

    def _leave(self, guest: Guest, *, known: bool = False) -> None:
        """A guest is there no longer; others are told, unless it is known to be back already."""
        if self._guests.get((guest.job, guest.end)) is not guest:
            return
        del self._guests[guest.job, guest.end]
        for index, places in ((self._sitting, guest.seats), (self._wanting, guest.wants)):
            for place in places:
                there = index.get((guest.job, place), {})
                there.pop(guest.end, None)
                if not there:
                    index.pop((guest.job, place), None)
        if known:
            return
        wanted = {o.end: o for place in guest.seats for o in self._wanting.get((guest.job, place), {}).values()}
        for other in wanted.values():
            self._tell(other, Meeting([], False, [guest.end]))

    def _tell(self, guest: Guest, meeting: Meeting) -> None:
        guest.link.send(Head(speech.MEET, header=speech.encode(meeting)))

    def _tick(self) -> None:
        now, silence_s = time.monotonic(), self._silence_s
        late, self._ticked = now - self._ticked > silence_s / 2, now
        for guest in list(self._guests.values()):
            if late:
                guest.last = now  # this process itself has not run: that it has heard nothing says nothing
            if now - guest.last > silence_s:
                guest.link.close()
                self._leave(guest)
            else:
                guest.link.send(Head(speech.BEAT))
        self._courier.later(silence_s / 4, self._tick)
