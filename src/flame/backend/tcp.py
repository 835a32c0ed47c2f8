"""A TCP connection that carries heads and bodies, and never blocks. `guarded` has the one with TLS."""

from __future__ import annotations

import contextlib
import selectors
import socket
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from flame.backend.courier import Courier
from flame.backend.directory import Seat
from flame.errors import ChannelError, DecodeError
from flame.wire.speech import MOST_BODY, MOST_HEAD, PREFIX, Head, encode, head_from

_ROOM = 16 << 10
_A_TURN, _A_TURN_S = 4 << 20, 0.02
"""Bytes read from one connection, or seconds spent on them, before the others get their turn."""

MOST_WAITING = 1 << 16
"""How many heads and bodies may wait for a peer to take them: far more than one that reads leaves waiting."""

READ, WRITE = selectors.EVENT_READ, selectors.EVENT_WRITE


class Owner(Protocol):
    """Whoever a connection belongs to."""

    def opened(self, link: Connection) -> None:
        """The connection can be spoken on."""

    def place_for(self, link: Connection, head: Head, nbytes: int) -> memoryview | None:
        """Where the body of this size belongs that follows the head; None for nowhere in particular."""

    def heard(self, link: Connection, head: Head, body: bytes | None) -> None:
        """A head has come; its body too, None if it is in its place already and b"" if it has none."""

    def progress(self, link: Connection) -> None:
        """Bytes have come."""

    def closed(self, link: Connection, error: Exception) -> None:
        """The connection has ended."""


class Connection:
    """One connection; everything here happens in the courier's thread.

    Args:
        courier: watches the socket.
        sock: a connected socket, or one that is connecting.
        owner: is told what comes.
        address: what was dialled; "" if this side was called.

    Attributes:
        their_host: the other side's address, once it is connected.
    """

    lossy = False

    _busy: tuple[type[Exception], ...] = (BlockingIOError,)
    """What the socket raises when it has nothing, or no room."""

    def __init__(self, courier: Courier, sock: socket.socket, owner: Owner, address: str = "") -> None:
        sock.setblocking(False)
        if sock.family in (socket.AF_INET, socket.AF_INET6):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.address, self.their_host = address, ""
        self.alive = True
        self.greeted = False
        self.peer: object | None = None
        self._courier, self._owner = courier, owner
        self._sock: socket.socket = sock
        self._connecting = bool(address)
        self._open = False
        self._out: deque[memoryview] = deque()
        self._watched = 0
        self._buffer = memoryview(bytearray(_ROOM))
        self._start = self._end = 0
        self._head: Head | None = None
        self._place: memoryview | None = None
        self._own: bytearray | None = None
        self._got = self._due = 0
        self._watch(WRITE if self._connecting else READ | WRITE)

    def send(self, head: Head, body: memoryview | None = None) -> None:
        """Say something; what the socket does not take is kept."""
        if not self.alive:
            return
        data = encode(head)
        self._out.append(memoryview(PREFIX.pack(len(data), 0 if body is None else body.nbytes) + data))
        if body is not None:
            self._out.append(body)
        if len(self._out) <= 2 and self._open:
            self._write()
        elif len(self._out) > MOST_WAITING:
            # Whoever asks and asks and does not listen to the answers would fill the memory.
            self._courier.call(self.close, ConnectionAbortedError("the peer does not read what it is told"))
            self._out.clear()

    @property
    def certificate(self) -> Any:
        """The other side's certificate, as `ssl` reads it; None without TLS."""
        return None

    @property
    def own_address(self) -> str:
        """This side's address."""
        return str(self._sock.getsockname()[0])

    def close(self, error: Exception | None = None) -> None:
        """End the connection; the owner is told if it did not ask for it."""
        if not self.alive:
            return
        self.alive = False
        self._courier.forget(self._sock)
        self._sock.close()
        self._out.clear()
        self._buffer, self._place, self._own = memoryview(b""), None, None
        if error is not None:
            self._owner.closed(self, error)

    # -- inside ------------------------------------------------------------------------------------

    def _ready(self, events: int) -> None:
        try:
            if not self._open:
                self._begin()
                return
            if events & READ:
                self._read()
            if events & WRITE and self.alive:
                self._write()
        except (OSError, DecodeError) as error:
            self.close(error)

    def _begin(self) -> None:
        """The socket can be used, or cannot."""
        if self._connecting:
            code = self._sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if code:
                raise OSError(code, f"cannot connect to {self.address}")
            self._connecting = False
        self.their_host = str(self._sock.getpeername()[0])
        if self._shake():
            self._open = True
            self._watch(READ)
            self._owner.opened(self)
            if self.alive:
                self._write()

    def _shake(self) -> bool:
        """Agree with the other side on how to talk; whether that is done."""
        return True

    def _watch(self, events: int) -> None:
        if events != self._watched:
            self._watched = events
            self._courier.watch(self._sock, events, self._ready)

    def _write(self) -> None:
        try:
            while self._out:
                sent = self._put()
                while self._out and sent >= self._out[0].nbytes:
                    sent -= self._out.popleft().nbytes
                if sent:
                    self._out[0] = self._out[0][sent:]
        except self._busy:
            pass
        except OSError as error:
            # Said from whatever the courier was about to do: the connection ends in a turn of its own.
            self._courier.call(self.close, error)
            self._out.clear()
        self._watch(READ | (WRITE if self._out else 0))

    def _put(self) -> int:
        return self._sock.sendmsg([self._out[at] for at in range(min(16, len(self._out)))])

    def _read(self) -> bool:
        """Take in what has come; whether there may be more that makes no socket readable."""
        taken, ends = 0, time.monotonic() + _A_TURN_S
        more = True
        with contextlib.suppress(*self._busy):
            while more and self.alive:
                got = self._take()
                if not got:
                    raise ConnectionResetError("the peer closed the connection")
                taken += got
                more = taken < _A_TURN and time.monotonic() < ends
        if taken:
            self._owner.progress(self)
        return not more and self.alive

    def _take(self) -> int:
        """Read once, and handle whatever is complete; returns how many bytes came."""
        place = self._place
        if place is not None and self._due - self._got >= _ROOM >> 2:
            got = self._sock.recv_into(place[self._got : self._due])
            self._got += got
            if self._got == self._due:
                self._whole()
            return got
        if self._start == self._end:
            self._start = self._end = 0
        elif self._end == len(self._buffer) or self._start > _ROOM >> 1:
            self._close_ranks()
        got = self._sock.recv_into(self._buffer[self._end :])
        self._end += got
        while self.alive and self._step():
            pass
        return got

    def _close_ranks(self) -> None:
        """Move what is left to the front of the buffer."""
        left = bytes(self._buffer[self._start : self._end])
        self._buffer[: len(left)] = left
        self._start, self._end = 0, len(left)

    def _step(self) -> bool:
        """Handle the next thing in the buffer; False if it is not there yet."""
        have = self._end - self._start
        if self._head is not None:
            n = min(have, self._due - self._got)
            target = self._place if self._place is not None else memoryview(self._own or b"")
            target[self._got : self._got + n] = self._buffer[self._start : self._start + n]
            self._start += n
            self._got += n
            if self._got < self._due:
                return False
            self._whole()
            return True
        if have < PREFIX.size:
            return False
        head_bytes, body_bytes = PREFIX.unpack_from(self._buffer, self._start)
        if not 0 < head_bytes <= MOST_HEAD or body_bytes > MOST_BODY:
            raise DecodeError(f"a frame of {head_bytes} + {body_bytes} bytes is larger than any that is sent")
        if have < PREFIX.size + head_bytes:
            if have == len(self._buffer):
                # Memory is taken as bytes come, not because they were promised.
                self._widen(min(PREFIX.size + head_bytes, 2 * have))
            return False
        at = self._start + PREFIX.size
        self._start = at + head_bytes
        head = head_from(self._buffer[at : self._start])
        if not body_bytes:
            self._owner.heard(self, head, b"")
            return True
        self._head, self._got, self._due = head, 0, body_bytes
        self._place = self._owner.place_for(self, head, body_bytes)
        self._own = bytearray(body_bytes) if self._place is None else None
        return True

    def _widen(self, nbytes: int) -> None:
        left = bytes(self._buffer[self._start : self._end])
        self._buffer = memoryview(bytearray(max(nbytes, _ROOM)))
        self._buffer[: len(left)] = left
        self._start, self._end = 0, len(left)

    def _whole(self) -> None:
        head, own = self._head, self._own
        assert head is not None  # a body follows a head
        self._head = self._place = self._own = None
        self._owner.heard(self, head, None if own is None else bytes(own))


Line = Callable[[Courier, socket.socket, Owner, str], Connection]
"""Makes a connection of a socket, for an owner, to an address that was dialled ("" if it was accepted)."""


@dataclass(frozen=True, slots=True)
class Lines:
    """How connections are made of sockets.

    Attributes:
        call: of one that calls.
        take: of one that was called.
        admits: why whoever is at the other side may not be a job's worker on some seats; "" if it may.
    """

    call: Line = Connection
    take: Line = Connection
    admits: Callable[[Connection, str, str, Sequence[Seat]], str] = lambda link, job, end, seats: ""


def dial(
    courier: Courier, address: str, owner: Owner, line: Line = Connection, *, attempt: int | None = None
) -> Connection | None:
    """Begin to connect to host:port; None if that cannot be.

    Resolving a name may take a moment, in which the courier does nothing else: addresses that peers announce have to
    be numbers, and only the rendezvous has a name.

    Args:
        courier: watches the socket.
        address: where to.
        owner: whose connection it is.
        line: makes it of the socket.
        attempt: which of a name's addresses to try; None if there may be no name.
    """
    flags = socket.AI_NUMERICHOST if attempt is None else 0
    try:
        host, port = split(address)
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=flags)
    except (OSError, ValueError):
        return None
    family, kind, protocol, _, where = found[(attempt or 0) % len(found)]
    sock = socket.socket(family, kind, protocol)
    sock.setblocking(False)
    try:
        sock.connect(where)
    except BlockingIOError:
        pass
    except OSError:
        sock.close()
        return None
    return line(courier, sock, owner, address)


def answer(courier: Courier, door: socket.socket, owner: Owner, line: Line = Connection) -> Connection | None:
    """Take a call at a socket that listens; None if there is none any longer."""
    try:
        sock, _ = door.accept()
    except OSError:
        return None
    return line(courier, sock, owner, "")


def listen(address: str) -> socket.socket:
    """A socket that listens at host:port.

    Raises:
        ChannelError: that is no address, or nobody can listen there.
    """
    try:
        host, port = split(address)
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        door = socket.create_server((host, port), family=family, backlog=1024)
    except (OSError, ValueError) as error:
        raise ChannelError(f"cannot listen at {address}: {error}") from error
    door.setblocking(False)
    return door


def split(address: str, default_port: int = 0) -> tuple[str, int]:
    """Host and port of `host`, `host:port` or `[v6]:port`.

    Raises:
        ValueError: the port is none.
    """
    if address.startswith("["):
        host, _, rest = address[1:].partition("]")
        port = rest.removeprefix(":")
    elif address.count(":") > 1:
        host, port = address, ""
    else:
        host, _, port = address.partition(":")
    if not port:
        return host, default_port
    if not (port.isdecimal() and port.isascii() and int(port) < 65536):
        raise ValueError(f"{port} is no port")
    return host, int(port)


def join(host: str, port: int) -> str:
    """Host and port as one address."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
