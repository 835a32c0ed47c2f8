"""Messages between processes of one machine: words over unix sockets, arrays in shared memory.

No privilege, no daemon, no name in `/dev/shm`: see `pool` and `link`. A peer that ends or is killed closes its socket,
and its ends leave at once.
"""

from __future__ import annotations

import selectors
import socket
from collections.abc import Callable, Mapping, Sequence

from flame.backend import Sink
from flame.backend.coding import Coding
from flame.backend.directory import Directory, Seat
from flame.backend.inproc import InProc
from flame.backend.link import HELLO, LEAVE, MESSAGE, End, Frame, Head, Link
from flame.backend.pool import Pool
from flame.errors import DecodeError
from flame.wire.codec import Payload

MOST_PENDING = 64 << 20
"""Bytes that may wait for one peer before a sender waits for it."""


class SharedMemory:
    """The backend of a host that has neighbours on this machine.

    Args:
        directory: who is where; `host` is this one.
        peers: a connected unix socket for each other host.
        numbered: ends that both sides know by number, so that a long list of targets is short on the wire.
        lost: called with a host's number when its connection ends.
    """

    def __init__(
        self,
        directory: Directory,
        coding: Coding,
        pool: Pool,
        *,
        peers: Mapping[int, socket.socket] | None = None,
        numbered: Sequence[str] = (),
        lost: Callable[[int], None] | None = None,
    ) -> None:
        self.directory = directory
        self.pool = pool
        self._coding = coding
        self._local = InProc(directory, coding.size_of)
        self._links: dict[int, Link] = {}
        self._poller = selectors.DefaultSelector()
        self._ids = list(numbered)
        self._numbers = {end: number for number, end in enumerate(numbered)}
        self._lost = lost
        self._sinks: dict[str, Sink] = {}
        self.sent_bytes = self.sent_messages = 0
        self._stirred = False
        self.on_hello: Callable[[int, Head], None] | None = None
        for host, sock in (peers or {}).items():
            self.connect(host, sock)

    def connect(self, host: int, sock: socket.socket) -> Link:
        """Add a neighbour."""
        link = self._links[host] = Link(host, sock, self.pool)
        self._poller.register(sock, selectors.EVENT_READ, link)
        return link

    def listen(self, sock: socket.socket, accept: Callable[[], None]) -> None:
        """Call `accept()` whenever somebody knocks at a listening socket."""
        self._poller.register(sock, selectors.EVENT_READ, accept)

    def fileno(self) -> int:
        """Readable when there is something to do."""
        return self._poller.fileno()

    @property
    def strangers(self) -> int:
        """Everybody is known from the start."""
        return 0

    def attach(self, end: str, sink: Sink) -> None:
        """Deliver what is sent to `end`, from here or elsewhere, to that sink."""
        self._sinks[end] = sink
        self._local.attach(end, sink)

    def send(self, channel: str, source: str, targets: Sequence[str], message: object) -> int:
        """Hand over to ends in this host, encode once for each other host."""
        away: dict[int, list[End]] = {}
        here: list[str] = []
        for target in targets:
            if target in self._sinks:
                here.append(target)
                continue
            host = self.directory.host_of(target)
            if host is not None and host in self._links:
                away.setdefault(host, []).append(self._numbers.get(target, target))
        if here:
            self._local.hand_over(channel, source, here, message)
        if away:
            payload = self._coding.to_payload(message)
            for host, ends in away.items():
                self._send_away(self._links[host], channel, source, ends, payload)
        nbytes = self._coding.size_of(message) * len(targets)
        self.sent_bytes += nbytes
        self.sent_messages += len(targets)
        return nbytes

    def say(self, host: int, head: Head) -> None:
        """Send a frame without a payload to one neighbour."""
        self._links[host].say(head)

    def leave(self, end: str) -> None:
        """One of this host's ends has ended: everybody learns it."""
        self._sinks.pop(end, None)
        self._local.detach(end)
        self.directory.leave(end)
        for link in self._links.values():
            link.say(Head(LEAVE, source=self._numbers.get(end, end)))

    def poll(self, timeout_s: float | None) -> None:
        """Write what waits, then take in what has come; wait at most so long for it."""
        self._stirred = False
        for host, link in list(self._links.items()):
            if link.has_news and not link.closed:
                self._write(host, link)
            events = selectors.EVENT_READ | (selectors.EVENT_WRITE if link.has_news else 0)
            if not link.closed and self._poller.get_key(link.sock).events != events:
                self._poller.modify(link.sock, events, link)
        # Writing may already have brought news: that a peer has gone, and what it said before.
        for key, events in self._poller.select(0.0 if self._stirred else timeout_s):
            if not isinstance(key.data, Link):
                key.data()
                continue
            link = key.data
            if events & selectors.EVENT_WRITE and not link.closed:
                self._write(link.number, link)
            if events & selectors.EVENT_READ and not link.closed:
                self._read(link.number, link)

    def flush(self) -> None:
        """Return when everything that was sent has been taken by the sockets or its peer has gone."""
        timeout_s = 0.0
        while self.pending:
            self.poll(timeout_s)
            timeout_s = 1.0

    def close(self) -> None:
        """Flush, then close every connection."""
        self.flush()
        for link in self._links.values():
            link.close()
        self._links.clear()
        self._poller.close()
        self.pool.close()

    @property
    def pending(self) -> bool:
        """Whether something waits to be written to a neighbour."""
        # Asked for after every switch: a generator would take twice as long.
        for link in self._links.values():  # noqa: SIM110
            if link.has_news:
                return True
        return False

    @property
    def traffic(self) -> tuple[int, int]:
        """How many frames this host has sent to, and received from, the neighbours that are still there."""
        links = self._links.values()
        return sum(link.sent for link in links), sum(link.received for link in links)

    @property
    def hosts(self) -> list[int]:
        """The neighbours that are still there."""
        return list(self._links)

    def _send_away(self, link: Link, channel: str, source: str, ends: list[End], payload: Payload) -> None:
        link.send(channel, self._numbers.get(source, source), ends, payload)
        while link.pending > MOST_PENDING and not link.closed:
            self.poll(None)

    def _write(self, host: int, link: Link) -> None:
        try:
            link.write()
        except ConnectionError:
            # Nothing can be said to it any more; what it said before it went is still heard.
            self._hear_out(host, link)
            self._gone(host, link)

    def _read(self, host: int, link: Link) -> bool:
        """Take in what has come on a link; whether that was anything. A peer that sends nonsense is dropped."""
        before = link.bytes_read
        try:
            for frame in link.read():
                self._handle(host, frame)
        except (ConnectionError, DecodeError):
            self._gone(host, link)
            return False
        return link.bytes_read > before

    def _hear_out(self, host: int, link: Link) -> None:
        while not link.closed and self._read(host, link):
            pass

    def _handle(self, host: int, frame: Frame) -> None:
        head = frame.head
        if head.kind == MESSAGE:
            self._deliver(frame)
        elif head.kind == LEAVE:
            end = self._name(head.source)
            if self.directory.host_of(end) == host:
                self.directory.leave(end)
        elif head.kind == HELLO and self.on_hello is not None:
            self.on_hello(host, head)

    def _deliver(self, frame: Frame) -> None:
        head, source = frame.head, self._name(frame.head.source)
        message = self._coding.from_payload(Payload(head.header, list(frame.buffers)))
        for target in head.targets:
            end = self._name(target)
            sink = self._sinks.get(end)
            # The TAG is the firewall: who shares no group with an end cannot write to it.
            if sink is not None and self.directory.meet(head.channel, source, end):
                sink.deliver(head.channel, source, message)

    def _name(self, end: End) -> str:
        if isinstance(end, str):
            return end
        if not 0 <= end < len(self._ids):
            raise DecodeError(f"there is no end number {end}")
        return self._ids[end]

    def _gone(self, host: int, link: Link) -> None:
        if link.closed:
            return
        self._stirred = True
        self._poller.unregister(link.sock)
        link.close()
        del self._links[host]
        for other, open_link in list(self._links.items()):
            # Two that met twice have two links: the last words may be on the other one.
            self._hear_out(other, open_link)
        for end in self.directory.ends_in(host):
            self.directory.leave(end)
        if self._lost is not None:
            self._lost(host)


def seats_to_plain(seats: Sequence[Seat]) -> list[End]:
    """Seats as a flat list of strings, as a HELLO carries them."""
    return [word for seat in seats for word in seat]


def seats_from_plain(words: Sequence[End]) -> list[Seat]:
    """The seats of a HELLO.

    Raises:
        DecodeError: the list is not made of seats.
    """
    if len(words) % len(Seat._fields) or not all(isinstance(word, str) for word in words):
        raise DecodeError("a HELLO's seats are four strings each")
    step = len(Seat._fields)
    return [Seat(*map(str, words[at : at + step])) for at in range(0, len(words), step)]
