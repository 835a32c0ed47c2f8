"""Direct connections between workers, on one machine or many; a rendezvous tells them where the others are.

Whoever joins later calls those who are there. If that does not work, because only one of the two can be reached, the
other one calls a moment later: a worker behind a firewall needs one way out and no way in.
"""

from __future__ import annotations

import errno
import logging
import os
import socket
import time
import weakref
from collections.abc import Sequence
from functools import partial

from flame.backend.courier import Courier
from flame.backend.credentials import proof
from flame.backend.directory import Seat
from flame.backend.node import Node
from flame.backend.peer import Peer, rows
from flame.backend.tcp import Connection, Lines, answer, dial, join, listen, split
from flame.errors import ChannelError, DecodeError
from flame.wire import speech
from flame.wire.speech import Head, Hello, Meeting, Seating

logger = logging.getLogger(__name__)

RENDEZVOUS_PORT = 10104
CALL_AGAIN_AFTER_S = 2.0
"""How long a peer has to call, or to come back, before it is called."""
SAY_SO_EVERY_S = 10.0
"""How often it is said that the rendezvous does not answer."""


PLAIN = Lines()


class PeerToPeer:
    """Finds peers, and makes and takes calls. Everything but the constructor happens in the courier's thread.

    Args:
        node: what is said on the connections.
        courier: whose thread this is.
        rendezvous: its host, or host:port.
        where: where to be reached, as host:port; "" for a free port, on the address that reaches the rendezvous.
        lines: how connections are made.

    Raises:
        ChannelError: `where` or `rendezvous` is no address, or nobody can listen there.
    """

    def __init__(self, node: Node, courier: Courier, rendezvous: str, where: str = "", lines: Lines = PLAIN) -> None:
        self._node, self._courier, self._lines = node, courier, lines
        self._rendezvous = _address(rendezvous or "localhost", RENDEZVOUS_PORT)
        self._door: socket.socket | None = None
        if where:
            self._open(where)
        self._known: dict[str, list[str]] = {}
        self._meeting: Connection | None = None
        self._met = False
        self._attempt = 0
        self._me = os.urandom(16)
        self._told = self._complained = time.monotonic()
        self._calling: set[str] = set()
        self._hosts: dict[str, str] = {}
        self._links: weakref.WeakSet[Connection] = weakref.WeakSet()
        node.on_lost = self._lost
        node.on_silent = self._dial
        node.may_return = lambda end: end in self._known
        node.admits = self._admits
        courier.call(self._begin)

    # -- calls that are made ---------------------------------------------------------------------------

    def _begin(self) -> None:
        self._meet()
        self._courier.later(CALL_AGAIN_AFTER_S, self._look_around)
        self._courier.later(self._node.me.silence_s / 4, self._stay)

    def _meet(self) -> None:
        """Call the rendezvous, again and again."""
        if self._meeting is not None:
            return
        self._told = time.monotonic()
        self._meeting = dial(self._courier, self._rendezvous, self, self._lines.call, attempt=self._attempt)
        self._attempt += 1
        if self._meeting is None:
            self._complain("it cannot be reached")
            self._courier.later(CALL_AGAIN_AFTER_S, self._meet)

    def announce(self, seats: Sequence[Seat], wants: Sequence[tuple[str, str, str]]) -> None:
        """Tell the rendezvous of more seats."""
        if self._met and self._meeting is not None:
            told = speech.encode(Seating(rows(seats), list(wants)))
            self._meeting.send(Head(speech.SEATS, header=told))

    def _look_around(self) -> None:
        """Call everybody who should be there and is not."""
        for end in list(self._known):
            self._call(end)
        self._courier.later(CALL_AGAIN_AFTER_S, self._look_around)

    def _call(self, end: str) -> None:
        """Call a peer whose address is known, unless it is there or being called."""
        peer = self._node.peers.get(end)
        if peer is None or not peer.links:
            self._dial(end)

    def _dial(self, end: str) -> None:
        """Call a peer, unless it is being called; also where there is a connection on which nothing is heard."""
        if end in self._calling:
            return
        for address in self._known.get(end, ()):
            link = dial(self._courier, address, self, self._lines.call)
            if link is not None:
                link.peer = end
                self._links.add(link)
                self._calling.add(end)
                self._courier.later(self._node.me.silence_s, partial(self._give_up, link))
                return

    def _give_up(self, link: Connection) -> None:
        """End a connection at whose other side nobody has shown who it is."""
        if link.alive and not self._node.knows(link):
            link.close(TimeoutError("nobody has introduced itself"))

    def _lost(self, end: str, certain: bool) -> None:
        """The last connection to a peer that had not left has ended."""
        peer = self._node.peers.get(end)
        if peer is None:
            return
        if certain:
            self._node.forget(peer, "its process has ended")
            return
        self._call(end)
        if end not in self._known:
            self._node.ended(end, "the rendezvous does not see it either")

    def _admits(self, link: object, end: str, seats: Sequence[Seat]) -> str:
        assert isinstance(link, Connection)  # there are no others here
        return self._lines.admits(link, self._node.me.job, end, seats)

    # -- calls that are taken ----------------------------------------------------------------------------

    def _open(self, where: str) -> None:
        """Listen for calls."""
        self._door = listen(where)
        self._courier.call(self._courier.watch, self._door, 1, self._taken)

    def _told_where(self, own: str) -> None:
        """Know one's own address: that of the door, or, where it is open on every address, the one just used."""
        assert self._door is not None  # it is open by now
        host, port = self._door.getsockname()[:2]
        self._node.addresses[:] = [join(own if host in ("0.0.0.0", "::") else host, port)]

    def _taken(self, events: int) -> None:
        assert self._door is not None  # it is what was watched
        link = answer(self._courier, self._door, self, self._lines.take)
        if link is not None:
            self._links.add(link)
            self._courier.later(self._node.me.silence_s, partial(self._give_up, link))

    # -- what connections say: flame.backend.tcp.Owner -----------------------------------------------------

    def opened(self, link: Connection) -> None:
        """The connection can be spoken on."""
        if link is self._meeting:
            if self._door is None:
                self._open(join(link.own_address, 0))
            self._told_where(link.own_address)
            return  # the rendezvous speaks first
        if isinstance(link.peer, str):
            self._calling.discard(link.peer)
            self._node.greet(link, link.peer)

    def place_for(self, link: Connection, head: Head, nbytes: int) -> memoryview | None:
        """Where a body belongs."""
        return self._node.place_for(link, head, nbytes)

    def heard(self, link: Connection, head: Head, body: bytes | None) -> None:
        """A head has come, with its body."""
        if link is not self._meeting:
            self._node.heard(link, head, body)
        elif head.kind == speech.HELLO:
            self._introduced(link, speech.hello_from(head.header))
        elif head.kind == speech.MEET:
            self._told_of(speech.meeting_from(head.header))
        elif head.kind == speech.REFUSED:
            self._node.fail(f"refused by the rendezvous: {head.header.decode('utf-8', 'replace')[:200]}")

    def progress(self, link: Connection) -> None:
        """Bytes have come."""
        self._told = time.monotonic() if link is self._meeting else self._told
        self._node.progress(link)

    def closed(self, link: Connection, error: Exception) -> None:
        """A connection has ended."""
        if link is self._meeting:
            self._meeting, self._met = None, False
            self._complain(error)
            self._courier.later(CALL_AGAIN_AFTER_S, self._meet)
            return
        refused = isinstance(error, OSError) and error.errno == errno.ECONNREFUSED
        if isinstance(link.peer, str):
            self._calling.discard(link.peer)
            host = split(link.address)[0]
            # An address that a peer announces may be somebody else's where it is dialled: behind another router.
            if refused and self._hosts.get(link.peer, host) == host:
                self._node.ended(link.peer, "its process has ended")
            return
        if isinstance(link.peer, Peer) and self._node.knows(link):
            self._hosts[link.peer.session.end] = link.their_host
        if isinstance(error, DecodeError) and self._node.knows(link):
            logger.warning("what comes from %s is no message: %s", link.address or "a peer", error)
            self._node.nonsense_on(link)
        self._node.dropped(link, certain=False)

    def _complain(self, error: object) -> None:
        now = time.monotonic()
        if now - self._complained >= SAY_SO_EVERY_S:
            self._complained = now
            logger.warning("the rendezvous at %s does not answer (%s); it is called again", self._rendezvous, error)

    # -- the rendezvous ------------------------------------------------------------------------------------

    def _introduced(self, link: Connection, theirs: Hello) -> None:
        me, mine = self._node.me, self._me
        hello = Hello(
            speech.SPEECH,
            me.job,
            me.end,
            mine,
            theirs.mine,
            0,
            rows(self._node.seats),
            self._node.wants,
            self._node.addresses,
            proof(me.token, me.job, me.end, mine, theirs.mine),
        )
        link.send(Head(speech.HELLO, header=speech.encode(hello)))
        self._met = True

    def _stay(self) -> None:
        """Show the rendezvous that this process is alive, and see whether it is."""
        if self._meeting is not None:
            if time.monotonic() - self._told > self._node.me.silence_s:
                self._meeting.close(ChannelError("nothing was heard of it"))
            elif self._met:
                self._meeting.send(Head(speech.BEAT))
        self._courier.later(self._node.me.silence_s / 4, self._stay)

    def _told_of(self, meeting: Meeting) -> None:
        for end in meeting.gone:
            self._known.pop(end, None)
            self._node.ended(end, "the rendezvous does not see it either")
        for end, addresses in meeting.peers:
            if end != self._node.me.end:
                self._known[end] = addresses
                if meeting.call:
                    self._call(end)

    def close(self) -> None:
        """End every connection."""
        if self._door is not None:
            self._courier.forget(self._door)
            self._door.close()
        if self._meeting is not None:
            self._meeting.close()
        for link in list(self._links):
            link.close()


def _address(text: str, port: int) -> str:
    try:
        return join(*split(text, port))
    except ValueError as error:
        raise ChannelError(f"{text!r} is no host:port: {error}") from error
