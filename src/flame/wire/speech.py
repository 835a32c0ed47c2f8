"""What processes say to each other over a network: small heads, and bodies of bounded size.

A head is msgpack with a fixed schema; a body is the bytes that a DATA head announces. Large arrays never travel in a
message: the sender lends them, and whoever needs them reads them in pieces.
"""

from __future__ import annotations

from struct import Struct
from typing import TypeVar

import msgspec

from flame.errors import DecodeError

T = TypeVar("T")

HELLO, MESSAGE, SEATS, LEAVE, RELEASE, READ, DATA, MISSING, BEAT, REFUSED, MEET = range(11)
"""Kinds of heads. MESSAGE, SEATS, LEAVE, RELEASE and MEET are numbered; the others may be lost or come twice."""

SPEECH = 1
"""The version of this language."""

PREFIX = Struct("<II")
"""On a stream, before every head: bytes of the head, bytes of the body."""

MOST_HEAD = 2 << 20
MOST_BODY = 2 << 20
MOST_SEATS = 4096
MOST_NAME = 256
MOST_ADDRESSES = 4

Place = tuple[str, str, str]
"""Channel, group and role."""

Row = tuple[str, str, str, str]
"""A seat: a place, and who sits there."""

Part = int | tuple[int, int]
"""Bytes of the body that belong to the message itself, or a lease and how many bytes are lent."""


class Head(msgspec.Struct, array_like=True, forbid_unknown_fields=True, omit_defaults=False):
    """What is said. Which fields mean something depends on the kind.

    Attributes:
        kind: one of the kinds above.
        number: its place in the session; 0 for what is not numbered.
        heard: the number up to which the sender has heard everything.
        channel, source, targets: of a MESSAGE; `source` is also who a LEAVE is about.
        header: a MESSAGE's header, or a HELLO, SEATS or MEET.
        parts: a MESSAGE's header and buffers.
        lazy: whether a MESSAGE's buffers may be left with the sender until they are needed.
        request: a READ's number, repeated by its DATA or MISSING.
        lease, start, length: what a READ asks for, and what a RELEASE gives back (`length` times).
    """

    kind: int
    number: int = 0
    heard: int = 0
    channel: str = ""
    source: str = ""
    targets: list[str] = []
    header: bytes = b""
    parts: list[Part] = []
    lazy: bool = False
    request: int = 0
    lease: int = 0
    start: int = 0
    length: int = 0


class Hello(msgspec.Struct, array_like=True, forbid_unknown_fields=True):
    """How a process introduces itself.

    Attributes:
        version: of the language.
        job: the job's id; processes of other jobs are not spoken to.
        end: who it is.
        mine: what it calls the session; random.
        yours: what it believes that the other side calls it; empty if it has not heard yet.
        heard: the number of the last frame that it has heard in the session.
        seats: (channel, group, role, end) of everybody in the process.
        wants: (channel, group, role) of those whom it has to meet; for the rendezvous.
        addresses: where it can be reached, as host:port; empty if it cannot.
        proof: that it knows the job's token, over both numbers and `turn`; empty without a token, or without `yours`.
        turn: how many times it has introduced itself in the session: an introduction counts once.
    """

    version: int
    job: str
    end: str
    mine: bytes
    yours: bytes
    heard: int
    seats: list[Row]
    wants: list[Place] = []
    addresses: list[str] = []
    proof: bytes = b""
    turn: int = 0


class Seating(msgspec.Struct, array_like=True, forbid_unknown_fields=True):
    """A SEATS: places that a process takes later than in its HELLO, and whom it has to meet there."""

    seats: list[Row]
    wants: list[Place] = []


class Meeting(msgspec.Struct, array_like=True, forbid_unknown_fields=True):
    """A MEET: who else shares a group with the receiver.

    Attributes:
        peers: who, and where they can be reached.
        call: whether the receiver is the one to call; otherwise they will.
        gone: who is there no longer.
    """

    peers: list[tuple[str, list[str]]] = []
    call: bool = True
    gone: list[str] = []


encode = msgspec.msgpack.Encoder().encode
_head = msgspec.msgpack.Decoder(Head)
_hello = msgspec.msgpack.Decoder(Hello)
_meeting = msgspec.msgpack.Decoder(Meeting)
_seating = msgspec.msgpack.Decoder(Seating)


def _read(decoder: msgspec.msgpack.Decoder[T], data: bytes | memoryview, what: str) -> T:
    try:
        return decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise DecodeError(f"{what}: {error}") from error


def head_from(data: bytes | memoryview) -> Head:
    """A head; raises DecodeError if it is none."""
    return _read(_head, data, "head")


def hello_from(data: bytes) -> Hello:
    """A HELLO; raises DecodeError if it is none, or of another version."""
    hello = _read(_hello, data, "hello")
    if hello.version != SPEECH:
        raise DecodeError(f"the peer speaks version {hello.version}; here version {SPEECH} is spoken")
    if not 8 <= len(hello.mine) <= 64 or len(hello.yours) > 64 or max(len(hello.seats), len(hello.wants)) > MOST_SEATS:
        raise DecodeError("hello: a session's number of the wrong length, or too many seats")
    if len(hello.addresses) > MOST_ADDRESSES or any(len(name) > MOST_NAME for name in (hello.end, *hello.addresses)):
        raise DecodeError("hello: too many addresses, or a name that is too long")
    return hello


def meeting_from(data: bytes) -> Meeting:
    """A MEET; raises DecodeError if it is none."""
    return _read(_meeting, data, "meeting")


def seating_from(data: bytes) -> Seating:
    """A SEATS; raises DecodeError if it is none."""
    seating = _read(_seating, data, "seats")
    if max(len(seating.seats), len(seating.wants)) > MOST_SEATS:
        raise DecodeError(f"more than {MOST_SEATS} seats")
    return seating
