"""One process among others: its sessions with them, over whatever links carry what is said.

Everything here happens in the courier's thread. What concerns workers is put down as events for the program's thread:
who is there, who has gone, what has come.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import secrets
import time
import weakref
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from flame.backend.courier import Courier, Mailbox
from flame.backend.directory import Seat
from flame.backend.loans import PIECE, Ask, Bytes, Loans, Reading, Remote, Want, lost
from flame.backend.session import Session
from flame.errors import ChannelError, DecodeError
from flame.wire import speech
from flame.wire.codec import Payload
from flame.wire.reader import as_bytes
from flame.wire.speech import Head, Hello, Seating

logger = logging.getLogger(__name__)

INLINE = 64 << 10
"""A buffer of at most so many bytes travels in its message; a larger one is lent."""

EAGER = 64 << 20
"""So many bytes that could be left with their senders are read at once all the same."""

MOST_LENT = 1 << 40
"""Bytes of the largest buffer that is taken. Memory is filled as bytes come, not because they were promised."""

AT_ONCE = 8
"""How many pieces of one buffer are on their way when it is read whole."""

CONFIRM_AFTER_S = 0.02
"""How long a frame that was heard may wait to be confirmed."""

MOST_KEPT = 4096
"""How many frames a peer may leave unconfirmed before whoever writes to it has to wait."""


class Link(Protocol):
    """Something that carries heads and bodies to one peer."""

    alive: bool
    greeted: bool
    peer: object | None

    @property
    def lossy(self) -> bool:
        """Whether what is said may be lost although the link stays."""

    def send(self, head: Head, body: memoryview | None = None) -> None:
        """Say something."""

    def close(self, error: Exception | None = None) -> None:
        """End it."""


@dataclass(frozen=True, slots=True)
class Joined:
    """A peer has taken seats; `before`, where it has begun anew, is the number of who it was until now."""

    number: int
    seats: list[Seat]
    before: int | None = None


@dataclass(frozen=True, slots=True)
class Left:
    """Ends have gone; `end` None for everybody of the peer. They are `missing` if they may come back by themselves."""

    number: int
    end: str | None
    why: str
    missing: bool = False


@dataclass(frozen=True, slots=True)
class Ended:
    """An end that may have been missing will not come back."""

    end: str


@dataclass(frozen=True, slots=True)
class Came:
    """A message has come."""

    number: int
    channel: str
    source: str
    targets: list[str]
    payload: Payload


@dataclass(frozen=True, slots=True)
class Me:
    """Who this process is.

    Attributes:
        job: the job's id; processes of other jobs are not heard.
        end: the process's own name among its peers.
        token: what only the job's processes know; b"" if everybody may join.
        silence_s: how long a peer may be silent before it counts as gone.
    """

    job: str
    end: str
    token: bytes = b""
    silence_s: float = 10.0


@dataclass(slots=True, eq=False)
class Peer:
    """Another process.

    Attributes:
        number: what the program knows it by.
        session: what was said to it and by it.
        last: when something was heard of it.
        links: everything that leads to it, or is meant to.
        sure: those of the links on which it has shown who it is; newest last.
        turn, heard_turn: how often this side has introduced itself, and which introduction was heard last.
        next: what this side will call the session with a process that begins anew under the same name.
        before: the number of who it was before it began anew, until the program knows.
    """

    number: int
    session: Session[tuple[Head, bytes | None]]
    last: float
    links: list[Link] = field(default_factory=list)
    sure: list[Link] = field(default_factory=list)
    seats: list[Seat] = field(default_factory=list)
    inbox: deque[tuple[Head, bytes | None]] = field(default_factory=deque)
    fetched: list[Bytes | bytes | Remote] | None = None
    confirmed: int = 0
    unconfirmed: int = 0
    leaving: bool = False
    turn: int = 0
    heard_turn: int = 0
    next: bytes = b""
    before: int | None = None

    @property
    def link(self) -> Link | None:
        """The newest link at whose other side the peer is known to be."""
        return self.sure[-1] if self.sure else None


class Whole:
    """A buffer that is being read as a whole.

    Not a pair of functions that know each other: a ring of them would keep the memory until it is collected.
    """

    def __init__(self, remote: Remote, whole: Bytes, size: int, ask: Ask, there: Callable[[], None]) -> None:
        self._remote, self._whole, self._ask, self._there = remote, whole, ask, there
        self._size = size
        self._starts = iter(range(0, remote.nbytes, size))
        self._left = -(-remote.nbytes // size)

    def begin(self) -> None:
        """Ask for the first pieces."""
        if not self._left:
            self._there()
        for _ in range(AT_ONCE):
            self._more()

    def _more(self) -> None:
        start = next(self._starts, None)
        if start is not None:
            view = self._whole.data[start : start + self._size]
            self._ask(self._remote.end, self._remote.lease, start, view, self._came)

    def _came(self, error: Exception | None) -> None:
        if error is not None:
            return  # the peer has gone, and everything of it with it
        self._left -= 1
        if self._left:
            self._more()
        else:
            self._there()


class Node:
    """The courier's side of a network backend.

    Args:
        me: who this process is.
        courier: whose thread this is.
        mailbox: where events are put down.
        allocate: memory for what is read whole.
        addresses: where this process can be reached.
    """

    def __init__(
        self, me: Me, courier: Courier, mailbox: Mailbox, allocate: Callable[[int], Bytes], addresses: list[str]
    ) -> None:
        self.me = me
        self.addresses = addresses
        self.seats: list[Seat] = []
        self.wants: list[tuple[str, str, str]] = []
        self.peers: dict[str, Peer] = {}
        self.loans = Loans()
        self.reading = Reading(lambda *wanted: courier.call(self._ask, *wanted), allocate)
        self.on_lost: Callable[[str, bool], None] = lambda end, certain: None
        self.on_silent: Callable[[str], None] = lambda end: None
        self.may_return: Callable[[str], bool] = lambda end: False
        self.admits: Callable[[Link, str, Sequence[Seat]], str] = lambda link, end, seats: ""
        self.last_read = 0.0
        self._courier, self._mailbox, self._allocate = courier, mailbox, allocate
        self._wants: dict[int, Want] = {}
        self._requests = 0
        self._numbers = 0
        self._eager = 0
        self._to_confirm = self._paused = False
        self._ticked = time.monotonic()
        self._tick()

    # -- asked for by the program --------------------------------------------------------------------

    def sit(self, seats: Sequence[Seat], wants: Sequence[tuple[str, str, str]]) -> None:
        """Take seats, and tell every peer."""
        self.seats += seats
        self.wants += wants
        told = speech.encode(Seating(rows(seats)))
        for peer in list(self.peers.values()):
            if peer.session.open:
                self._say(peer, Head(speech.SEATS, header=told))

    def post(self, channel: str, source: str, targets: Sequence[str], payload: Payload, lazy: bool) -> None:
        """Send a message to ends, wherever they sit; who is nowhere is passed over."""
        away: dict[str, list[str]] = {}
        for target in targets:
            end = self._where(target)
            if end is not None:
                away.setdefault(end, []).append(target)
        if not away:
            return
        template, body = self._pack(channel, source, payload, lazy, list(away))
        for end, ends in away.items():
            head = Head(
                speech.MESSAGE,
                channel=channel,
                source=source,
                targets=ends,
                header=template.header,
                parts=template.parts,
                lazy=lazy,
            )
            self._say(self.peers[end], head, body)

    def leave(self, end: str) -> None:
        """One of this process's ends has gone."""
        self.seats = [seat for seat in self.seats if seat.end != end]
        for peer in list(self.peers.values()):
            if peer.session.open:
                self._say(peer, Head(speech.LEAVE, source=end))

    def gave_back(self, end: str, lease: int) -> None:
        """A buffer that a peer has lent is not needed any longer."""
        peer = self.peers.get(end)
        if peer is not None and peer.session.open:
            self._say(peer, Head(speech.RELEASE, lease=lease))

    def nonsense(self, number: int) -> None:
        """A peer has sent what cannot be read: nothing more is heard of it."""
        for peer in [peer for peer in self.peers.values() if peer.number == number]:
            self.forget(peer, "it sent what is no message")

    def nonsense_on(self, link: Link) -> None:
        """What has come on a link cannot be read: nothing more is heard of whoever is known to be there."""
        if isinstance(link.peer, Peer):
            self.forget(link.peer, "it sent what is no message")

    def fail(self, reason: str) -> None:
        """Something is wrong that the program has to know of."""
        self._mailbox.put(ChannelError(reason))

    def pause(self) -> None:
        """The way to all peers is broken: that nothing is heard of them says nothing about them."""
        self._paused = True

    def resume(self) -> None:
        """The way is open again: whatever may have been lost on it is said again."""
        self._paused = False
        now = time.monotonic()
        for peer in list(self.peers.values()):
            peer.last = now
            if peer.session.open:
                self._say_again(peer)
            else:
                for link in peer.links:
                    self._introduce(link, peer)

    @property
    def unsaid(self) -> int:
        """How many frames are not confirmed by peers that are there."""
        return sum(peer.session.kept for peer in self.peers.values() if peer.session.open and not peer.leaving)

    @property
    def lent(self) -> int:
        """How many buffers peers that are there may still want to read."""
        return self.loans.to([end for end, peer in self.peers.items() if peer.session.open and not peer.leaving])

    # -- links ---------------------------------------------------------------------------------------

    def expect(self, end: str) -> Peer:
        """The peer of that name; made if it is new."""
        peer = self.peers.get(end)
        if peer is None:
            self._numbers += 1
            session: Session[tuple[Head, bytes | None]] = Session(end, secrets.token_bytes(16))
            peer = self.peers[end] = Peer(self._numbers, session, time.monotonic())
        return peer

    def greet(self, link: Link, end: str) -> None:
        """Introduce oneself on a link to a peer whose name is known."""
        peer = self.expect(end)
        self._adopt(link, peer)
        self._introduce(link, peer)

    def heard(self, link: Link, head: Head, body: bytes | None) -> None:
        """Something has come on a link.

        Raises:
            DecodeError: it is nonsense.
        """
        if head.kind == speech.HELLO:
            self._hello(link, speech.hello_from(head.header))
            return
        if head.kind == speech.REFUSED:
            self._refused(link, head)
            return
        peer = link.peer
        if not isinstance(peer, Peer) or link not in peer.sure:
            return  # nobody has been introduced here
        peer.last = time.monotonic()
        if not peer.session.confirmed(head.heard):
            raise DecodeError("the peer confirms what was never said")
        self._handle(peer, link, head, body)

    def place_for(self, link: Link, head: Head, nbytes: int) -> memoryview | None:
        """Where the bytes that follow a head belong.

        Raises:
            DecodeError: they come from somebody who has not shown who it is.
        """
        if not (link.lossy or self.knows(link)):
            raise DecodeError("a body before an introduction")
        want = self._wants.get(head.request) if head.kind == speech.DATA else None
        if want is None or not isinstance(link.peer, Peer) or link.peer.session.end != want.end:
            return None
        return want.view if want.view.nbytes == nbytes else None

    def progress(self, link: Link) -> None:
        """Bytes have come: whoever sends them is alive."""
        if isinstance(link.peer, Peer) and link in link.peer.sure:
            link.peer.last = time.monotonic()

    def knows(self, link: Link) -> bool:
        """Whether the peer at the other side of a link has shown who it is."""
        return isinstance(link.peer, Peer) and link in link.peer.sure

    def dropped(self, link: Link, *, certain: bool) -> None:
        """A link has ended; `certain` if nobody can be behind it any more."""
        peer = link.peer
        if not isinstance(peer, Peer) or link not in peer.links:
            return
        known = link in peer.sure
        self._part(link, peer)
        if peer.links or self.peers.get(peer.session.end) is not peer:
            return
        if peer.leaving or not peer.session.open:
            self.forget(peer, "it has left", missing=not peer.leaving and self.may_return(peer.session.end))
        elif known:
            self.on_lost(peer.session.end, certain)

    def ended(self, end: str, why: str) -> None:
        """The process of that name runs no longer, unless there is a link to it."""
        peer = self.peers.get(end)
        if peer is None:
            self._mailbox.put(Ended(end))
        elif peer.session.open and not peer.links:
            self.forget(peer, why)

    def forget(self, peer: Peer, why: str, *, missing: bool = False) -> None:
        """A peer has gone: nobody waits for it, reads from it or keeps anything for it any more.

        Args:
            peer: who.
            why: what is known of it.
            missing: whether it may come back by itself.
        """
        self._let_go(peer, why)
        if peer.session.open:
            self._mailbox.put(Left(peer.number, None, why, missing))
        elif peer.before is not None:
            self._mailbox.put(Left(peer.before, None, why, missing))

    def _let_go(self, peer: Peer, why: str) -> None:
        end = peer.session.end
        if self.peers.get(end) is peer:
            del self.peers[end]
        for link in list(peer.links):
            self._part(link, peer)
            link.close()
        self.loans.forget(end)
        error = lost(end, why)
        for request, want in [(r, w) for r, w in self._wants.items() if w.end == end]:
            del self._wants[request]
            want.done(error)
        for item in peer.fetched or ():
            if isinstance(item, Remote):
                item.lost = error

    def _part(self, link: Link, peer: Peer) -> None:
        for links in (peer.links, peer.sure):
            if link in links:
                links.remove(link)

    # -- introductions ---------------------------------------------------------------------------------

    def _introduce(self, link: Link, peer: Peer, number: bytes = b"", theirs: bytes = b"") -> None:
        """Say who this is; `number` and `theirs` are what both sides call the session, if not what they did so far."""
        session = peer.session
        number, theirs = number or session.number, theirs or session.theirs
        peer.turn += 1
        link.greeted = bool(theirs)
        hello = Hello(
            speech.SPEECH,
            self.me.job,
            self.me.end,
            number,
            theirs,
            session.heard if number == session.number else 0,
            rows(self.seats),
            [],
            self.addresses,
            proof(self.me.token, self.me.job, self.me.end, number, theirs, peer.turn) if theirs else b"",
            peer.turn,
        )
        link.send(Head(speech.HELLO, header=speech.encode(hello)))

    def _hello(self, link: Link, hello: Hello) -> None:
        seats = [Seat(*row) for row in hello.seats]
        reason = self._unwelcome(hello) or self._claim(link, hello.end, seats)
        if reason:
            self._refuse(link, reason)
            return
        peer = self.expect(hello.end)
        new = peer.session.open and peer.session.theirs != hello.mine
        if new and self._there(peer, link):
            self._refuse(link, f"another process of this job runs as {hello.end}")
            return
        if new and not peer.next:
            peer.next = secrets.token_bytes(16)
        number = peer.next if new else peer.session.number
        if hello.yours != number:
            # It has to show first that it hears what is said to it, and knows the token; until then nothing changes.
            self._introduce(link, peer, number, hello.mine)
            link.greeted = False
        elif not hmac.compare_digest(hello.proof, self._proof_of(hello)):
            self._refuse(link, "it does not know the job's token")
        elif not new and hello.turn <= peer.heard_turn:
            if not link.lossy:
                link.close()  # somebody repeats what was said on another connection
                self.dropped(link, certain=False)
        else:
            self._known(link, self._renewed(peer, link) if new else peer, hello, seats)

    def _known(self, link: Link, peer: Peer, hello: Hello, seats: list[Seat]) -> None:
        """A peer has shown who it is: what is said to it goes this way from now on."""
        peer.session.theirs = hello.mine
        peer.heard_turn = hello.turn
        peer.last = time.monotonic()
        self._adopt(link, peer)
        if link in peer.sure:
            peer.sure.remove(link)
        peer.sure.append(link)
        self._agree(peer, hello, seats)
        if not link.greeted:
            self._introduce(link, peer)
        self._say_again(peer)

    def _there(self, peer: Peer, link: Link) -> bool:
        """Whether a peer has been heard of lately, on another link than this one."""
        others = any(other.alive and other is not link for other in peer.sure)
        return others and time.monotonic() - peer.last < self.me.silence_s / 2

    def _renewed(self, peer: Peer, link: Link) -> Peer:
        """Who has taken the place of a peer: another process, or the same one after it gave this one up."""
        self._part(link, peer)
        self._let_go(peer, "it began anew")
        new = self.expect(peer.session.end)
        new.session.number = peer.next
        new.turn, new.before = peer.turn, peer.number
        return new

    def _proof_of(self, hello: Hello) -> bytes:
        return proof(self.me.token, self.me.job, hello.end, hello.mine, hello.yours, hello.turn)

    def _unwelcome(self, hello: Hello) -> str:
        if hello.job != self.me.job:
            return "it belongs to another job"
        if hello.end == self.me.end:
            return f"another process of this job runs as {hello.end}"
        return ""

    def _claim(self, link: Link, end: str, seats: Sequence[Seat]) -> str:
        """Why a peer may not take some seats; "" if it may."""
        if any(seat.end != end for seat in seats):
            return "it takes seats for somebody else"
        return self.admits(link, end, seats)

    def _refuse(self, link: Link, reason: str) -> None:
        link.send(Head(speech.REFUSED, header=reason.encode()))
        self._courier.later(0.2, lambda: link.close(ConnectionAbortedError(reason)))

    def _refused(self, link: Link, head: Head) -> None:
        """Whoever was called does not want to be; who is there already, or was not called, has nothing to refuse."""
        peer = link.peer
        if not isinstance(peer, Peer) or link not in peer.links or link in peer.sure:
            raise DecodeError("it refuses what nobody asked of it")
        reason = head.header.decode("utf-8", "replace")[:200]
        link.close()
        self.dropped(link, certain=False)
        if link.lossy:
            self.fail(f"refused by a peer: {reason}")
        else:
            # Who is there has not been shown; the rendezvous is the one whose refusal is final.
            logger.warning("%s does not want to be called: %r", peer.session.end, reason)

    def _adopt(self, link: Link, peer: Peer) -> None:
        link.peer = peer
        if link not in peer.links:
            peer.links.append(link)

    def _agree(self, peer: Peer, hello: Hello, seats: list[Seat]) -> None:
        session = peer.session
        if not session.open:
            session.open = True
            self._seat(peer, seats)
        elif not session.confirmed(hello.heard):
            raise DecodeError("the peer has heard what was never said")

    def _say_late(self, peer: Peer, link: Link, now: float) -> None:
        """Say and ask again what has had no answer since the last time that this was looked at."""
        oldest = next(peer.session.again(), None)
        if oldest is not None and oldest[0] == peer.unconfirmed:
            for number, (head, body) in peer.session.again():
                self._send(peer, link, head, number, body)
        peer.unconfirmed = oldest[0] if oldest is not None else 0
        for request, want in self._wants.items():
            if want.end == peer.session.end and now - want.asked > self.me.silence_s / 4:
                want.asked = now
                link.send(_read(request, want, peer.session.heard))

    def _say_again(self, peer: Peer) -> None:
        link = peer.link
        if link is None:
            return
        for number, (head, body) in peer.session.again():
            self._send(peer, link, head, number, body)
        now = time.monotonic()
        for request, want in self._wants.items():
            if want.end == peer.session.end:
                want.asked = now
                link.send(_read(request, want, peer.session.heard))

    def _seat(self, peer: Peer, seats: list[Seat]) -> None:
        peer.seats += seats
        self._mailbox.put(Joined(peer.number, seats, peer.before))
        peer.before = None

    # -- what comes ----------------------------------------------------------------------------------

    def _handle(self, peer: Peer, link: Link, head: Head, body: bytes | None) -> None:
        if head.number:
            peer.inbox.extend(peer.session.hear(head.number, (head, body)))
            if not self._to_confirm:
                self._to_confirm = True
                self._courier.later(CONFIRM_AFTER_S, self._confirm)
            self._pump(peer)
        elif head.kind == speech.READ:
            self._lend_out(peer, link, head)
        elif head.kind in (speech.DATA, speech.MISSING):
            self._read_came(peer, head, body)
        elif head.kind != speech.BEAT:
            raise DecodeError(f"a frame of kind {head.kind} without a number")

    def _pump(self, peer: Peer) -> None:
        """Handle what has come, in order; a message whose buffers are being read holds up those behind it."""
        while peer.inbox:
            head, body = peer.inbox[0]
            if head.kind == speech.MESSAGE:
                if peer.fetched is None:
                    self._fetch(peer, head, body)
                    continue
                if any(item is _PENDING for item in peer.fetched):
                    return
                self._deliver(peer, head)
            elif head.kind == speech.SEATS:
                self._more_seats(peer, [Seat(*row) for row in speech.seating_from(head.header).seats])
            elif head.kind == speech.LEAVE:
                self._end_left(peer, head.source)
            elif head.kind == speech.RELEASE:
                self.loans.back(head.lease, peer.session.end)
            else:
                raise DecodeError(f"a frame of kind {head.kind} with a number")
            peer.inbox.popleft()

    def _more_seats(self, peer: Peer, seats: list[Seat]) -> None:
        reason = "" if peer.link is None else self._claim(peer.link, peer.session.end, seats)
        if reason:
            raise DecodeError(reason)
        self._seat(peer, seats)

    def _end_left(self, peer: Peer, end: str) -> None:
        if not any(seat.end == end for seat in peer.seats):
            return
        peer.seats = [seat for seat in peer.seats if seat.end != end]
        peer.leaving = not peer.seats
        if peer.leaving and peer.link is not None and peer.link.lossy:
            # Nothing is closed when it goes; it waits until it knows that this has been heard.
            self._confirm()
            self._courier.later(1.0, lambda: self.forget(peer, "it has left") if peer.leaving else None)
        self._mailbox.put(Left(peer.number, end, "it has left"))

    def _fetch(self, peer: Peer, head: Head, body: bytes | None) -> None:
        """Find the buffers of a message: in its body, or with the peer."""
        if not (head.header or head.parts):
            raise DecodeError("a message without a header")
        inline, at = memoryview(body or b""), 0
        fetched: list[Bytes | bytes | Remote] = []
        peer.fetched = fetched
        for part in head.parts:
            if isinstance(part, int):
                if not 0 <= part <= len(inline) - at:
                    raise DecodeError("a message's body is shorter than its head says")
                fetched.append(np.frombuffer(inline, np.uint8, part, at))
                at += part
                continue
            lease, nbytes = part
            if not 0 < nbytes <= MOST_LENT:
                raise DecodeError(f"a buffer of {nbytes} bytes; at most {MOST_LENT}")
            remote = Remote(self.reading, peer.session.end, lease, nbytes)
            if head.lazy and (head.header or fetched) and self._eager + nbytes > EAGER:
                weakref.finalize(remote, self._courier.call, self.gave_back, remote.end, lease).atexit = False
                fetched.append(remote)
                continue
            fetched.append(_PENDING)
            self._read_whole(peer, len(fetched) - 1, remote, self._eager_memory(nbytes, head.lazy))
        if at != len(inline):
            raise DecodeError("a message's body is longer than its head says")

    def _eager_memory(self, nbytes: int, lazy: bool) -> Bytes:
        """Memory for a buffer; how much of it holds what could have stayed with its sender is counted."""
        try:
            whole = self._allocate(nbytes)
        except (OSError, MemoryError, ValueError, OverflowError) as error:
            raise DecodeError(f"a buffer of {nbytes} bytes, for which there is no memory") from error
        if lazy:
            self._eager += nbytes
            weakref.finalize(whole, self._courier.call, self._eager_freed, nbytes).atexit = False
        return whole

    def _eager_freed(self, nbytes: int) -> None:
        self._eager -= nbytes

    def _read_whole(self, peer: Peer, place: int, remote: Remote, whole: Bytes) -> None:
        """Read a buffer into this process, a few pieces at a time."""

        def there() -> None:
            if peer.fetched is not None:
                peer.fetched[place] = whole
                self._say(peer, Head(speech.RELEASE, lease=remote.lease))
                self._pump(peer)

        # A broker holds, and copies, whatever is under way.
        size = PIECE >> 2 if peer.link is not None and peer.link.lossy else PIECE
        Whole(remote, whole, size, self._ask, there).begin()

    def _deliver(self, peer: Peer, head: Head) -> None:
        fetched, peer.fetched = peer.fetched or [], None
        header, buffers = (head.header, fetched) if head.header else (as_bytes(fetched[0]).data, fetched[1:])
        payload = Payload(header, buffers)
        self._mailbox.put(Came(peer.number, head.channel, head.source, head.targets, payload))

    # -- reading and lending ---------------------------------------------------------------------------

    def _ask(
        self, end: str, lease: int, start: int, view: memoryview, done: Callable[[Exception | None], None]
    ) -> None:
        peer = self.peers.get(end)
        if peer is None or not peer.session.open:
            done(lost(end, "it went before it was read from"))
            return
        self._requests += 1
        want = self._wants[self._requests] = Want(end, lease, start, view, done, time.monotonic())
        if peer.link is not None:
            peer.link.send(_read(self._requests, want, peer.session.heard))

    def _lend_out(self, peer: Peer, link: Link, head: Head) -> None:
        self.last_read = time.monotonic()
        view = self.loans.view(head.lease, peer.session.end, head.start, head.length)
        if view is None or head.length > speech.MOST_BODY:
            link.send(Head(speech.MISSING, heard=peer.session.heard, request=head.request))
            return
        link.send(Head(speech.DATA, heard=peer.session.heard, request=head.request), view)

    def _read_came(self, peer: Peer, head: Head, body: bytes | None) -> None:
        want = self._wants.get(head.request)
        if want is None or want.end != peer.session.end:
            return
        if head.kind == speech.MISSING:
            del self._wants[head.request]
            want.done(lost(want.end, "it does not have any longer what it has lent"))
            return
        if body is not None:
            if len(body) != want.view.nbytes:
                raise DecodeError(f"{len(body)} bytes came where {want.view.nbytes} were asked for")
            want.view[:] = body
        del self._wants[head.request]
        want.done(None)

    # -- saying --------------------------------------------------------------------------------------

    def _pack(
        self, channel: str, source: str, payload: Payload, lazy: bool, ends: Sequence[str]
    ) -> tuple[Head, bytes | None]:
        """A message's head without targets, and its body; large buffers are lent."""
        parts: list[speech.Part] = []
        inline: list[memoryview] = []
        header = bytes(payload.header) if len(payload.header) <= INLINE else b""
        room = INLINE * 4
        for buffer in (*(() if header else (payload.header,)), *payload.buffers):
            view = as_bytes(buffer).data
            if view.nbytes <= min(INLINE, room) and (header or parts):
                room -= view.nbytes
                parts.append(view.nbytes)
                inline.append(view)
            else:
                parts.append((self.loans.lend(view, ends), view.nbytes))
                self.last_read = time.monotonic()
        body = b"".join(inline)
        return Head(speech.MESSAGE, header=header, parts=parts, lazy=lazy), body or None

    def _where(self, target: str) -> str | None:
        peer = self.peers.get(target)
        if peer is not None:
            return target if peer.session.open else None
        for end, other in self.peers.items():
            if other.session.open and any(seat.end == target for seat in other.seats):
                return end
        return None

    def _say(self, peer: Peer, head: Head, body: bytes | None = None) -> None:
        number = peer.session.say((head, body))
        if peer.link is not None and peer.session.open:
            self._send(peer, peer.link, head, number, body)

    def _send(self, peer: Peer, link: Link, head: Head, number: int, body: bytes | None) -> None:
        head.number, head.heard = number, peer.session.heard
        peer.confirmed = head.heard
        link.send(head, None if body is None else memoryview(body))

    def _tick(self) -> None:
        """Show that this process is alive, and see who is not."""
        now, silence_s = time.monotonic(), self.me.silence_s
        if now - self._ticked > silence_s / 2:
            # This process itself has not run: that it has heard nothing says nothing about others.
            for peer in self.peers.values():
                peer.last = now
        self._ticked = now
        for peer in [] if self._paused else list(self.peers.values()):
            end = peer.session.end
            if now - peer.last > silence_s / 2 and peer.session.open:
                self.on_silent(end)
            if now - peer.last > silence_s:
                self.forget(peer, f"nothing was heard of it for {silence_s:g} s", missing=self.may_return(end))
            elif peer.link is not None and peer.session.open:
                peer.confirmed = peer.session.heard
                peer.link.send(Head(speech.BEAT, heard=peer.session.heard))
                if peer.link.lossy:
                    self._say_late(peer, peer.link, now)
            elif not peer.session.open:
                for link in peer.links:
                    if link.lossy:
                        self._introduce(link, peer)
        self._courier.later(self.me.silence_s / 4, self._tick)

    def _confirm(self) -> None:
        """Confirm what has been heard, where nothing else that was said has done so."""
        self._to_confirm = False
        for peer in self.peers.values():
            if peer.session.heard != peer.confirmed and peer.link is not None and peer.session.open:
                peer.confirmed = peer.session.heard
                peer.link.send(Head(speech.BEAT, heard=peer.session.heard))


_PENDING: Bytes = np.empty(0, np.uint8)
"""Stands for a buffer that is being read."""


def _read(request: int, want: Want, heard: int) -> Head:
    return Head(speech.READ, heard=heard, request=request, lease=want.lease, start=want.start, length=want.view.nbytes)


def rows(seats: Sequence[Seat]) -> list[speech.Row]:
    """Seats as they are written."""
    return [(seat.channel, seat.group, seat.role, seat.end) for seat in seats]


def proof(token: bytes, job: str, end: str, mine: bytes, yours: bytes, turn: int = 0) -> bytes:
    """What shows that whoever calls itself `end` knows the token; b"" without a token.

    Both sides' numbers are random and new, and each turn counts once, so that a proof that was overheard is worth
    nothing afterwards.
    """
    if not token:
        return b""
    words = (job.encode(), end.encode(), mine, yours, str(turn).encode())
    text = b"".join(len(word).to_bytes(4, "big") + word for word in words)
    return hmac.new(token, text, hashlib.sha256).digest()
