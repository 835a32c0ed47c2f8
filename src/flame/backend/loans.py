"""Large buffers that stay with their sender until the receiver has read them.

A message names what is lent; the receiver reads it in pieces, as much and as often as it likes, and gives it back when
nothing of it is needed any more. So a message is small whatever is in it, an update waits where it was made, and what a
broken connection has lost is simply read again.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flame.errors import DecodeError, PeerLost
from flame.wire import speech
from flame.wire.speech import Head

Bytes = NDArray[np.uint8]

PIECE = 1 << 20
"""Bytes of a piece that is read for its own sake."""

AHEAD = 1
"""How many pieces are on their way while one is being used."""

WINDOW = 2 << 20
"""Bytes of pieces that all updates that are read at once may have on their way."""

SMALLEST_PIECE = 32 << 10


_NOTHING: Bytes = np.empty(0, np.uint8)


class Loans:
    """What this process has lent, and to whom."""

    def __init__(self) -> None:
        self._buffers: dict[int, memoryview] = {}
        self._out: dict[int, dict[str, int]] = {}
        self._next = 1

    def lend(self, buffer: memoryview, ends: Sequence[str]) -> int:
        """Lend a buffer once to each of some peers; returns the lease."""
        lease, self._next = self._next, self._next + 1
        self._buffers[lease] = buffer
        self._out[lease] = dict.fromkeys(ends, 1)
        return lease

    def view(self, lease: int, end: str, start: int, length: int) -> memoryview | None:
        """A piece of what was lent to a peer; None if it was not, or has no such piece."""
        if end not in self._out.get(lease, ()):
            return None
        buffer = self._buffers[lease]
        if not 0 <= start <= start + length <= buffer.nbytes:
            return None
        return buffer[start : start + length]

    def back(self, lease: int, end: str) -> None:
        """A peer needs it no longer."""
        out = self._out.get(lease)
        if out is None or out.pop(end, None) is None:
            return
        if not out:
            del self._out[lease], self._buffers[lease]

    def forget(self, end: str) -> None:
        """A peer has gone: it needs nothing any longer."""
        for lease in [lease for lease, out in self._out.items() if end in out]:
            self.back(lease, end)

    def to(self, ends: Sequence[str]) -> int:
        """How many leases some peers still hold."""
        wanted = set(ends)
        return sum(1 for out in self._out.values() if wanted & out.keys())


@dataclass(slots=True)
class Want:
    """A piece that was asked for and has not come; `on` is the link on which it is coming in."""

    end: str
    lease: int
    start: int
    view: memoryview
    done: Callable[[Exception | None], None]
    asked: float = 0.0
    on: object | None = None


Ask = Callable[[str, int, int, memoryview, Callable[[Exception | None], None]], None]
"""Have a piece read: peer, lease, start, where it goes, what to call with None or what went wrong; any thread may."""


class Wants:
    """Every piece that was asked for and has not come."""

    def __init__(self) -> None:
        self._open: dict[int, Want] = {}
        self._last = 0

    def add(
        self, end: str, lease: int, start: int, view: memoryview, done: Callable[[Exception | None], None]
    ) -> tuple[int, Want]:
        """Note a piece; returns the number of the request, and the piece."""
        self._last += 1
        want = self._open[self._last] = Want(end, lease, start, view, done, time.monotonic())
        return self._last, want

    def of(self, end: str) -> list[tuple[int, Want]]:
        """What a peer was asked for, with the requests' numbers."""
        return [(request, want) for request, want in self._open.items() if want.end == end]

    def wanted(self, request: int, end: str, nbytes: int) -> Want | None:
        """What a peer answers with so many bytes; None if nothing of that size was asked of it."""
        want = self._open.get(request)
        return want if want is not None and (want.end, want.view.nbytes) == (end, nbytes) else None

    def came(self, request: int, end: str, body: bytes | None) -> float | None:
        """A peer has answered; the body is None if it is in its place.

        Returns:
            How many seconds that took; None if nobody waited for it any longer.

        Raises:
            DecodeError: it is of another size than was asked for.
        """
        want = self._open.get(request)
        if want is None or want.end != end:
            return None  # it was asked twice, or somebody else was
        if body is not None:
            if len(body) != want.view.nbytes:
                raise DecodeError(f"{len(body)} bytes came where {want.view.nbytes} were asked for")
            want.view[:] = body
        del self._open[request]
        want.done(None)
        return time.monotonic() - want.asked

    def missing(self, request: int, end: str) -> None:
        """A peer does not have what it was asked for."""
        want = self._open.get(request)
        if want is not None and want.end == end:
            del self._open[request]
            want.done(lost(end, "it does not have any longer what it has lent"))

    def lose(self, end: str, error: Exception) -> None:
        """A peer has gone, and will answer nothing."""
        for request, want in self.of(end):
            del self._open[request]
            want.done(error)


@dataclass(slots=True)
class Reading:
    """Everything that is being read in this process at once: it shares one window."""

    ask: Ask
    allocate: Callable[[int], Bytes]
    changed: threading.Condition = field(default_factory=threading.Condition)
    open: int = 0

    def piece(self) -> int:
        """How large a piece is, so that all who read have a place in the window."""
        share = WINDOW // ((1 + AHEAD) * max(1, self.open))
        return max(SMALLEST_PIECE, min(PIECE, 1 << (share.bit_length() - 1)))


class Remote:
    """A buffer that lies with a peer.

    Any thread may read; one that reads waits until the bytes are there.

    Args:
        reading: what else is being read.
        end: the peer.
        lease: what the peer calls the buffer.
        nbytes: how large it is.
    """

    __slots__ = ("__weakref__", "_asked", "_pieces", "_reading", "_room", "_size", "end", "lease", "lost", "nbytes")

    def __init__(self, reading: Reading, end: str, lease: int, nbytes: int) -> None:
        self.end, self.lease, self.nbytes = end, lease, nbytes
        self.lost: Exception | None = None
        self._reading = reading
        self._pieces: dict[int, Bytes] = {}
        self._room: Bytes = _NOTHING
        self._asked: set[int] = set()
        self._size = 0

    def load(self) -> Bytes:
        """All of it, in memory of this process; raises PeerLost if the peer goes before it has come."""
        whole = self._reading.allocate(self.nbytes)
        left = set(range(0, self.nbytes, PIECE))
        for start in sorted(left):
            self._reading.ask(self.end, self.lease, start, whole.data[start : start + PIECE], self._tick(left, start))
        self._wait(lambda: not left)
        return whole

    def read(self, start: int, out: NDArray[Any]) -> None:
        """Fill an array with the bytes from `start` on; raises PeerLost if the peer goes before they have come.

        Meant to be called with ascending starts: what follows is on its way already.
        """
        view, at = out.reshape(-1).view(np.uint8), start
        if not self._size:
            self._begin()
        while len(view):
            index, within = divmod(at, self._size)
            piece = self._piece(index)
            n = min(len(view), len(piece) - within)
            view[:n] = piece[within : within + n]
            view, at = view[n:], at + n

    def rewind(self) -> None:
        """Forget what has been read, so that it can be read from the start again, or not at all."""
        with self._reading.changed:
            self._pieces.clear()
            self._room = _NOTHING
            if self._size:
                self._size = 0
                self._reading.open -= 1

    def _begin(self) -> None:
        with self._reading.changed:
            self._reading.open += 1
            self._size = self._reading.piece()
            # What was asked for before a rewind, and comes late, goes where it was meant to go: to the old room.
            self._room = np.empty(min((1 + AHEAD) * self._size, self.nbytes), np.uint8)
            self._asked.clear()

    def _piece(self, index: int) -> Bytes:
        size, last = self._size, (self.nbytes - 1) // self._size
        for ahead in range(index, min(index + AHEAD, last) + 1):
            if ahead not in self._asked:
                self._asked.add(ahead)
                start = ahead % (1 + AHEAD) * size  # where the piece before the last was, which has been used
                piece = self._room[start : start + min(size, self.nbytes - ahead * size)]
                self._reading.ask(self.end, self.lease, ahead * size, piece.data, self._keep(ahead, piece))
        self._wait(lambda: index in self._pieces)
        for old in [old for old in self._pieces if old < index]:
            self._pieces.pop(old)
        return self._pieces[index]

    def _keep(self, index: int, piece: Bytes) -> Callable[[Exception | None], None]:
        size = self._size

        def done(error: Exception | None) -> None:
            with self._reading.changed:
                self.lost = error or self.lost
                if size == self._size:
                    self._pieces[index] = piece
                self._reading.changed.notify_all()

        return done

    def _tick(self, left: set[int], start: int) -> Callable[[Exception | None], None]:
        def done(error: Exception | None) -> None:
            with self._reading.changed:
                self.lost = error or self.lost
                left.discard(start)
                self._reading.changed.notify_all()

        return done

    def _wait(self, there: Callable[[], bool]) -> None:
        with self._reading.changed:
            self._reading.changed.wait_for(lambda: there() or self.lost is not None)
        if self.lost is not None:
            raise self.lost


def lost(end: str, why: str) -> PeerLost:
    """What whoever reads is told when the peer has gone."""
    return PeerLost(end, why)


def ask_for(request: int, want: Want, heard: int) -> Head:
    """How a piece is asked for; `heard` is what was heard of the peer."""
    return Head(speech.READ, heard=heard, request=request, lease=want.lease, start=want.start, length=want.view.nbytes)
