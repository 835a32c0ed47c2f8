"""A payload in chunks, for transports that limit how long a message may be, and a payload out of them again.

The assembler believes nothing: frames of a message must come in order and add up to what its first one
announced, a checksum (CRC-32) closes it, and memory is taken as bytes arrive and never because they were
promised. A frame that comes twice, as some brokers deliver it, is noticed and does no harm.

The bytes are drawn in `docs/reference/wire-format.md`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from struct import Struct
from typing import NamedTuple
from zlib import crc32

from flame.errors import DecodeError
from flame.wire.codec import Payload
from flame.wire.form import Buffer
from flame.wire.reader import as_bytes

FRAME_VERSION = 1

_HEAD = Struct("<BBHIQQI")
"""Version, flags (1: the last one), zero, place in the message, number, bytes and CRC of the message."""

_LAST = 1
_ALIGN = 64

HEAD_BYTES = _HEAD.size

_COUNT = Struct("<Q")


def split(payload: Payload, chunk_bytes: int, number: int) -> Iterator[bytes]:
    """The frames of a payload, in the order in which they have to go.

    Args:
        payload: what to send. It is read while the iterator runs.
        chunk_bytes: the most that a frame may have, its head included.
        number: of this message among those that this sender sends on this channel; ascending.

    Raises:
        ValueError: `chunk_bytes` leaves no room beside a frame's head.
    """
    room = chunk_bytes - HEAD_BYTES
    if room <= 0:
        raise ValueError(f"chunk_bytes={chunk_bytes}: a frame's head alone has {HEAD_BYTES} B")
    parts = _parts(payload)
    total = sum(map(len, parts))
    crc, sent, place, free = 0, 0, 0, room
    frame: list[bytes | memoryview] = [b""]
    for part in parts:
        while len(part):
            piece, part = part[:free], part[free:]
            frame.append(piece)
            crc = crc32(piece, crc)
            sent, free = sent + len(piece), free - len(piece)
            if not free or sent == total:
                last = sent == total
                frame[0] = _HEAD.pack(FRAME_VERSION, last, 0, place, number, total, crc if last else 0)
                yield b"".join(frame)
                frame, free, place = [b""], room, place + 1


def _parts(payload: Payload) -> list[memoryview]:
    """A table of lengths, header and buffers, each padded so that the next begins at a multiple of 64."""
    runs = [payload.header, *payload.buffers]
    lengths = [len(run) for run in runs]
    table = b"".join(map(_COUNT.pack, (len(runs), *lengths)))
    parts = []
    for run in (table, *runs):
        parts.append(as_bytes(run).data)
        parts.append(memoryview(bytes(-len(run) % _ALIGN)))
    return parts


class _Head(NamedTuple):
    """What a frame says about itself."""

    version: int
    flags: int
    zero: int
    place: int
    number: int
    total: int
    crc: int


@dataclass(slots=True)
class _Open:
    """A message of which not everything has come: `frames` frames of `room` bytes each."""

    total: int
    room: int
    frames: int = 0
    crc: int = 0
    body: bytearray = field(default_factory=bytearray)


@dataclass(slots=True)
class _Link:
    """One sender on one channel."""

    newest: int = -1
    open: dict[int, _Open] = field(default_factory=dict)


class Assembler:
    """Payloads out of the frames of many senders on many channels.

    Args:
        max_message: the most bytes that one message may have.
        max_held: the most bytes of unfinished messages at any time, of all senders together.
        max_open: the most unfinished messages of one sender on one channel.
        max_links: the most (sender, channel) pairs remembered.
    """

    def __init__(
        self,
        *,
        max_message: int = 8 << 30,
        max_held: int = 16 << 30,
        max_open: int = 4,
        max_links: int = 1 << 20,
    ) -> None:
        self._max_message, self._max_held = max_message, max_held
        self._max_open, self._max_links = max_open, max_links
        self._links: dict[tuple[str, str], _Link] = {}
        self._held = 0

    @property
    def held(self) -> int:
        """Bytes of unfinished messages."""
        return self._held

    def forget(self, sender: str) -> None:
        """Drop what a sender has begun, and let it number its messages anew: it has left, or joined again."""
        for key in [key for key in self._links if key[0] == sender]:
            link = self._links.pop(key)
            self._held -= sum(len(message.body) for message in link.open.values())

    def add(self, sender: str, channel: str, frame: Buffer) -> Payload | None:
        """Take a frame in; the payload, if this frame completes it.

        The payload's buffers are read-only views of one block of memory that nobody else holds.

        Raises:
            DecodeError: the frame is none, or does not go on where its message stopped, or asks for too much.
                The message that it belongs to is dropped, and what still comes of it is ignored.
        """
        view = as_bytes(frame).data
        head, chunk = _head(view), view[HEAD_BYTES:]
        link = self._link(sender, channel)
        message = link.open.get(head.number)
        if message is None:
            if head.number <= link.newest:
                return None  # of a message that is complete or was dropped: it came twice, or too late
            link.newest = head.number
            message = self._begin(link, head, chunk)
        try:
            return self._go_on(link, message, head, chunk)
        except DecodeError as error:
            self._drop(link, head.number)
            raise DecodeError(f"message {head.number} from {sender} on {channel}: {error}") from error

    def _link(self, sender: str, channel: str) -> _Link:
        link = self._links.get((sender, channel))
        if link is None:
            if len(self._links) >= self._max_links:
                raise DecodeError(f"more than {self._max_links} senders")
            link = self._links[sender, channel] = _Link()
        return link

    def _begin(self, link: _Link, head: _Head, chunk: memoryview) -> _Open:
        if not _COUNT.size <= head.total <= self._max_message:
            raise DecodeError(f"a message of {head.total} B is announced; at most {self._max_message} B may")
        if len(link.open) >= self._max_open:
            raise DecodeError(f"more than {self._max_open} unfinished messages of one sender")
        message = link.open[head.number] = _Open(head.total, room=len(chunk))
        return message

    def _go_on(self, link: _Link, message: _Open, head: _Head, chunk: memoryview) -> Payload | None:
        start = head.place * message.room
        end = start + len(chunk)
        last = end == message.total
        if head.total != message.total or end > message.total or (len(chunk) != message.room and not last):
            raise DecodeError("a frame that does not belong to the message it names")
        if head.place > message.frames:
            raise DecodeError(f"frame {message.frames} is missing; frame {head.place} came")
        if head.place < message.frames:
            if message.body[start:end] != chunk:
                raise DecodeError(f"frame {head.place} came twice, and not alike")
            return None
        if not chunk or last != head.flags:
            raise DecodeError("a frame that is empty, or that is marked as the last one wrongly")
        if self._held + len(chunk) > self._max_held:
            raise DecodeError(f"no room: unfinished messages hold {self._held} B of {self._max_held} B")
        message.body += chunk
        message.crc = crc32(chunk, message.crc)
        message.frames += 1
        self._held += len(chunk)
        if not last:
            return None
        self._drop(link, head.number)
        if message.crc != head.crc:
            raise DecodeError(f"damaged: checksum {message.crc:08x}; {head.crc:08x} was announced")
        return _payload(memoryview(message.body).toreadonly())

    def _drop(self, link: _Link, number: int) -> None:
        message = link.open.pop(number, None)
        if message is not None:
            self._held -= len(message.body)


def _head(frame: memoryview) -> _Head:
    if len(frame) < HEAD_BYTES:
        raise DecodeError(f"a frame of {len(frame)} B; its head alone has {HEAD_BYTES} B")
    head = _Head._make(_HEAD.unpack_from(frame))
    if head.version != FRAME_VERSION:
        raise DecodeError(f"the frame speaks version {head.version}; here version {FRAME_VERSION} is spoken")
    if head.flags & ~_LAST or head.zero:
        raise DecodeError("a frame with unknown flags")
    return head


def _payload(body: memoryview) -> Payload:
    """Header and buffers out of a whole message, not copied."""
    (count,) = _COUNT.unpack_from(body)
    start = (count + 1) * _COUNT.size
    if not count or start > len(body):
        raise DecodeError(f"a table of {count} lengths in {len(body)} B")
    lengths = memoryview(body[_COUNT.size : start]).cast("Q")
    runs = []
    for length in lengths:
        start += -start % _ALIGN
        runs.append(body[start : start + length])
        start += length
    if start + -start % _ALIGN != len(body):
        raise DecodeError(f"the lengths add up to {start} B; {len(body)} B came")
    return Payload(runs[0], runs[1:])
