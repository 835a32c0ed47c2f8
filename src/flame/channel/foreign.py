"""A transport of a program's own (`flame.backend.abstract`), as the channels of a worker use it.

The transport lives in the thread of its loop, and the worker in the program's. What comes is put down in a mailbox,
which the worker looks into; what goes is called into the loop.
"""

from __future__ import annotations

import asyncio
import logging
import struct
import threading
import time
from asyncio import Queue
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, NamedTuple

from flame.backend import Sink
from flame.backend.abstract import AbstractBackend
from flame.backend.courier import Mailbox
from flame.backend.directory import Directory, Seat
from flame.channel.coding import CODING, Message, read_back, written
from flame.common.constants import DEFAULT_RUN_ASYNC_WAIT_TIME, EMPTY_PAYLOAD, CommType
from flame.errors import ChannelError, DecodeError

logger = logging.getLogger(__name__)

MOST_WAITING = 64
"""So many messages may wait for an end until whoever sends one more waits too."""


class _Came(NamedTuple):
    channel: str
    end: str
    payload: bytes


class _There(NamedTuple):
    channel: str
    end: str
    joined: bool


class _Arriving(Queue[Any]):
    """A queue that hands on what is put into it: a payload, alone or with the time at which it came."""

    def __init__(self, take: Callable[[bytes], None]) -> None:
        super().__init__()
        self._hand_on = take

    async def put(self, item: Any) -> None:
        """Take in a payload."""
        self.put_nowait(item)

    def put_nowait(self, item: Any) -> None:
        """Take in a payload."""
        payload = item[0] if isinstance(item, tuple) else item
        if payload != EMPTY_PAYLOAD:
            self._hand_on(bytes(payload))


class _Leaving(Queue[bytes]):
    """A queue that knows how much of what was promised has been taken out of it; other threads may look."""

    def __init__(self) -> None:
        super().__init__()
        self.promised = self.taken = 0

    @property
    def waiting(self) -> int:
        """How many payloads have not been taken out."""
        return self.promised - self.taken

    def _get(self) -> bytes:
        payload: bytes = super()._get()
        self.taken += 1
        return payload


class ForeignChannel:
    """What a transport of a program's own sees of a channel.

    Args:
        seat: the worker's place.
        other_role: the role of its peers.
        job_id: the job.
        backend: the transport.
        tell: takes what has come, and who; in the loop's thread.
    """

    def __init__(
        self, seat: Seat, other_role: str, job_id: str, backend: AbstractBackend, tell: Callable[[_Came | _There], None]
    ) -> None:
        self._seat, self._other_role, self._job_id = seat, other_role, job_id
        self._backend, self._tell = backend, tell
        self._queues: dict[str, tuple[_Arriving, _Leaving]] = {}
        self._everybody = _Leaving()

    def name(self) -> str:
        """The channel's name in the TAG."""
        return self._seat.channel

    def job_id(self) -> str:
        """The job's id."""
        return self._job_id

    def my_role(self) -> str:
        """The worker's role."""
        return self._seat.role

    def other_role(self) -> str:
        """The role of its peers; they are those of the same group, and the worker itself is none of them."""
        return self._other_role

    def groupby(self) -> str:
        """The worker's group."""
        return self._seat.group

    def get_backend_id(self) -> str:
        """The worker's id."""
        return self._seat.end

    def has(self, end_id: str) -> bool:
        """Whether a peer is there."""
        return end_id in self._queues

    def all_ends(self) -> list[str]:
        """Every peer that is there."""
        return list(self._queues)

    def get_rxq(self, end_id: str) -> Queue[Any] | None:
        """Where what a peer has sent is put, as bytes or as (bytes, time); None for one that is not there."""
        return self._queues[end_id][0] if end_id in self._queues else None

    def get_txq(self, end_id: str) -> Queue[bytes] | None:
        """What is to be sent to a peer; None for one that is not there."""
        return self._queues[end_id][1] if end_id in self._queues else None

    def broadcast_q(self) -> Queue[bytes]:
        """What is to be sent to everybody: nothing but the end, because the engine says whom it means."""
        return self._everybody

    async def add(self, end_id: str) -> None:
        """A peer is there; it is no error if it was."""
        if end_id in self._queues or end_id == self._seat.end:
            return
        name = self._seat.channel
        self._queues[end_id] = _Arriving(lambda payload: self._tell(_Came(name, end_id, payload))), _Leaving()
        self._tell(_There(name, end_id, True))
        self._backend.create_tx_task(name, end_id)

    async def remove(self, end_id: str) -> None:
        """A peer has gone; it is no error if it had."""
        queues = self._queues.pop(end_id, None)
        if queues is None:
            return
        queues[1].put_nowait(EMPTY_PAYLOAD)
        self._tell(_There(self._seat.channel, end_id, False))
        await self._backend.set_cleanup_ready_async(end_id)

    def join(self) -> None:
        """Let the peers know that the worker is there."""
        self._backend.join(self)

    def leave(self) -> None:
        """Let the peers know that it goes."""
        self._backend.leave(self)

    # -- for the worker's side, in the loop ------------------------------------------------------------------

    async def open(self) -> None:
        """Let the transport know the channel."""
        self._backend.attach_channel(self)
        self._backend.create_tx_task(self._seat.channel, "", CommType.BROADCAST)

    def hand_over(self, end_id: str, payload: bytes) -> None:
        """Queue a payload for a peer; for one that has gone, nothing happens."""
        if end_id in self._queues:
            self._queues[end_id][1].put_nowait(payload)

    def stop(self) -> None:
        """Let whoever sends stop after what is there."""
        for queue in (*(leaving for _, leaving in self._queues.values()), self._everybody):
            queue.promised += 1
            queue.put_nowait(EMPTY_PAYLOAD)

    def promise(self, end_id: str) -> bool:
        """Note that a payload is on its way to the queue of a peer; False for one that has gone."""
        queues = self._queues.get(end_id)
        if queues is not None:
            queues[1].promised += 1
        return queues is not None

    def waiting(self) -> int:
        """How many payloads wait for the peer that is farthest behind."""
        return max((leaving.waiting for _, leaving in list(self._queues.values())), default=0)


class Foreign:
    """A worker's side of such a transport; see `flame.channel.transports.Carrier`.

    Args:
        own: the program's transport, not yet configured.
        broker: its address.
        job_id: the job.
        end: the worker.
        patience_s: how long what was sent is waited for at the end, until it has been taken.
    """

    def __init__(self, own: AbstractBackend, broker: str, job_id: str, end: str, patience_s: float) -> None:
        self.directory = Directory()
        self._own, self._job_id, self._patience_s = own, job_id, patience_s
        self._sinks: dict[str, Sink] = {}
        self._mailbox = Mailbox()
        self._channels: dict[str, tuple[ForeignChannel, Seat, str]] = {}
        self._closed = False
        self._lock = threading.Lock()
        own.configure(broker, job_id, end)
        self._loop = own.loop()

    def fileno(self) -> int:
        """Readable when there is news."""
        return self._mailbox.fileno()

    @property
    def pending(self) -> bool:
        """Nothing waits for this side: the transport writes."""
        return False

    @property
    def strangers(self) -> int:
        """Who is known has been met."""
        return 0

    def attach(self, end: str, sink: Sink) -> None:
        """Deliver what is sent to `end` to that sink."""
        self._sinks[end] = sink

    def sit(self, seats: Sequence[Seat], wants: Sequence[tuple[str, str, str]]) -> None:
        """Join the channels.

        Raises:
            ChannelError: the transport's loop does not answer.
        """
        for seat, (_, _, other) in zip(seats, wants, strict=True):
            channel = ForeignChannel(seat, other, self._job_id, self._own, self._put_down)
            self._channels[seat.channel] = channel, seat, other
            self._in_loop(channel.open())
            channel.join()

    def send(self, channel: str, source: str, targets: Sequence[str], message: object) -> int:
        """Hand a message over, as one payload for each target; an end that has gone is passed over."""
        assert isinstance(message, Message)  # the coding makes nothing else
        foreign, payload = self._channels[channel][0], _payload(message)
        for target in targets:
            if foreign.promise(target):
                self._loop.call_soon_threadsafe(foreign.hand_over, target, payload)
        while foreign.waiting() > MOST_WAITING:
            self.poll(0.01)
        return CODING.size_of(message) * len(targets)

    def poll(self, timeout_s: float | None) -> None:
        """Take in what has come; wait at most so long for it."""
        for item in self._mailbox.take(timeout_s):
            _, seat, other = self._channels[item.channel]
            members = self.directory.members(seat.channel, seat.group, other)
            if isinstance(item, _There):
                (members.add if item.joined else members.remove)(item.end)
                continue
            try:
                message = _message(item.payload)
            except DecodeError as error:
                logger.warning("what has come of %s on %s is no message: %s", item.end, item.channel, error)
                members.remove(item.end)
                continue
            self._sinks[seat.end].deliver(item.channel, item.end, message)

    def flush(self) -> None:
        """Return when the transport has taken everything that was sent, or its time is over."""
        until = time.monotonic() + self._patience_s
        while time.monotonic() < until and any(channel.waiting() for channel, _, _ in self._channels.values()):
            self.poll(0.01)

    def close(self) -> None:
        """Leave; what was sent is sent before."""
        if self._closed:
            return
        self._closed = True
        for channel, _, _ in self._channels.values():
            self._loop.call_soon_threadsafe(channel.stop)
        self._in_loop(asyncio.sleep(0))  # until they have been told
        self.flush()  # who takes the end of a queue has sent what was before it
        for channel, _, _ in self._channels.values():
            channel.leave()
        with self._lock:
            self._mailbox.close()
            self._channels.clear()

    def _put_down(self, item: _Came | _There) -> None:
        """Take something from the loop's thread, which outlives the worker."""
        with self._lock:
            if item.channel in self._channels:
                self._mailbox.put(item)

    def _in_loop(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            asyncio.run_coroutine_threadsafe(work, self._loop).result(DEFAULT_RUN_ASYNC_WAIT_TIME)
        except TimeoutError:
            name = type(self._own).__name__
            raise ChannelError(f"the loop of {name} has not answered for {DEFAULT_RUN_ASYNC_WAIT_TIME} s") from None


def _payload(message: Message) -> bytes:
    """A message as one run of bytes: how many parts there are, how long each is, and the parts."""
    header, buffers = written(message)
    parts = [header, *buffers]
    return b"".join([struct.pack(f"<{len(parts) + 1}Q", len(parts), *map(len, parts)), *parts])


def _message(payload: bytes) -> Message:
    """The message of a payload.

    Raises:
        DecodeError: it is none.
    """
    try:
        (count,) = struct.unpack_from("<Q", payload)
        if count < 1 or 8 * (count + 1) > len(payload):
            raise DecodeError(f"{count} parts are said to be in {len(payload)} bytes")
        sizes = struct.unpack_from(f"<{count}Q", payload, 8)
    except struct.error as error:
        raise DecodeError(f"{len(payload)} bytes are no message") from error
    at, parts = 8 * (count + 1), []
    if at + sum(sizes) != len(payload):
        raise DecodeError(f"parts of {sum(sizes)} bytes are said to be in {len(payload)}")
    for size in sizes:
        parts.append(payload[at : at + size])
        at += size
    return read_back(parts[0], parts[1:])
