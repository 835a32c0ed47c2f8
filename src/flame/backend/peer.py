"""What is known of one other process, and what of it the program is told."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from flame.backend.directory import Seat
from flame.backend.intake import Buffers
from flame.backend.session import Session
from flame.wire.codec import Payload
from flame.wire.speech import Head, Row

Frame = tuple[Head, bytes | None]
"""A head and its body."""


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


@dataclass(slots=True)
class Account:
    """How much of a peer's messages the program has yet to take.

    Each thread writes to its own half only.

    Attributes:
        put: bytes that the courier has put down, ever.
        taken: bytes that the program has taken, ever.
        full: whether the courier waits for the program before it puts down more.
    """

    put: int = 0
    taken: int = 0
    full: bool = False

    @property
    def due(self) -> int:
        """Bytes that wait."""
        return self.put - self.taken


@dataclass(slots=True, eq=False)
class Peer:
    """Another process.

    Attributes:
        number: what the program knows it by.
        session: what was said to it and by it.
        last: when something was heard of it.
        links: everything that leads to it, or is meant to.
        sure: those of the links on which it has shown who it is; newest last.
        inbox, waiting: frames that are in order and not handled yet, and how many bytes they are.
        buffers: those of the message at the head of the inbox.
        took: how many seconds the piece that came last was on its way.
        again: when it was last looked at what is to be said again.
        turn, heard_turn: how often this side has introduced itself, and which introduction was heard last.
        next: what this side will call the session with a process that begins anew under the same name.
        before: the number of who it was before it began anew, until the program knows.
    """

    number: int
    session: Session[Frame]
    last: float
    links: list[Link] = field(default_factory=list)
    sure: list[Link] = field(default_factory=list)
    seats: list[Seat] = field(default_factory=list)
    inbox: deque[Frame] = field(default_factory=deque)
    waiting: int = 0
    buffers: Buffers | None = None
    account: Account = field(default_factory=Account)
    confirmed: int = 0
    unconfirmed: int = 0
    took: float = 0.0
    again: float = 0.0
    leaving: bool = False
    turn: int = 0
    heard_turn: int = 0
    next: bytes = b""
    before: int | None = None

    @property
    def link(self) -> Link | None:
        """The newest link at whose other side the peer is known to be."""
        return self.sure[-1] if self.sure else None

    def adopt(self, link: Link) -> None:
        """A link leads to it, or is meant to."""
        link.peer = self
        if link not in self.links:
            self.links.append(link)

    def part(self, link: Link) -> None:
        """A link leads to it no longer."""
        for links in (self.links, self.sure):
            if link in links:
                links.remove(link)


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
    """A message has come, of `nbytes` that lie here."""

    number: int
    channel: str
    source: str
    targets: list[str]
    payload: Payload
    account: Account
    nbytes: int


def size_of(frame: Frame) -> int:
    """Bytes of a frame, roughly: what it holds."""
    head, body = frame
    return 64 + len(head.header) + 16 * (len(head.parts) + len(head.targets)) + len(body or b"")


def rows(seats: Sequence[Seat]) -> list[Row]:
    """Seats as they are written."""
    return [(seat.channel, seat.group, seat.role, seat.end) for seat in seats]
