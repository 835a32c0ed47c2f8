"""What a host tells the process that started it: one stream of small records per host."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from typing import Any, Protocol

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


Report = RoundClosed | Measured | Failed | Progress | Idle | Done


class Outbox(Protocol):
    """Where a host puts its reports."""

    def send(self, report: Report) -> None:
        """Hand one report over."""


class Stream:
    """A host's end of a stream to the process that started it."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self._encoder = msgspec.msgpack.Encoder(enc_hook=_number)

    def send(self, report: Report) -> None:
        """Write one report; waits until the other end has taken it."""
        encoded = self._encoder.encode(report)
        self.sock.sendall(_LENGTH.pack(len(encoded)) + encoded)


class Inbox:
    """The starting process's end of the stream."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self._data = bytearray()
        self._decoder = msgspec.msgpack.Decoder(Report)
        self.closed = False

    def read(self) -> Iterator[Report]:
        """Every report that has come in whole; `closed` is set when the host has closed its end."""
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


def _number(value: object) -> object:
    """Metrics may be numpy or torch scalars: anything that has `item()`."""
    item = getattr(value, "item", None)
    return item() if item is not None else str(value)
