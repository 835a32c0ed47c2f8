"""A node, and an insider and a stranger who say anything to it; somebody honest is there as well."""

from __future__ import annotations

import contextlib
import hashlib
import threading
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import numpy as np

from flame.backend import node as nodes
from flame.backend.credentials import proof
from flame.backend.node import Node
from flame.backend.peer import Came, Left, Me
from flame.errors import DecodeError
from flame.wire import speech
from flame.wire.codec import Payload
from flame.wire.speech import MOST_SEATS, Head, Hello, Row, Seating
from targets.inputs import cut, joined
from targets.stream import Hands

TOKEN = b"token"
MOST_HERE = 64 << 20
LIMITS = {"MOST_UNTAKEN": 1 << 10, "MOST_INBOX": 16 << 10}
"""Of what a node keeps of a peer: low enough that an input reaches them."""

STRANGER, BODY, TAKE, TIME, PROOF = 1, 2, 4, 8, 16
"""Bits of the first byte of each thing that is said.

Attributes:
    STRANGER: the stranger says it, not the insider.
    BODY: the next piece is its body.
    TAKE: before it is said, the program takes what has come, and needs none of it.
    TIME: before it is said, time passes: whatever was put off is due.
    PROOF: it is a HELLO, and shown to be right: whoever is in the job knows its token.
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


class Company:
    """A node, its peers `b`, who is honest, and `m`, who is not, and a stranger who does not know the token.

    Args:
        lossy: whether what carries everything may lose it, as a broker does.
    """

    def __init__(self, *, lossy: bool) -> None:
        self.hands, self.heap = Hands(), Heap()
        self._lossy, self._turn, self._bytes = lossy, 0, 0
        self.node = Node(Me("job", "here", TOKEN), self.hands, self.heap, allocate, [])  # type: ignore[arg-type]
        self.node.reading.changed = Impatient()
        self.lines: dict[str, Line] = {"b": self._meet("b"), "m": self._meet("m"), "stranger": self._line()}
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
        if head.kind == speech.HELLO:
            if how & PROOF:
                head = self._proven(self.lines[who], head)
            if self.honest.session.theirs in head.header:
                return  # what `b` calls its session only the node knows
        self._bytes += 64 + len(speech.encode(head)) + len(body)
        self._hear(self.lines[who], head, body)
        self.hands.work()
        if not self.lines[who].alive:
            self.lines[who] = self._line() if who == "stranger" else self._back()

    def check(self) -> None:
        """What one peer did the others do not notice, and what it takes is bounded by what it said."""
        node, honest = self.node, self.honest
        assert node.peers["b"] is honest and honest.session.open and honest.links == [self.lines["b"]]
        assert len(honest.seats) == 1
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
        self._take()
        self.hands.rest()
        self.hands.work()
        assert not (node.peers or node._wants._open or node.loans._buffers or node.reading.open or node._intake._eager)

    # -- who is there --------------------------------------------------------------------------------

    def _line(self) -> Line:
        return Line(lossy=self._lossy, closed=lambda line: self.node.dropped(line, certain=False))

    def _meet(self, end: str) -> Line:
        """Call the node as an end that begins anew."""
        line = self._line()
        self._turn += 1
        mine = hashlib.sha256(f"{end} {self._turn}".encode()).digest()[:16]
        seats: list[Row] = [("param-channel", "default", "trainer", end)]
        first = Hello(speech.SPEECH, "job", end, mine, b"", 0, seats)
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

    def _proven(self, line: Line, head: Head) -> Head:
        """A HELLO with what shows that whoever says it knows the token, and has heard what the node said last."""
        told = [said for said in line.told if said.kind == speech.HELLO]
        with contextlib.suppress(DecodeError):
            hello = speech.hello_from(head.header)
            yours = speech.hello_from(told[-1].header).mine if told else b""
            self._turn += 1
            shown = proof(TOKEN, "job", hello.end, hello.mine, yours, self._turn)
            whole = msgspec.structs.replace(hello, yours=yours, proof=shown, turn=self._turn)
            return Head(speech.HELLO, header=speech.encode(whole))
        return head

    def _hear(self, line: Line, head: Head, body: bytes = b"") -> None:
        """What whoever owns the connections does with what comes."""
        try:
            place = self.node.place_for(line, head, len(body)) if body else None
            if place is not None:
                place[:] = body
            self.node.heard(line, head, None if place is not None else body)
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


@contextlib.contextmanager
def lowered() -> Iterator[None]:
    """The limits of what is kept of a peer, as low as above."""
    usual = {name: getattr(nodes, name) for name in LIMITS}
    try:
        for name, limit in LIMITS.items():
            setattr(nodes, name, limit)
        yield
    finally:
        for name, limit in usual.items():
            setattr(nodes, name, limit)


def run_node(data: bytes) -> None:
    """Whatever an insider or a stranger says, there is no error but a DecodeError, and nobody else notices it."""
    _run(data, lossy=False)


def run_broker_node(data: bytes) -> None:
    """The same, where a broker is between them."""
    _run(data, lossy=True)


def _run(data: bytes, *, lossy: bool) -> None:
    with lowered():
        company = Company(lossy=lossy)
        pieces = cut(data)
        for lead in pieces:
            body = next(pieces, b"") if lead[:1] and lead[0] & BODY else b""
            try:
                head = speech.head_from(lead[1:])
            except DecodeError:
                continue
            company.say(lead[0], head, body)
            company.check()
        honest = company.honest
        company.node.heard(company.lines["b"], Head(speech.MESSAGE, 1, 0, "c", "b", ["here"], b"sound", [2]), b"ok")
        company.check()
        came = [item for item in company.heap if isinstance(item, Came) and item.number == honest.number]
        assert [(bytes(one.payload.header), *map(bytes, one.payload.buffers)) for one in came] == [(b"sound", b"ok")]
        company.end()


def node_seeds() -> Iterator[bytes]:
    seats = speech.encode(Seating([("param-channel", "g", "trainer", "m")]))
    peer: list[tuple[Head, bytes]] = [
        (Head(speech.MESSAGE, 1, 0, "param-channel", "m", ["here"], b"h", [2, (9, 70_000)], True), b"ab"),
        (Head(speech.DATA, request=1), b"z" * 70),
        (Head(speech.READ, request=4, lease=1, start=0, length=1000), b""),
        (Head(speech.SEATS, 2, header=seats), b""),
        (Head(speech.MISSING, request=1), b""),
        (Head(speech.RELEASE, 3, 1, lease=1), b""),
        (Head(speech.LEAVE, 4, source="m"), b""),
        (Head(speech.BEAT, heard=1), b""),
    ]
    small = Head(speech.MESSAGE, 1, 0, "param-channel", "m", ["here"], b"", [(1, 5), (2, 3)], True)
    answers = [(small, b""), (Head(speech.DATA, request=1), b"12345"), (Head(speech.DATA, request=2), b"678")]
    many = [(Head(speech.MESSAGE, number, 0, "c", "m", ["here"], b"x" * 600, []), b"") for number in range(1, 5)]
    held = [(Head(speech.MESSAGE, 1, 0, "c", "m", ["here"], b"x", [(1, 9)]), b""), *many[1:], answers[1]]
    for how in (0, TAKE, TIME):
        for row in (peer, peer[::-1], answers, peer[3:5], many, held):
            yield joined(*(piece for head, body in row for piece in said_by(how, head, body)))
    seat: list[Row] = [("c", "g", "r", "x")]
    hello = Hello(speech.SPEECH, "job", "x", b"m" * 16, b"", 0, seat)
    head = Head(speech.HELLO, header=speech.encode(hello))
    heads = [head, Head(speech.BEAT), peer[0][0], Head(speech.REFUSED, header=b"no")]
    yield joined(*(piece for one in heads for piece in said_by(STRANGER, one, b"")))
    # An insider says that it is somebody else: somebody new, somebody who is there, and itself once more.
    for end in ("x", "b", "m"):
        other = Hello(speech.SPEECH, "job", end, b"n" * 16, b"", 0, [(*seat[0][:3], end)])
        head = Head(speech.HELLO, header=speech.encode(other))
        for who in (0, STRANGER):
            yield joined(
                *said_by(who, head, b""), *said_by(who | PROOF, head, b""), *said_by(who | TIME, Head(speech.BEAT), b"")
            )


def said_by(how: int, head: Head, body: bytes) -> Iterator[bytes]:
    """The pieces of one thing that is said."""
    yield bytes([how | (BODY if body else 0)]) + speech.encode(head)
    if body:
        yield body
