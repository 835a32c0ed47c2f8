"""How two processes get to know each other on a link.

Both say who they are and what they call the session; neither is believed before it has shown that it hears what is said
to it and, where the job has a token, that it knows it. Until then nothing changes for those who are known already.
"""

from __future__ import annotations

import logging
import os
import time
import weakref
from collections.abc import Callable, Sequence
from typing import Protocol

from flame.backend.courier import Courier
from flame.backend.credentials import proof, same
from flame.backend.directory import Seat
from flame.backend.peer import Link, Me, Peer, rows
from flame.errors import DecodeError
from flame.wire import speech
from flame.wire.speech import Head, Hello

logger = logging.getLogger(__name__)


class Company(Protocol):
    """Who keeps the peers."""

    me: Me
    seats: list[Seat]
    addresses: list[str]
    admits: Callable[[Link, str, Sequence[Seat]], str]

    def expect(self, end: str) -> Peer:
        """The peer of that name; made if it is new."""

    def let_go(self, peer: Peer, why: str) -> None:
        """Keep nothing of a peer any longer."""

    def dropped(self, link: Link, *, certain: bool) -> None:
        """A link has ended."""

    def met(self, peer: Peer, seats: list[Seat]) -> None:
        """The session with a peer is open."""

    def say_again(self, peer: Peer) -> None:
        """Say whatever is not confirmed."""


class Introductions:
    """What is said on a link before anything else.

    Args:
        company: who keeps the peers.
        courier: whose thread this is.
    """

    def __init__(self, company: Company, courier: Courier) -> None:
        self._company, self._courier = company, courier
        self._me = company.me
        self._names: weakref.WeakKeyDictionary[Link, str] = weakref.WeakKeyDictionary()

    def introduce(self, link: Link, peer: Peer, number: bytes = b"", theirs: bytes = b"") -> None:
        """Say who this is; `number` and `theirs` are what both sides call the session, if not what they did so far."""
        me, session = self._me, peer.session
        number, theirs = number or session.number, theirs or session.theirs
        peer.turn += 1
        link.greeted = bool(theirs)
        hello = Hello(
            speech.SPEECH,
            me.job,
            me.end,
            number,
            theirs,
            session.heard if number == session.number else 0,
            rows(self._company.seats),
            [],
            self._company.addresses,
            proof(me.token, me.job, me.end, number, theirs, peer.turn) if theirs else b"",
            peer.turn,
        )
        link.send(Head(speech.HELLO, header=speech.encode(hello)))

    def hello(self, link: Link, hello: Hello) -> None:
        """Somebody says who it is.

        Raises:
            DecodeError: it has heard what was never said, or has said another name before: something is kept of each
                name for a while, and there is no end of names.
        """
        if self._names.setdefault(link, hello.end) != hello.end:
            raise DecodeError("it introduces itself under another name than before")
        seats = [Seat(*row) for row in hello.seats]
        reason = self._unwelcome(hello) or self.claim(link, hello.end, seats)
        if reason:
            self._refuse(link, reason)
            return
        peer = self._company.expect(hello.end)
        new = peer.session.open and peer.session.theirs != hello.mine
        if new and self._there(peer, link):
            self._refuse(link, f"another process of this job runs as {hello.end}")
            return
        if new and not peer.next:
            peer.next = os.urandom(16)
        number = peer.next if new else peer.session.number
        if hello.yours != number:
            # It has to show first that it hears what is said to it, and knows the token; until then nothing changes.
            self.introduce(link, peer, number, hello.mine)
            link.greeted = False
        elif not self._proves(hello):
            self._refuse(link, "it does not know the job's token")
        elif not new and hello.turn <= peer.heard_turn:
            if not link.lossy:
                link.close()  # somebody repeats what was said on another connection
                self._company.dropped(link, certain=False)
        else:
            self._known(link, self._renewed(peer, link) if new else peer, hello, seats)

    def refused(self, link: Link, head: Head) -> None:
        """Whoever was called does not want to be; who it is has not been shown, so that it is only said.

        Raises:
            DecodeError: it is there already, or was not called: it has nothing to refuse.
        """
        peer = link.peer
        if not isinstance(peer, Peer) or link not in peer.links or link in peer.sure:
            raise DecodeError("it refuses what nobody asked of it")
        reason = head.header.decode("utf-8", "replace")[:200]
        logger.warning("%s does not want to be called: %r", peer.session.end, reason)
        link.close()
        self._company.dropped(link, certain=False)

    def claim(self, link: Link, end: str, seats: Sequence[Seat]) -> str:
        """Why a peer may not take some seats; "" if it may."""
        if any(seat.end != end for seat in seats):
            return "it takes seats for somebody else"
        return self._company.admits(link, end, seats)

    def _known(self, link: Link, peer: Peer, hello: Hello, seats: list[Seat]) -> None:
        """A peer has shown who it is: what is said to it goes this way from now on."""
        peer.session.theirs = hello.mine
        peer.heard_turn = hello.turn
        peer.last = time.monotonic()
        peer.adopt(link)
        if link in peer.sure:
            peer.sure.remove(link)
        peer.sure.append(link)
        if not peer.session.open:
            self._company.met(peer, seats)
        elif not peer.session.confirmed(hello.heard):
            raise DecodeError("the peer has heard what was never said")
        if not link.greeted:
            self.introduce(link, peer)
        self._company.say_again(peer)

    def _there(self, peer: Peer, link: Link) -> bool:
        """Whether a peer has been heard of lately, on another link than this one."""
        others = any(other.alive and other is not link for other in peer.sure)
        return others and time.monotonic() - peer.last < self._me.silence_s / 2

    def _renewed(self, peer: Peer, link: Link) -> Peer:
        """Who has taken the place of a peer: another process, or the same one after it gave this one up."""
        peer.part(link)
        self._company.let_go(peer, "it began anew")
        new = self._company.expect(peer.session.end)
        new.session.number = peer.next
        new.turn, new.before = peer.turn, peer.number
        return new

    def _proves(self, hello: Hello) -> bool:
        me = self._me
        return same(hello.proof, proof(me.token, me.job, hello.end, hello.mine, hello.yours, hello.turn))

    def _unwelcome(self, hello: Hello) -> str:
        if hello.job != self._me.job:
            return "it belongs to another job"
        if hello.end == self._me.end:
            return f"another process of this job runs as {hello.end}"
        return ""

    def _refuse(self, link: Link, reason: str) -> None:
        link.send(Head(speech.REFUSED, header=reason.encode()))
        self._courier.later(0.2, lambda: link.close(ConnectionAbortedError(reason)))
