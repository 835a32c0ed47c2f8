"""The buffers of messages that come: in the message, read whole at once, or left with the sender until needed."""

from __future__ import annotations

import time
import weakref
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from flame.backend.loans import PIECE, Ask, Bytes, Reading, Remote
from flame.errors import DecodeError
from flame.wire.speech import Head

EAGER = 64 << 20
"""So many bytes that could be left with their senders are read at once all the same."""

MOST_LENT = 1 << 40
"""Bytes of the largest buffer that is taken. Memory is filled as bytes come, not because they were promised."""

AT_FIRST, AT_ONCE = 2, 8
"""How many pieces of one buffer are on their way when it is read whole: at first, and as long as they come quickly."""

QUICK_S, SLOW_S = 0.1, 0.5
"""A piece that comes within so many seconds lets one more be on its way, one that takes so long one less: what else is
said on a slow way waits behind them."""


@dataclass(slots=True)
class Buffers:
    """The buffers of one message.

    Attributes:
        items: the buffers, in order.
        left: how many of them are yet to come.
        nbytes: how many bytes of them lie here, or will.
    """

    items: list[Bytes | Remote] = field(default_factory=list)
    left: int = 0
    nbytes: int = 0

    def lose(self, error: Exception) -> None:
        """Whoever holds what is not here has gone."""
        for item in self.items:
            if isinstance(item, Remote):
                item.lost = error


class Intake:
    """Finds the buffers of messages.

    Args:
        reading: everything that this process reads from others.
        ask: has a piece read; called in the courier's thread.
        call: has a function called in the courier's thread.
    """

    def __init__(self, reading: Reading, ask: Ask, call: Callable[..., None]) -> None:
        self._reading, self._ask, self._call = reading, ask, call
        self._eager = 0

    def open(
        self,
        end: str,
        head: Head,
        body: bytes | None,
        *,
        piece: int = PIECE,
        there: Callable[[int], None],
        broken: Callable[[str], None],
        unused: Callable[[str, int], None],
    ) -> Buffers:
        """Find the buffers of a message.

        Args:
            end: the peer that has sent it.
            head: the message's.
            body: the buffers that are in the message.
            piece: how many bytes to ask for at a time.
            there: called with the lease of each buffer that has come, once it has.
            broken: called, once, if the peer does not have what it has lent, with what is wrong.
            unused: called with the peer and the lease of a buffer that was left there and is not needed any longer;
                a bound method, whose object may be gone by then.

        Raises:
            DecodeError: the message is none, or there is no memory for it; nothing has been asked for.
        """
        _check(head, body)
        inline, at = memoryview(body or b""), 0
        buffers, whole = Buffers(), []
        for part in head.parts:
            if isinstance(part, int):
                buffers.items.append(np.frombuffer(inline, np.uint8, part, at))
                buffers.nbytes += part
                at += part
                continue
            lease, nbytes = part
            remote = Remote(self._reading, end, lease, nbytes)
            if head.lazy and (head.header or buffers.items) and self._eager + nbytes > EAGER:
                _when_freed(remote, self._call, unused, end, lease)
                buffers.items.append(remote)
                continue
            memory = self._memory(nbytes, head.lazy)
            buffers.items.append(memory)
            buffers.nbytes += nbytes
            whole.append(Whole(remote, memory, piece, self._ask, buffers, there, broken))
        buffers.left = len(whole)
        for each in whole:
            each.begin()
        return buffers

    def _memory(self, nbytes: int, lazy: bool) -> Bytes:
        """Memory for a buffer; how much of it holds what could have stayed with its sender is counted."""
        try:
            memory = self._reading.allocate(nbytes)
        except (OSError, MemoryError, ValueError, OverflowError) as error:
            raise DecodeError(f"a buffer of {nbytes} bytes, for which there is no memory") from error
        if lazy:
            self._eager += nbytes
            _when_freed(memory, self._call, self._freed, nbytes)
        return memory

    def _freed(self, nbytes: int) -> None:
        self._eager -= nbytes


class Whole:
    """A buffer that is being read as a whole.

    Nothing that it holds holds it: a ring would keep the memory until it is collected.
    """

    def __init__(
        self,
        remote: Remote,
        memory: Bytes,
        size: int,
        ask: Ask,
        buffers: Buffers,
        there: Callable[[int], None],
        broken: Callable[[str], None],
    ) -> None:
        self._remote, self._memory, self._ask = remote, memory, ask
        self._buffers, self._there, self._broken = buffers, there, broken
        self._size = size
        self._starts = iter(range(0, remote.nbytes, size))
        self._left = -(-remote.nbytes // size)
        self._asked: deque[float] = deque()
        self._failed = False

    def begin(self) -> None:
        """Ask for the first pieces."""
        for _ in range(AT_FIRST):
            self._more()

    def _more(self) -> None:
        start = next(self._starts, None)
        if start is not None:
            view = self._memory.data[start : start + self._size]
            self._asked.append(time.monotonic())
            self._ask(self._remote.end, self._remote.lease, start, view, self._came)

    def _came(self, error: Exception | None) -> None:
        if self._failed:
            return
        if error is not None:
            self._failed = True
            self._broken(str(error))
            return
        self._left -= 1
        took_s = time.monotonic() - self._asked.popleft()  # pieces come in the order in which they were asked for
        if self._left:
            if took_s < SLOW_S or not self._asked:
                self._more()
            if took_s < QUICK_S and len(self._asked) < AT_ONCE:
                self._more()
        else:
            self._buffers.left -= 1
            self._there(self._remote.lease)


def _check(head: Head, body: bytes | None) -> None:
    """Refuse a message whose parts are not those that its head says."""
    if not (head.header or head.parts):
        raise DecodeError("a message without a header")
    inline = 0
    for part in head.parts:
        if isinstance(part, int):
            if part < 0:
                raise DecodeError("a part of less than nothing")
            inline += part
        elif not 0 < part[1] <= MOST_LENT:
            raise DecodeError(f"a buffer of {part[1]} bytes; at most {MOST_LENT}")
    if inline != len(body or b""):
        raise DecodeError("a message's body is not as long as its head says")


def _when_freed(thing: object, call: Callable[..., None], method: Callable[..., None], *args: Any) -> None:
    """Have a method called in the courier's thread when a thing is used no longer, if its object is there by then."""
    weakref.finalize(thing, _call_if_there, call, weakref.WeakMethod(method), args).atexit = False


def _call_if_there(call: Callable[..., None], method: weakref.WeakMethod[Any], args: tuple[Any, ...]) -> None:
    found = method()
    if found is not None:
        call(found, *args)
