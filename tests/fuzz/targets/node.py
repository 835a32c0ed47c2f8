"""A node, to which an insider and a stranger say anything; somebody honest is there as well."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from flame.backend import node as nodes
from flame.backend.peer import Came
from flame.errors import DecodeError
from flame.wire import speech
from flame.wire.speech import Head, Hello, Seating
from targets.company import AGAIN, BODY, HALF, LIMITS, OTHER, PROOF, STRANGER, TAKE, TIME, Company, number
from targets.inputs import cut, joined


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
        company.rest()
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
    many = [(Head(speech.MESSAGE, number, 0, "c", "m", ["here"], b"x" * 600, []), b"") for number in range(1, 10)]
    held = [(Head(speech.MESSAGE, 1, 0, "c", "m", ["here"], b"x", [(1, 9)]), b""), *many[1:], answers[1]]
    gone = [(Head(speech.LEAVE, 1, source="m"), b""), (Head(speech.BEAT), b"")]
    huge = [(Head(speech.MESSAGE, 1, 0, "c", "m", ["here"], b"h", [(1, 1 << 30)]), b"")]
    for how in (0, TAKE, TIME):
        for row in (peer, peer[::-1], answers, peer[3:5], many, held, gone, huge):
            yield joined(*(piece for head, body in row for piece in said_by(how, head, body)))
    # An answer on two lines at once.
    ask = answers[0][0]
    yield joined(
        *said_by(0, ask, b""),
        *said_by(0, answers[2][0], b"678"),
        *said_by(HALF, answers[1][0], b"12345"),
        *said_by(OTHER, answers[1][0], b"54321"),
    )
    refused = Head(speech.REFUSED, header=b"no")
    for end, mine, heard in (
        *(("x", b"n" * 16, 0), ("b", b"n" * 16, 0), ("here", b"n" * 16, 0), ("m", b"n" * 16, 0)),
        *(("m", number("m", 3), heard) for heard in (0, 1, 9)),
    ):
        hello = Hello(speech.SPEECH, "job", end, mine, b"", heard, [("c", "g", "r", end)])
        head = Head(speech.HELLO, header=speech.encode(hello))
        for who in (0, STRANGER, OTHER):
            says = (who, head), (who | PROOF, head), (AGAIN, head), (who | TIME, Head(speech.BEAT)), (who, refused)
            yield joined(*(piece for how, one in says for piece in said_by(how, one, b"")))


def said_by(how: int, head: Head, body: bytes) -> Iterator[bytes]:
    """The pieces of one thing that is said."""
    yield bytes([how | (BODY if body else 0)]) + speech.encode(head)
    if body:
        yield body
