"""Fibers: what "blocking" means for a worker.

A worker's program blocks in plain Python: `channel.recv(end)` returns when there is something. Who runs meanwhile is
decided here. Inside a host, each worker is a *fiber* (a greenlet) and a wait gives the turn to the next fiber that has
mail; a program that runs alone in its process waits in the operating system instead. One fiber runs at a time and the
hub resumes them in a fixed order, so what a host computes does not depend on a scheduler's mood.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable
from typing import Protocol

import greenlet

logger = logging.getLogger(__name__)

Condition = Callable[[], object]

POLL_EVERY_S = 0.001
"""How long ready fibers may keep a host from looking at its sockets."""

SAY_AFTER_S = 10.0
"""How long a program that runs alone may wait before it says for what; then after twice as long each time."""

IDLE_AFTER_S = 0.5
"""How long nobody must have been able to run before a host says that it is idle."""


class Poller(Protocol):
    """Something outside the process that may have news: a set of sockets."""

    @property
    def pending(self) -> bool:
        """Whether something waits to be written."""

    def poll(self, timeout_s: float | None) -> None:
        """Handle what has arrived; wait at most so long for it (None: until something comes)."""


class Fiber(greenlet.greenlet):
    """One worker's thread of control.

    Attributes:
        name: the worker's readable name.
        surroundings: what the host gives to the worker that runs in this fiber.
        owner: the host's own record of that worker.
        waiting: what it waits for, in words; None while it runs or is ready.
        urgent: resumed before fibers that are not (aggregators, so that updates are folded as they come).
    """

    def __init__(self, run: Callable[[], None], parent: greenlet.greenlet, name: str, urgent: bool) -> None:
        super().__init__(run, parent)
        self.name = name
        self.surroundings: object | None = None
        self.urgent = urgent
        self.waiting: Callable[[], str] | None = None
        self.queued = False
        self.owner: object | None = None


class Hub:
    """Runs the fibers of one host, or waits on behalf of a program that has no host."""

    def __init__(self, poller: Poller | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self.poller = poller
        self._clock = clock
        self._urgent: deque[Fiber] = deque()
        self._ready: deque[Fiber] = deque()
        self._parked: dict[Fiber, None] = {}
        self._timed: dict[Fiber, float] = {}
        self._alive = 0
        self._polled = 0.0
        self._home = greenlet.getcurrent()
        self.on_idle: Callable[[], None] | None = None
        self.on_switch: Callable[[Fiber], None] | None = None
        self.on_poll: Callable[[], None] | None = None
        self.on_still: Callable[[], None] | None = None

    def spawn(self, run: Callable[[], None], name: str, *, urgent: bool = False) -> Fiber:
        """A new fiber, ready to run; it starts when the hub gets to it."""
        fiber = Fiber(run, self._home, name, urgent)
        self._alive += 1
        self._enqueue(fiber)
        return fiber

    def wake(self, fiber: Fiber) -> None:
        """Let a fiber look at its condition again; does nothing if it runs or is queued already."""
        if fiber.waiting is not None and not fiber.queued:
            self._enqueue(fiber)

    def wait(self, condition: Condition, what: Callable[[], str], seconds: float | None = None) -> bool:
        """Park the caller until `condition()` is true.

        Args:
            condition: looked at again each time that the caller is woken.
            what: says in words what is awaited, and from whom; called only if somebody asks.
            seconds: how long at most; None waits as long as it takes.

        Returns:
            Whether the condition holds: False means that the time ran out first.
        """
        if condition():
            return True
        current = greenlet.getcurrent()
        deadline = None if seconds is None else self._clock() + seconds
        if not isinstance(current, Fiber):
            return self._wait_alone(condition, what, deadline)
        while True:
            self._park(current, what, deadline)
            if condition():
                return True
            if deadline is not None and self._clock() >= deadline:
                return False

    def run(self, done: Callable[[], bool] | None = None) -> None:
        """Run until `done()`, or else until every fiber has ended. An exception in a fiber comes out here."""
        self._home = greenlet.getcurrent()
        while not done() if done is not None else self._alive:
            fiber = self._next()
            if fiber is None:
                self._sleep()
                continue
            fiber.queued = False
            if self.on_switch is not None:
                self.on_switch(fiber)
            fiber.switch()
            if fiber.dead:
                self._alive -= 1
            # What an urgent fiber has just said to other hosts leaves before anybody here computes.
            said = fiber.urgent and self.poller is not None and self.poller.pending
            if said or self._clock() - self._polled > POLL_EVERY_S:
                self._poll(0.0)

    def close(self) -> None:
        """End every fiber that still waits, so that nothing of it is kept."""
        for fiber in list(self._parked):
            fiber.throw(greenlet.GreenletExit)

    def waits(self) -> list[tuple[str, str]]:
        """Who waits, and for what: (fiber's name, words), in the order in which they began to."""
        return [(fiber.name, fiber.waiting()) for fiber in self._parked if fiber.waiting is not None]

    @property
    def busy(self) -> bool:
        """Whether some fiber could run now."""
        return bool(self._urgent or self._ready)

    def _enqueue(self, fiber: Fiber) -> None:
        fiber.queued = True
        (self._urgent if fiber.urgent else self._ready).append(fiber)

    def _next(self) -> Fiber | None:
        if self._urgent:
            return self._urgent.popleft()
        return self._ready.popleft() if self._ready else None

    def _park(self, fiber: Fiber, what: Callable[[], str], deadline: float | None) -> None:
        fiber.waiting = what
        self._parked[fiber] = None
        if deadline is not None:
            self._timed[fiber] = deadline
        try:
            self._home.switch()
        finally:
            # Also when the fiber is ended here: the collector does not see into a dict of fibers that were waiting.
            del self._parked[fiber]
            self._timed.pop(fiber, None)
            fiber.waiting = None

    def _sleep(self) -> None:
        """Nobody can run: wait for news, or for the first deadline."""
        if self.on_still is not None:
            self.on_still()
            if self.busy:
                return
        until = min(self._timed.values(), default=None)
        self._poll(IDLE_AFTER_S if until is None else min(IDLE_AFTER_S, max(0.0, until - self._clock())))
        if until is None and not self.busy and self.on_idle is not None:
            self.on_idle()

    def _poll(self, timeout_s: float | None) -> None:
        if self.poller is not None:
            self.poller.poll(timeout_s)
        elif timeout_s is None:
            raise RuntimeError("this program waits for news and is connected to nobody")
        elif timeout_s:
            self._stuck()
            time.sleep(timeout_s)
        self._polled = now = self._clock()
        for fiber in [late for late, deadline in self._timed.items() if deadline <= now]:
            self.wake(fiber)
        if self.on_poll is not None:
            self.on_poll()

    def _stuck(self) -> None:
        """Without anything outside, fibers that all wait without a deadline wait for ever."""
        if self._parked and not self._timed:
            raise RuntimeError("deadlock: " + "; ".join(f"{who} waits for {what}" for who, what in self.waits()))

    def _wait_alone(self, condition: Condition, what: Callable[[], str], deadline: float | None) -> bool:
        """Wait in the operating system; whoever looks at the log is told for what, if it takes long."""
        say_at, every_s = self._clock() + SAY_AFTER_S, SAY_AFTER_S
        while not condition():
            now = self._clock()
            if deadline is not None and deadline <= now:
                return False
            if say_at <= now:
                logger.warning("still waiting for %s", what())
                every_s *= 2
                say_at = now + every_s
            self._poll(say_at - now if deadline is None else min(say_at, deadline) - now)
        return True


def surroundings() -> object | None:
    """What the host gave to the fiber that calls this; None outside a host."""
    current = greenlet.getcurrent()
    return current.surroundings if isinstance(current, Fiber) else None
