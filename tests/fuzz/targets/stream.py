"""What lies between a socket and a node: frames on a stream, and the order of what is numbered."""

from __future__ import annotations

import socket
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

from flame.backend.session import MOST_EARLY, MOST_EARLY_BYTES, Session
from flame.backend.tcp import READ, Connection
from flame.errors import DecodeError
from flame.wire import speech
from flame.wire.speech import MOST_BODY, MOST_HEAD, PREFIX, Head

MOST_STREAM = 100 << 10
"""Bytes of a stream: what a socket pair takes before anybody reads."""


class Hands:
    """Stands for the courier: does what was asked for when it is told to, and time passes when it is told so."""

    def __init__(self) -> None:
        self.ready: Callable[[int], None] = lambda events: None
        self._due: deque[tuple[Callable[..., None], tuple[Any, ...]]] = deque()
        self._timers: list[Callable[[], None]] = []

    def watch(self, fd: Any, events: int, ready: Callable[[int], None]) -> None:
        self.ready = ready

    def forget(self, fd: Any) -> None:
        self.ready = lambda events: None

    def call(self, function: Callable[..., None], *arguments: Any) -> None:
        self._due.append((function, arguments))

    def later(self, seconds: float, function: Callable[[], None]) -> None:
        self._timers.append(function)

    def work(self) -> None:
        """Do what was asked for."""
        while self._due:
            function, arguments = self._due.popleft()
            function(*arguments)

    def pass_time(self) -> None:
        """Everything that was put off is due, once."""
        timers, self._timers = self._timers, []
        for timer in timers:
            timer()

    def rest(self) -> None:
        """Do nothing of what was put off: it holds whoever has asked for it."""
        self._timers.clear()


class Listener:
    """Owns a connection, and remembers what came; some bodies have a place of their own, some heads are nonsense."""

    def __init__(self) -> None:
        self.got: list[tuple[Head, bytes]] = []
        self.place: bytearray | None = None
        self.ends: list[Exception] = []

    def opened(self, link: Connection) -> None: ...

    def progress(self, link: Connection) -> None: ...

    def place_for(self, link: Connection, head: Head, nbytes: int) -> memoryview | None:
        assert 0 < nbytes <= MOST_BODY
        self.place = bytearray(nbytes) if head.request % 2 else None
        return None if self.place is None else memoryview(self.place)

    def heard(self, link: Connection, head: Head, body: bytes | None) -> None:
        if head.kind == speech.REFUSED:
            raise DecodeError("nonsense")
        place, self.place = self.place, None
        assert (body is None) is (place is not None)
        self.got.append((head, bytes(place if body is None else body)))

    def closed(self, link: Connection, error: Exception) -> None:
        self.ends.append(error)


def run_tcp(data: bytes) -> None:
    """However the stream is cut, the same heads and bodies come, up to the first that is none; then it is closed."""
    stream = data[2 : 2 + MOST_STREAM]
    size = max(1 + int.from_bytes(data[:2], "little"), len(stream) // 200)
    expected, broken = parsed(stream)
    hands, owner = Hands(), Listener()
    ours, theirs = socket.socketpair()
    theirs.bind("")  # an address of its own, as every TCP socket has one
    with theirs:
        link = Connection(hands, ours, owner)  # type: ignore[arg-type]
        hands.ready(READ)
        for at in range(0, len(stream), size):
            if link.alive:
                theirs.sendall(stream[at : at + size])
                hands.ready(READ)
        assert owner.got == expected
        assert link.alive is not broken and len(owner.ends) == int(broken)
        assert not broken or isinstance(owner.ends[0], DecodeError)
        theirs.shutdown(socket.SHUT_WR)
        hands.ready(READ)
        assert not link.alive and len(owner.ends) == 1


def parsed(stream: bytes) -> tuple[list[tuple[Head, bytes]], bool]:
    """What a stream says, read as a whole, and whether it then breaks the rules."""
    found: list[tuple[Head, bytes]] = []
    at = 0
    while at + PREFIX.size <= len(stream):
        head_bytes, body_bytes = PREFIX.unpack_from(stream, at)
        if not 0 < head_bytes <= MOST_HEAD or body_bytes > MOST_BODY:
            return found, True
        at += PREFIX.size
        if len(stream) < at + head_bytes:
            break
        try:
            head = speech.head_from(stream[at : at + head_bytes])
        except DecodeError:
            return found, True
        at += head_bytes
        if len(stream) < at + body_bytes:
            break
        if head.kind == speech.REFUSED:
            return found, True
        found.append((head, stream[at : at + body_bytes]))
        at += body_bytes
    return found, False


def frame(head: Head, body: bytes = b"") -> bytes:
    """A head and its body as a stream carries them."""
    data = speech.encode(head)
    return PREFIX.pack(len(data), len(body)) + data + body


def tcp_seeds() -> Iterator[bytes]:
    beats = frame(Head(speech.BEAT, heard=3)) * 3
    data = frame(Head(speech.DATA, request=1), b"x" * 3000) + frame(Head(speech.DATA, request=2), b"y" * 40)
    for size in (0, 6, 4000):
        yield size.to_bytes(2, "little") + beats + data + beats
    yield b"\xff\xff" + frame(Head(speech.DATA, request=1), b"x" * 20_000) + beats
    yield b"\xff\xff" + frame(Head(speech.MESSAGE, header=b"h" * 40_000), b"y") + frame(Head(speech.REFUSED))


def run_session(data: bytes) -> None:
    """Whatever numbers come in whatever order, frames come out once, in order, and few are kept."""
    session = Session[int]("b", b"1", lambda number: abs(number) << 12)
    out: list[int] = []
    said = confirmed = 0
    for at in range(0, len(data) - 2, 3):
        act, number = data[at] % 4, int.from_bytes(data[at + 1 : at + 3], "little", signed=True)
        if act == 0:
            said = session.say(number)
        elif act == 1:
            assert session.confirmed(number) is (number <= said)
            confirmed = max(confirmed, number if number <= said else 0)
        elif act == 2:
            ready = session.hear(number, number)
            assert len(ready) <= MOST_EARLY + 1
            assert sum(ready[1:]) << 12 <= MOST_EARLY_BYTES
            out += ready
        else:
            # The next one, as it comes when nothing is lost.
            out += session.hear(session.heard + 1, session.heard + 1)
        assert session.kept == said - confirmed
    assert out == list(range(1, session.heard + 1))
    assert [number for number, _ in session.again()] == list(range(confirmed + 1, said + 1))


def session_seeds() -> Iterator[bytes]:
    def act(*pairs: tuple[int, int]) -> bytes:
        return b"".join(bytes([kind]) + number.to_bytes(2, "little", signed=True) for kind, number in pairs)

    yield act((0, 1), (0, 2), (1, 1), (1, 2), (1, 3), (2, 1), (2, 3), (2, 2), (3, 0))
    yield act((2, -1), (2, 0), (1, -5), (2, 5), (2, 5), (3, 0), (3, 0), (3, 0), (3, 0))
    yield act(*((2, number) for number in (20_000, 9_000, 5_000, 2)), (3, 0), (2, 3))
