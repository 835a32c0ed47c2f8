"""The one thread of a process that talks to networks, beside the one in which programs run.

A program computes for minutes without looking up; meanwhile the courier says that it is alive, takes in what comes
and hands out what was promised. Everything about sockets happens in the courier's thread, and everything about workers
in the program's: what goes from one to the other is put down in a queue.
"""

from __future__ import annotations

import heapq
import os
import select
import selectors
import threading
import time
from collections import deque
from collections.abc import Callable
from itertools import count
from typing import Any

Callback = Callable[[int], None]


class Bell:
    """Wakes a thread that waits for a file descriptor."""

    def __init__(self) -> None:
        self._fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)

    def fileno(self) -> int:
        """What to wait for."""
        return self._fd

    def ring(self) -> None:
        """Wake whoever waits."""
        os.eventfd_write(self._fd, 1)

    def hush(self) -> None:
        """Be quiet until the next ring."""
        try:
            os.eventfd_read(self._fd)
        except BlockingIOError:
            return

    def close(self) -> None:
        """Close the descriptor."""
        os.close(self._fd)


class Mailbox:
    """What the courier has put down for the program."""

    def __init__(self) -> None:
        self._items: deque[Any] = deque()
        self._bell = Bell()

    def fileno(self) -> int:
        """Readable when something is there."""
        return self._bell.fileno()

    def put(self, item: Any) -> None:
        """Put something down; any thread may."""
        self._items.append(item)
        self._bell.ring()

    def take(self, timeout_s: float | None) -> list[Any]:
        """Everything that is there; waits at most so long for it (None: until there is something)."""
        if not self._items and timeout_s != 0:
            poller = select.poll()
            poller.register(self._bell.fileno(), select.POLLIN)
            poller.poll(None if timeout_s is None else max(0, -int(-timeout_s * 1000)))
        self._bell.hush()
        taken = []
        while self._items:
            taken.append(self._items.popleft())
        return taken

    def close(self) -> None:
        """Close the descriptor."""
        self._bell.close()


class Courier:
    """A thread with a selector, a clock and a queue of calls.

    Args:
        name: of the thread, for people.
        failed: called in the courier's thread with an error that nothing there expected; the thread ends.
    """

    def __init__(self, name: str, failed: Callable[[BaseException], None]) -> None:
        self._failed = failed
        self._selector = selectors.DefaultSelector()
        self._bell = Bell()
        self._calls: deque[tuple[Callable[..., None], tuple[Any, ...]]] = deque()
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._order = count()
        self._running = True
        self._closed = False
        # Reentrant: what is collected while it is held may have something to say as well.
        self._lock = threading.RLock()
        self._selector.register(self._bell.fileno(), selectors.EVENT_READ, lambda _: self._bell.hush())
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def call(self, function: Callable[..., None], *arguments: Any) -> None:
        """Have a function called in the courier's thread, soon and in order; any thread may ask, even too late."""
        with self._lock:
            if self._closed:
                return
            self._calls.append((function, arguments))
            self._bell.ring()

    def stop(self) -> None:
        """Do what has been asked for so far, then end; returns when it has."""
        self.call(self._end)
        self._thread.join()
        with self._lock:
            self._closed = True
            self._calls.clear()
            self._timers.clear()
            self._selector.close()
            self._bell.close()

    # -- in the courier's thread ---------------------------------------------------------------------

    def later(self, seconds: float, function: Callable[[], None]) -> None:
        """Call a function after some time."""
        heapq.heappush(self._timers, (time.monotonic() + seconds, next(self._order), function))

    def watch(self, fd: Any, events: int, ready: Callback) -> None:
        """Call `ready(events)` whenever a file is readable or writable; again with other events to change them."""
        try:
            key = self._selector.get_key(fd)
        except KeyError:
            self._selector.register(fd, events, ready)
            return
        if key.events != events or key.data != ready:
            self._selector.modify(fd, events, ready)

    def forget(self, fd: Any) -> None:
        """Watch a file no longer."""
        try:
            self._selector.unregister(fd)
        except (KeyError, ValueError):
            return

    def _run(self) -> None:
        try:
            while self._running:
                self._turn()
        except BaseException as error:  # the outermost frame of the thread: the program is told
            self._failed(error)

    def _turn(self) -> None:
        timeout_s = max(0.0, self._timers[0][0] - time.monotonic()) if self._timers else None
        for key, events in self._selector.select(0 if self._calls else timeout_s):
            key.data(events)
        while self._calls:
            function, arguments = self._calls.popleft()
            function(*arguments)
        now = time.monotonic()
        while self._timers and self._timers[0][0] <= now:
            heapq.heappop(self._timers)[2]()

    def _end(self) -> None:
        self._running = False
