"""One connection to another host on this machine: a unix socket for words, shared segments for arrays.

A frame on the socket is

    u32 length of head | u64 length of body | head (msgpack) | body

The head says what kind of frame it is and where the payload's buffers are: the next so many bytes of the body, or a
piece of a shared segment. The file descriptor of a segment travels once, beside the first frame that names it.
"""

from __future__ import annotations

import mmap
import os
import socket
import struct
import weakref
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
import numpy as np

from flame.backend.pool import SMALLEST, Bytes, Pool
from flame.errors import DecodeError, EncodeError
from flame.wire.codec import Payload
from flame.wire.reader import as_bytes

_LENGTHS = struct.Struct("<IQ")
_READ = 1 << 18
_FDS = 64
_MOST_HEAD = 1 << 28
_MOST_BODY = 1 << 34

End = int | str
MESSAGE, RELEASE, HELLO, LEAVE = range(4)


class Head(msgspec.Struct, array_like=True, forbid_unknown_fields=True):
    """What a frame says of itself."""

    kind: int
    channel: str = ""
    source: End = ""
    targets: list[End] = []
    header: bytes = b""
    parts: list[int | tuple[int, int, int]] = []  # bytes of the body, or (segment, start, length)
    fresh: list[tuple[int, int]] = []  # (segment, capacity) whose descriptor comes with this frame


@dataclass(slots=True)
class Frame:
    """A frame that has come in: its head, and its payload's buffers as read-only arrays."""

    head: Head
    buffers: list[Bytes]


class Link:
    """Both directions of a connection to one peer host.

    Never blocks: what the socket does not take is kept until `write` is called.
    """

    def __init__(self, number: int, sock: socket.socket, pool: Pool) -> None:
        sock.setblocking(False)
        self.number = number
        self.sock = sock
        self.closed = False
        self.sent = self.received = self.bytes_read = 0
        self._pool = pool
        self._lent: dict[int, int] = {}
        self._out: deque[tuple[memoryview, list[int]]] = deque()
        self._tail = bytearray()
        self._in = bytearray()
        self._fds: deque[int] = deque()
        self._maps: dict[int, tuple[mmap.mmap, int]] = {}
        self._done: dict[int, int] = {}
        self._encoder = msgspec.msgpack.Encoder()
        self._decoder = msgspec.msgpack.Decoder(Head)

    def send(self, channel: str, source: End, targets: list[End], payload: Payload) -> None:
        """Queue one message to some of the peer's ends."""
        head = Head(MESSAGE, channel, source, targets, bytes(payload.header))
        head.parts, head.fresh = [], []
        inline: list[Bytes] = []
        fds: list[int] = []
        for buffer in payload.buffers:
            flat = as_bytes(buffer)
            if flat.nbytes < SMALLEST:
                head.parts.append(flat.nbytes)
                inline.append(flat)
            else:
                self._share(flat, head, fds)
        self.sent += 1
        self._queue(head, inline, fds)

    def say(self, head: Head) -> None:
        """Queue a frame without a payload."""
        self.sent += 1
        self._queue(head, [], [])

    @property
    def pending(self) -> int:
        """How many bytes wait to be written."""
        return len(self._tail) + sum(len(view) for view, _ in self._out)

    def write(self) -> None:
        """Write as much as the socket takes.

        Raises:
            ConnectionError: the peer has gone.
        """
        self._give_back()
        self._seal()
        while self._out:
            view, fds = self._out[0]
            try:
                rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, struct.pack(f"{len(fds)}i", *fds))] if fds else []
                n = self.sock.sendmsg([view], rights)
            except BlockingIOError:
                return
            self._out.popleft()
            if n < len(view):
                self._out.appendleft((view[n:], []))

    def read(self) -> list[Frame]:
        """Every frame that has come in whole.

        Raises:
            ConnectionError: the peer has gone; what it sent before has been returned by earlier calls.
            DecodeError: what came is not a frame.
        """
        try:
            data, rights, _, _ = self.sock.recvmsg(_READ, socket.CMSG_SPACE(4 * _FDS))
        except BlockingIOError:
            return []
        for level, kind, raw in rights:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                self._fds.extend(struct.unpack(f"{len(raw) // 4}i", raw[: len(raw) // 4 * 4]))
        if not data:
            raise ConnectionResetError("the peer closed the connection")
        self._in += data
        self.bytes_read += len(data)
        return self._frames()

    def close(self) -> None:
        """Close the socket and whatever came with it; arrays over mapped segments stay valid."""
        self.closed = True
        self.sock.close()
        for fd in self._fds:
            os.close(fd)
        self._fds.clear()
        for _, fd in self._maps.values():
            # An update that is still to be folded may be read through the file: it is closed with the last array.
            self._pool.retire(fd)
        for number, times in self._lent.items():
            if times:
                self._pool.give_back(number, times)
        self._lent.clear()

    def _share(self, flat: Bytes, head: Head, fds: list[int]) -> None:
        """Put a large buffer's place into the head, copying it into a segment only if it is not in one."""
        found = self._pool.find(flat)
        if found is None:
            copy = self._pool.allocate(flat.nbytes)
            copy[:] = flat
            found = self._pool.find(copy)
            assert found is not None  # it was allocated a line ago
        segment, start = found
        if self.number not in segment.known_to:
            segment.known_to.add(self.number)
            head.fresh.append((segment.number, segment.capacity))
            fds.append(segment.fd)
        self._pool.lend(segment)
        self._lent[segment.number] = self._lent.get(segment.number, 0) + 1
        head.parts.append((segment.number, start, flat.nbytes))

    def _queue(self, head: Head, inline: Sequence[Bytes], fds: list[int]) -> None:
        encoded = self._encoder.encode(head)
        if len(encoded) > _MOST_HEAD:
            raise EncodeError(
                f"a value of {len(encoded) >> 20} MiB outside of arrays is too large for one message (at most"
                f" {_MOST_HEAD >> 20} MiB): send it in parts, or as a numpy array"
            )
        lengths = _LENGTHS.pack(len(encoded), sum(part.nbytes for part in inline))
        if fds:
            self._seal()
            whole = memoryview(b"".join((lengths, encoded, *(part.data for part in inline))))
            # A packet carries only so many descriptors; each lot goes with a byte of the frame.
            lots = [fds[at : at + _FDS] for at in range(0, len(fds), _FDS)]
            self._out.extend((whole[at : at + 1], lot) for at, lot in enumerate(lots))
            self._out.append((whole[len(lots) :], []))
            return
        self._tail += lengths
        self._tail += encoded
        for part in inline:
            self._tail += part.data

    def _seal(self) -> None:
        if self._tail:
            self._out.append((memoryview(bytes(self._tail)), []))
            self._tail.clear()

    def _frames(self) -> list[Frame]:
        frames: list[Frame] = []
        at, have = 0, len(self._in)
        whole = memoryview(bytes(self._in))
        while have - at >= _LENGTHS.size:
            head_bytes, body_bytes = _LENGTHS.unpack_from(whole, at)
            if head_bytes > _MOST_HEAD or body_bytes > _MOST_BODY:
                raise DecodeError(f"a frame of {head_bytes} + {body_bytes} bytes is larger than any that is sent")
            body = at + _LENGTHS.size + head_bytes
            if have < body + body_bytes:
                break
            try:
                head = self._decoder.decode(whole[at + _LENGTHS.size : body])
            except msgspec.DecodeError as error:
                raise DecodeError(f"frame head: {error}") from error
            frames.append(self._frame(head, whole[body : body + body_bytes]))
            at = body + body_bytes
        del self._in[:at]
        return frames

    def _frame(self, head: Head, body: memoryview) -> Frame:
        self.received += 1
        for number, capacity in head.fresh:
            self._map(number, capacity)
        if head.kind == RELEASE:
            self._take_back(head)
            return Frame(head, [])
        buffers, at = [], 0
        for part in head.parts:
            if isinstance(part, int):
                if not 0 <= part <= len(body) - at:
                    raise DecodeError("a frame's body is shorter than its head says")
                buffers.append(np.frombuffer(body, np.uint8, part, at))
                at += part
            else:
                buffers.append(self._view(*part))
        return Frame(head, buffers)

    def _map(self, number: int, capacity: int) -> None:
        if not self._fds:
            raise DecodeError("a segment was named but its descriptor did not come")
        fd = self._fds.popleft()
        if os.fstat(fd).st_size < capacity:
            os.close(fd)
            raise DecodeError(f"segment {number} is smaller than the {capacity} bytes that were said")
        self._maps[number] = mmap.mmap(fd, capacity, prot=mmap.PROT_READ), fd

    def _view(self, number: int, start: int, nbytes: int) -> Bytes:
        memory, fd = self._maps.get(number, (b"", -1))
        if start < 0 or nbytes < 0 or start + nbytes > len(memory):
            raise DecodeError(f"bytes {start} to {start + nbytes} of segment {number} are not there")
        array: Bytes = np.frombuffer(memory, np.uint8, nbytes, start)
        self._pool.adopt(array, fd, start)
        weakref.finalize(array, self._dropped, number).atexit = False
        return array

    def _dropped(self, number: int) -> None:
        self._done[number] = self._done.get(number, 0) + 1

    def _give_back(self) -> None:
        """Tell the peer which of its segments are no longer looked at."""
        if self._done:
            done, self._done = self._done, {}
            self._queue(Head(RELEASE, parts=[(number, times, 0) for number, times in done.items()]), [], [])
            self.sent += 1

    def _take_back(self, head: Head) -> None:
        for part in head.parts:
            if isinstance(part, int):
                raise DecodeError("a release names a segment and a count")
            number, times, _ = part
            if not 0 < times <= self._lent.get(number, 0):
                raise DecodeError(f"segment {number} is given back {times} time(s), which is too often")
            self._lent[number] -= times
            self._pool.give_back(number, times)

    @property
    def has_news(self) -> bool:
        """Whether `write` has something to do."""
        return bool(self._tail or self._out or self._done)
