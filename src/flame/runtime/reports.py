"""What a host tells the process that started it: one stream of small records per host."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from typing import Any, Generic, Protocol, TypeVar

import msgspec

_LENGTH = struct.Struct("<I")


class RoundClosed(msgspec.Struct, tag="round", array_like=True):
    """An aggregator at the top has closed a round; times are on the machine's monotonic clock, if not simulated."""

    worker: str
    number: int
    rounds: int
    start: float
    end: float
    asked: int
    folded: int
    nbytes: int
    simulated_s: float | None = None


class Measured(msgspec.Struct, tag="metrics", array_like=True):
    """What workers measured: (worker, role, dataset, round, time, values)."""

    rows: list[tuple[str, str, str, int, float, dict[str, Any]]]


class Failed(msgspec.Struct, tag="failed", array_like=True):
    """A worker raised."""

    worker: str
    role: str
    traceback: str


class Progress(msgspec.Struct, tag="progress", array_like=True):
    """How far a host is."""

    finished: int
    nbytes: int
    messages: int


class Idle(msgspec.Struct, tag="idle", array_like=True):
    """Nobody in the host can run: since when, frames sent and received so far, and who waits for what."""

    at: float
    sent: int
    received: int
    waits: list[tuple[str, str]]


class Done(msgspec.Struct, tag="done", array_like=True):
    """Every worker of the host has ended. Spans are (worker, role, alias, round, start, seconds)."""

    sent: int
    received: int
    nbytes: int
    messages: int
    spans: list[tuple[str, str, str, int, float, float]]
    totals: list[tuple[str, str, int, float]]
    never_asked: int
    peak_bytes: int


class Still(msgspec.Struct, tag="still", array_like=True):
    """Nobody in the host can run, and a checkpoint is due or was asked about.

    Attributes:
        wave: the question that this answers; 0 if nobody asked.
        sent, received: frames so far.
        round: the highest round that a worker waits to be kept after; 0 if none does.
        leads: whether the worker that leads is one of them.
        problem: why this host cannot be kept now, in words; "" if it can.
    """

    wave: int
    sent: int
    received: int
    round: int
    leads: bool
    problem: str


class Kept(msgspec.Struct, tag="kept", array_like=True):
    """The host has written its workers' states: the files, as (path, bytes, digest), and its traffic so far."""

    files: list[tuple[str, int, str]]
    nbytes: int
    messages: int


Report = RoundClosed | Measured | Failed | Progress | Idle | Done | Still | Kept


class Count(msgspec.Struct, tag="count", array_like=True):
    """To a host: say, once nobody in you can run, how many frames you have sent and received."""

    wave: int


class Write(msgspec.Struct, tag="write", array_like=True):
    """To a host: write your workers' states into this folder."""

    folder: str


class GoOn(msgspec.Struct, tag="go on", array_like=True):
    """To a host: whoever waits for a checkpoint goes on."""


Command = Count | Write | GoOn


class Outbox(Protocol):
    """Where a host puts its reports."""

    def send(self, report: Report) -> None:
        """Hand one report over."""


class Stream:
    """A host's end of a stream to the process that started it."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock

    def send(self, report: Report | Command) -> None:
        """Write one report; waits until the other end has taken it."""
        self.sock.sendall(framed(report))


def framed(report: Report | Command) -> bytes:
    """A report as bytes that say how long they are."""
    encoded = _ENCODER.encode(report)
    return _LENGTH.pack(len(encoded)) + encoded


T = TypeVar("T")


class Inbox(Generic[T]):
    """The other end of the stream.

    Args:
        sock: the socket.
        kinds: the union of what may come.
    """

    def __init__(self, sock: socket.socket, kinds: type[T]) -> None:
        self.sock = sock
        self._data = bytearray()
        self._decoder: msgspec.msgpack.Decoder[T] = msgspec.msgpack.Decoder(kinds)
        self.closed = False

    def read(self) -> Iterator[T]:
        """Everything that has come in whole; `closed` is set when the other end is closed."""
        data = self.sock.recv(1 << 18)
        if not data:
            self.closed = True
            return
        self._data += data
        while len(self._data) >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(self._data)
            if len(self._data) < _LENGTH.size + length:
                return
            encoded = bytes(self._data[_LENGTH.size : _LENGTH.size + length])
            del self._data[: _LENGTH.size + length]
            yield self._decoder.decode(encoded)


def unframed(data: bytes) -> Iterator[Report]:
    """Reports that were framed one after the other. Raises msgspec.DecodeError for anything else."""
    decoder, at = msgspec.msgpack.Decoder(Report), 0
    while at < len(data):
        (length,) = _LENGTH.unpack_from(data, at)
        at += _LENGTH.size + length
        yield decoder.decode(data[at - length : at])


def _number(value: object) -> object:
    """Metrics may be numpy or torch scalars: anything that has `item()`."""
    item = getattr(value, "item", None)
    return item() if item is not None else str(value)


_ENCODER = msgspec.msgpack.Encoder(enc_hook=_number)
