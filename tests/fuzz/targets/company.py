"""A node and those who talk to it: somebody honest, an insider and a stranger."""

from __future__ import annotations

import contextlib
import hashlib
import threading
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import numpy as np

from flame.backend.credentials import proof
from flame.backend.node import Node
from flame.backend.peer import Came, Left, Me
from flame.errors import DecodeError
from flame.wire import speech
from flame.wire.codec import Payload
from flame.wire.speech import MOST_SEATS, Head, Hello, Row
from targets.stream import Hands

TOKEN = b"token"
MOST_HERE = 64 << 20
LIMITS = {"MOST_UNTAKEN": 1 << 10, "MOST_INBOX": 4 << 10}
"""Of what a node keeps of a peer: low enough that an input reaches them."""

STRANGER, BODY, TAKE, TIME, PROOF, AGAIN, HALF, OTHER = (1 << bit for bit in range(8))
"""Bits of the first byte of each thing that is said.

Attributes:
    STRANGER: the stranger says it, not the insider.
    BODY: the next piece is its body.
    TAKE: before it is said, the program takes what has come, and needs none of it.
    TIME: before it is said, time passes: whatever was put off is due.
    PROOF: it is a HELLO, with a proof: of the job's token by the insider, of another one by the stranger.
    AGAIN: not this, but what was said last is said, to the bit.
    HALF: of its body half comes now, and the rest behind whatever comes next, if that comes on another line.
    OTHER: the insider calls once more, and says it there; where it spoke before stays open.
"""


class Heap(list[Any]):
    """Stands for the mailbox."""

    put = list.append


class Impatient(threading.Condition):
    """The courier never waits: whoever it would wait for is it."""

    def wait_for(self, predicate: Callable[[], Any], timeout: float | None = None) -> Any:
        assert predicate(), "the courier's thread waits for itself"
        return True


class Line:
    """A link that remembers what was said on it."""

    def __init__(self, *, lossy: bool, closed: Callable[[Line], None]) -> None:
        self.lossy = lossy
        self.alive = True
        self.greeted = False
        self.peer: object | None = None
        self.told: list[Head] = []
        self._closed = closed

    def send(self, head: Head, body: memoryview | None = None) -> None:
        # As the other side reads it: the sender goes on using its own.
        self.told.append(speech.head_from(speech.encode(head)))

    def close(self, error: Exception | None = None) -> None:
        if self.alive:
            self.alive = False
            if error is not None:
                self._closed(self)


def allocate(nbytes: int) -> np.ndarray[Any, Any]:
    """Memory, as far as there is any: an announcement is no reason to fill it."""
    if nbytes > MOST_HERE:
        raise MemoryError
    return np.empty(nbytes, np.uint8)


def number(end: str, turn: int) -> bytes:
    """What an end calls its session; nobody guesses it, but it is the same in every run."""
    return hashlib.sha256(f"{end} {turn}".encode()).digest()[:16]


def contents(item: object) -> list[bytes]:
    """What the program has of a message."""
    if not isinstance(item, Came):
        return []
    return [bytes(item.payload.header), *(bytes(b) for b in item.payload.buffers if isinstance(b, np.ndarray))]


class Company:
    """A node, its peers `b`, who is honest, and `m`, who is not, and a stranger who does not know the token.

    Args:
        lossy: whether what carries everything may lose it, as a broker does.
    """

    def __init__(self, *, lossy: bool) -> None:
        self.hands, self.heap = Hands(), Heap()
        self._lossy, self._turn, self._bytes, self._lines = lossy, 0, 0, 0
        self.node = Node(Me("job", "here", TOKEN), self.hands, self.heap, allocate, [])  # type: ignore[arg-type]
        self.node.reading.changed = Impatient()
        self._last = Head(speech.BEAT)
        self._half: tuple[Line, Head, memoryview] | None = None
        self._waited = False
        self._had: list[list[bytes]] = []
        self.lines: dict[str, Line] = {"b": self._meet("b"), "m": self._meet("m"), "stranger": self._called()}
        self.honest = self.node.peers["b"]
        self.node.post("param-channel", "here", ["m"], Payload(b"h", [bytes(100_000)]), lazy=True)

    def say(self, how: int, head: Head, body: bytes) -> None:
        """Have the stranger or the insider say something; see the bits above. It calls again if it is sent away."""
        who = "stranger" if how & STRANGER else "m"
        if how & TIME:
            self.hands.pass_time()
        if how & TAKE:
            self._take()
        self.hands.work()
        if how & OTHER and not (how & STRANGER or self._lossy):
            self.lines["m"] = self._back()
        line = self.lines[who]
        if how & AGAIN:
            head = self._last
        elif head.kind == speech.HELLO and how & PROOF:
            head = self._proven(line, head, b"another" if how & STRANGER else TOKEN)
        if head.kind == speech.HELLO and self.honest.session.theirs in head.header:
            return  # what `b` calls its session only the node knows
        self._last = head
        self._bytes += 64 + len(speech.encode(head)) + len(body)
        if self._half is not None and (self._waited or self._half[0] is line):
            self.rest()
        self._waited = True
        if line.alive:
            self._hear(line, head, body, half=bool(how & HALF) and not self._lossy)
        self.hands.work()
        if not self.lines[who].alive:
            self.lines[who] = self._called() if who == "stranger" else self._back()

    def rest(self) -> None:
        """The rest of a body comes, unless the line was closed meanwhile: then nobody reads from it."""
        half, self._half = self._half, None
        if half is not None and half[0].alive:
            line, head, place = half
            place[:] = b"r" * len(place)
            with self._read(line):
                self.node.heard(line, head, None)

    def check(self) -> None:
        """What one peer did the others do not notice, and what it takes is bounded by what it said."""
        node, honest = self.node, self.honest
        assert node.peers["b"] is honest and honest.session.open and honest.links == [self.lines["b"]]
        assert len(honest.seats) == 1 and not node.knows(self.lines["stranger"])
        self._had += [contents(item) for item in self.heap[len(self._had) :]]
        assert self._had == [contents(item) for item in self.heap], "what the program has, changes"
        # Something may be kept of each name, but there is one on a line; and of `x`, who was called.
        assert len(node.peers) <= self._lines + 1
        for item in self.heap:
            assert not isinstance(item, Exception), f"one peer has ended the program: {item}"
            assert not (isinstance(item, Left) and item.number == honest.number)
        for peer in node.peers.values():
            assert peer.waiting <= LIMITS["MOST_INBOX"] and len(peer.seats) <= MOST_SEATS
            assert peer.account.due <= LIMITS["MOST_UNTAKEN"] + self._bytes
        # A buffer that is read is named in some bytes, and has a few pieces on their way.
        assert len(node._wants._open) + node.unsaid <= 10 + 4 * self._bytes

    def end(self) -> None:
        """Everybody goes: nothing is kept of anybody."""
        node = self.node
        while node.peers:
            node.forget(next(iter(node.peers.values())), "the end")
        self.lines.clear()
        self._half = None
        self._take()
        self.hands.rest()
        self.hands.work()
        assert not (node.peers or node._wants._open or node.loans._buffers or node.reading.open or node._intake._eager)

    # -- who is there --------------------------------------------------------------------------------

    def _line(self) -> Line:
        self._lines += 1
        return Line(lossy=self._lossy, closed=lambda line: self.node.dropped(line, certain=False))

    def _called(self) -> Line:
        """The line to whoever is where `x` should be."""
        line = self._line()
        self.node.greet(line, "x")
        return line

    def _meet(self, end: str) -> Line:
        """Call the node as an end that begins anew."""
        line = self._line()
        self._turn += 1
        seats: list[Row] = [("param-channel", "default", "trainer", end)]
        first = Hello(speech.SPEECH, "job", end, number(end, self._turn), b"", 0, seats)
        self._hear(line, Head(speech.HELLO, header=speech.encode(first)))
        self._prove(line, first)
        assert self.node.peers[end].session.open and line.alive
        return line

    def _back(self) -> Line:
        """Call the node as `m`: in the same session if it has not ended."""
        peer = self.node.peers.get("m")
        if peer is None or not peer.session.open:
            return self._meet("m")
        line = self._line()
        line.told.append(Head(speech.HELLO, header=self._hello("here", peer.session.number)))
        self._prove(line, Hello(speech.SPEECH, "job", "m", peer.session.theirs, b"", 0, []))
        return line

    def _hello(self, end: str, mine: bytes) -> bytes:
        return speech.encode(Hello(speech.SPEECH, "job", end, mine, b"", 0, []))

    def _prove(self, line: Line, hello: Hello) -> None:
        head = Head(speech.HELLO, header=speech.encode(hello))
        self._hear(line, self._proven(line, head))

    def _proven(self, line: Line, head: Head, token: bytes = TOKEN) -> Head:
        """A HELLO with what shows that whoever says it knows a token, and has heard what the node said last."""
        told = [said for said in line.told if said.kind == speech.HELLO]
        with contextlib.suppress(DecodeError):
            hello = speech.hello_from(head.header)
            yours = speech.hello_from(told[-1].header).mine if told else b""
            self._turn += 1
            shown = proof(token, "job", hello.end, hello.mine, yours, self._turn)
            whole = msgspec.structs.replace(hello, yours=yours, proof=shown, turn=self._turn)
            return Head(speech.HELLO, header=speech.encode(whole))
        return head

    def _hear(self, line: Line, head: Head, body: bytes = b"", *, half: bool = False) -> None:
        """What whoever owns the connections does with what comes."""
        with self._read(line):
            place = self.node.place_for(line, head, len(body)) if body else None
            if place is not None and half:
                self._half, self._waited = (line, head, place), False
                return
            if place is not None:
                place[:] = body
            self.node.heard(line, head, None if place is not None else body)

    @contextlib.contextmanager
    def _read(self, line: Line) -> Iterator[None]:
        """What is nonsense ends the line, and who is known to speak on it."""
        try:
            yield
        except DecodeError:
            line.alive = False
            if self.node.knows(line):
                self.node.nonsense_on(line)
            self.node.dropped(line, certain=False)

    def _take(self) -> None:
        """Be the program."""
        for item in self.heap:
            if isinstance(item, Came):
                item.account.taken += item.nbytes
                self.hands.call(self.node.go_on, item.number)
        self.heap.clear()
        self._had.clear()
