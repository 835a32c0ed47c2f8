"""One process among others: its sessions with them, over whatever links carry what is said.

Everything here happens in the courier's thread. What concerns workers is put down as events for the program's thread:
who is there, who has gone, what has come.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence

from flame.backend.courier import Courier, Mailbox
from flame.backend.directory import Seat
from flame.backend.intake import Buffers, Intake
from flame.backend.introductions import Introductions
from flame.backend.loans import PIECE, Bytes, Loans, Reading, Wants, ask_for, lost
from flame.backend.peer import Account, Came, Ended, Frame, Joined, Left, Link, Me, Peer, rows, size_of
from flame.backend.session import Session
from flame.errors import ChannelError, DecodeError
from flame.wire import speech
from flame.wire.codec import Payload
from flame.wire.reader import as_bytes
from flame.wire.speech import MOST_SEATS, Head, Seating

INLINE = 64 << 10
"""A buffer of at most so many bytes travels in its message; a larger one is lent."""

CONFIRM_AFTER_S = 0.02
"""How long a frame that was heard may wait to be confirmed."""

MOST_KEPT = 4096
"""How many frames a peer may leave unconfirmed before whoever writes to it has to wait."""

MOST_UNTAKEN = 256 << 20
"""Bytes of a peer's messages that the program may leave untaken before more of them stay with the peer."""

MOST_INBOX = 1 << 30
"""Bytes of frames that a peer may send all the same: one that sends more is not heard any longer."""


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
        self._courier, self._mailbox = courier, mailbox
        self._wants = Wants()
        self._intake = Intake(self.reading, self._ask, courier.call)
        self._introductions = Introductions(self, courier)
        self._numbers = 0
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
                self.say_again(peer)
            else:
                for link in peer.links:
                    self._introductions.introduce(link, peer)

    def go_on(self, number: int) -> None:
        """The program has taken what a peer has sent: more of it may come."""
        for peer in [peer for peer in self.peers.values() if peer.number == number]:
            try:
                self._pump(peer)
            except DecodeError as error:
                self.forget(peer, f"it sent what is no message: {error}")

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
            session: Session[Frame] = Session(end, os.urandom(16), size_of)
            peer = self.peers[end] = Peer(self._numbers, session, time.monotonic())
        return peer

    def greet(self, link: Link, end: str) -> None:
        """Introduce oneself on a link to a peer whose name is known."""
        peer = self.expect(end)
        peer.adopt(link)
        self._introductions.introduce(link, peer)

    def heard(self, link: Link, head: Head, body: bytes | None) -> None:
        """Something has come on a link; the body is None if it is in its place, b"" if there is none.

        Raises:
            DecodeError: it is nonsense.
        """
        if head.kind == speech.HELLO:
            self._introductions.hello(link, speech.hello_from(head.header))
            return
        if head.kind == speech.REFUSED:
            self._introductions.refused(link, head)
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
        if head.kind != speech.DATA or not isinstance(link.peer, Peer):
            return None
        want = self._wants.wanted(head.request, link.peer.session.end, nbytes)
        if want is None:
            return None
        for other in [other for other in link.peer.sure if other is want.on and other is not link]:
            # It would still write there when this answer has come, and the program has it.
            other.close()
            self.dropped(other, certain=False)
        want.on = link
        return want.view

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
        peer.part(link)
        if peer.links or self.peers.get(peer.session.end) is not peer:
            return
        if peer.leaving or not peer.session.open:
            self.forget(peer, "it has left", missing=not peer.leaving and self.may_return(peer.session.end))
        elif known:
            self.on_lost(peer.session.end, certain)

    def ended(self, end: str, why: str) -> None:
        """The process of that name runs no longer, unless there is a link to it."""
        peer = self.peers.get(end)
        if peer is None or not peer.session.open:  # it may just be called, and not answer
            self._mailbox.put(Ended(end))
        elif not peer.links:
            self.forget(peer, why)

    def forget(self, peer: Peer, why: str, *, missing: bool = False) -> None:
        """A peer has gone: nobody waits for it, reads from it or keeps anything for it any more.

        Args:
            peer: who.
            why: what is known of it.
            missing: whether it may come back by itself.
        """
        self.let_go(peer, why)
        if peer.session.open:
            self._mailbox.put(Left(peer.number, None, why, missing))
        elif peer.before is not None:
            self._mailbox.put(Left(peer.before, None, why, missing))

    def let_go(self, peer: Peer, why: str) -> None:
        """Keep nothing of a peer any longer: it has gone, or begun anew."""
        end = peer.session.end
        if self.peers.get(end) is peer:
            del self.peers[end]
        for link in list(peer.links):
            peer.part(link)
            link.close()
        self.loans.forget(end)
        error = lost(end, why)
        self._wants.lose(end, error)
        if peer.buffers is not None:
            peer.buffers.lose(error)

    def met(self, peer: Peer, seats: list[Seat]) -> None:
        """The session with a peer is open: it sits there."""
        peer.session.open = True
        self._seat(peer, seats)

    # -- saying again --------------------------------------------------------------------------------

    def _say_late(self, peer: Peer, link: Link, now: float) -> None:
        """Say and ask again what has had no answer since the last time that this was looked at.

        On a slow way that is looked at seldom: what is asked for twice comes twice, and makes it slower still.
        """
        silence_s = self.me.silence_s
        wait_s = max(silence_s / 4, min(2 * peer.took, 4 * silence_s))
        if now - peer.again < wait_s:
            return
        peer.again = now
        oldest = next(peer.session.again(), None)
        if oldest is not None and oldest[0] == peer.unconfirmed:
            for number, (head, body) in peer.session.again():
                self._send(peer, link, head, number, body)
        peer.unconfirmed = oldest[0] if oldest is not None else 0
        for request, want in self._wants.of(peer.session.end):
            if now - want.asked > wait_s:
                link.send(ask_for(request, want, peer.session.heard))

    def say_again(self, peer: Peer) -> None:
        """Say and ask again whatever has had no answer."""
        link = peer.link
        if link is None:
            return
        for number, (head, body) in peer.session.again():
            self._send(peer, link, head, number, body)
        now = time.monotonic()
        for request, want in self._wants.of(peer.session.end):
            want.asked = now
            link.send(ask_for(request, want, peer.session.heard))

    def _seat(self, peer: Peer, seats: list[Seat]) -> None:
        peer.seats += seats
        self._mailbox.put(Joined(peer.number, seats, peer.before))
        peer.before = None

    # -- what comes ----------------------------------------------------------------------------------

    def _handle(self, peer: Peer, link: Link, head: Head, body: bytes | None) -> None:
        if head.number:
            for frame in peer.session.hear(head.number, (head, body)):
                peer.inbox.append(frame)
                peer.waiting += size_of(frame)
            if peer.waiting > MOST_INBOX:
                raise DecodeError(f"it has sent {peer.waiting} bytes that nobody has taken yet")
            if not self._to_confirm:
                self._to_confirm = True
                self._courier.later(CONFIRM_AFTER_S, self._confirm)
            self._pump(peer)
        elif head.kind == speech.READ:
            self._lend_out(peer, link, head)
        elif head.kind == speech.DATA:
            peer.took = self._wants.came(head.request, peer.session.end, body) or peer.took
        elif head.kind == speech.MISSING:
            self._wants.missing(head.request, peer.session.end)
        elif head.kind != speech.BEAT:
            raise DecodeError(f"a frame of kind {head.kind} without a number")

    def _pump(self, peer: Peer) -> None:
        """Handle what has come, in order; a message whose buffers are being read holds up those behind it."""
        while peer.inbox:
            head, body = peer.inbox[0]
            if head.kind == speech.MESSAGE and not self._delivered(peer, head, body):
                return
            if head.kind == speech.SEATS:
                self._more_seats(peer, [Seat(*row) for row in speech.seating_from(head.header).seats])
            elif head.kind == speech.LEAVE:
                self._end_left(peer, head.source)
            elif head.kind == speech.RELEASE:
                self.loans.back(head.lease, peer.session.end)
            elif head.kind != speech.MESSAGE:
                raise DecodeError(f"a frame of kind {head.kind} with a number")
            peer.waiting -= size_of(peer.inbox.popleft())

    def _more_seats(self, peer: Peer, seats: list[Seat]) -> None:
        reason = "" if peer.link is None else self._introductions.claim(peer.link, peer.session.end, seats)
        if reason or len(peer.seats) + len(seats) > MOST_SEATS:
            raise DecodeError(reason or f"it takes more than {MOST_SEATS} seats")
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

    def _delivered(self, peer: Peer, head: Head, body: bytes | None) -> bool:
        """Put a message down for the program; False if its buffers are on their way, or the program has enough."""
        if peer.buffers is None:
            if self._full(peer.account):
                return False
            peer.buffers = self._open(peer, head, body)
        if peer.buffers.left:
            return False
        items, nbytes = peer.buffers.items, peer.buffers.nbytes + len(head.header)
        peer.buffers = None
        header, rest = (head.header, items) if head.header else (as_bytes(items[0]).data, items[1:])
        peer.account.put += nbytes
        payload = Payload(header, rest)
        self._mailbox.put(Came(peer.number, head.channel, head.source, head.targets, payload, peer.account, nbytes))
        return True

    def _full(self, account: Account) -> bool:
        """Whether the program has to take something first; it says so when it has."""
        # Said before it is looked: the program either sees it, or has taken what is seen here.
        account.full = True
        account.full = account.due > MOST_UNTAKEN
        return account.full

    def _open(self, peer: Peer, head: Head, body: bytes | None) -> Buffers:
        """Find the buffers of a message: in its body, or with the peer."""

        def there(lease: int) -> None:
            self._say(peer, Head(speech.RELEASE, lease=lease))
            if peer.buffers is not None:
                self._pump(peer)

        def broken(why: str) -> None:
            if self.peers.get(peer.session.end) is peer:
                self.forget(peer, why)

        # A broker holds, and copies, whatever is under way.
        piece = PIECE >> 2 if peer.link is not None and peer.link.lossy else PIECE
        return self._intake.open(
            peer.session.end, head, body, piece=piece, there=there, broken=broken, unused=self.gave_back
        )

    # -- reading and lending ---------------------------------------------------------------------------

    def _ask(
        self, end: str, lease: int, start: int, view: memoryview, done: Callable[[Exception | None], None]
    ) -> None:
        peer = self.peers.get(end)
        if peer is None or not peer.session.open:
            done(lost(end, "it went before it was read from"))
            return
        request, want = self._wants.add(end, lease, start, view, done)
        if peer.link is not None:
            peer.link.send(ask_for(request, want, peer.session.heard))

    def _lend_out(self, peer: Peer, link: Link, head: Head) -> None:
        self.last_read = time.monotonic()
        view = self.loans.view(head.lease, peer.session.end, head.start, head.length)
        if view is None or head.length > speech.MOST_BODY:
            link.send(Head(speech.MISSING, heard=peer.session.heard, request=head.request))
            return
        link.send(Head(speech.DATA, heard=peer.session.heard, request=head.request), view)

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
                        self._introductions.introduce(link, peer)
        self._courier.later(self.me.silence_s / 4, self._tick)

    def _confirm(self) -> None:
        """Confirm what has been heard, where nothing else that was said has done so."""
        self._to_confirm = False
        for peer in self.peers.values():
            if peer.session.heard != peer.confirmed and peer.link is not None and peer.session.open:
                peer.confirmed = peer.session.heard
                peer.link.send(Head(speech.BEAT, heard=peer.session.heard))
