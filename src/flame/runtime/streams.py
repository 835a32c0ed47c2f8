"""Every worker's own random numbers, however many workers share a process.

Programs draw from the process's global generators (`random`, `numpy.random`, torch). Before a worker's own code runs,
they are seeded from (run's seed, worker, turn), where a turn is a stretch of the program's own code between two steps
of the engine. A worker that several others give orders to counts its turns anew for each order, as nothing says whose
comes first. So what a worker draws depends neither on the host that it is in nor on who ran before it, and a turn can
be repeated without having saved any state. Only a worker that waits in the middle of its own code has its generators'
states put aside and restored.
"""

from __future__ import annotations

import hashlib
import random
import sys
from collections.abc import Mapping
from typing import Any

import numpy as np

_GOLDEN = 0x9E3779B97F4A7C15
_WORD = (1 << 64) - 1


class Turn:
    """One worker's place in its sequence of turns."""

    __slots__ = ("count", "key", "open", "order", "saved", "worker")

    def __init__(self, worker: str) -> None:
        self.worker, self.order = worker, ""
        self.key = 0
        self.count = 0
        self.open = False
        self.saved: tuple[Any, ...] | None = None

    def anew(self, order: str) -> None:
        """Between two turns: those that come are counted from the first, for an order of that name."""
        self.order, self.count = order, 0


class Streams:
    """The process's global generators, lent to one worker at a time.

    Args:
        seed: the run's seed.
    """

    def __init__(self, seed: int) -> None:
        self._seed = str(seed).encode()
        self._owner: Turn | None = None

    def begin(self, turn: Turn) -> None:
        """The worker's own code runs next."""
        if turn.open:
            return
        self._put_aside()
        turn.open = True
        self._owner = turn
        if not turn.count:
            key = b"/".join((self._seed, turn.worker.encode(), *([turn.order.encode()] if turn.order else [])))
            turn.key = int.from_bytes(hashlib.blake2b(key, digest_size=8).digest(), "little")
        turn.count += 1
        self._sow(_mixed(turn.key + turn.count * _GOLDEN))

    def end(self, turn: Turn) -> None:
        """The worker's own code has run."""
        turn.open = False
        turn.saved = None

    def resume(self, turn: Turn) -> None:
        """The worker goes on after a wait; if it waited in its own code, it finds the generators as it left them."""
        if turn.open and self._owner is not turn:
            self._put_aside()
            self._owner = turn
            if turn.saved is not None:
                _restore(turn.saved)
                turn.saved = None

    def state(self, turn: Turn) -> dict[str, Any]:
        """Where a worker that waits is in its sequence of turns, and its generators' states if it is in one."""
        if not turn.open:
            return {"count": turn.count}
        return {"count": turn.count, "generators": _states() if turn.saved is None else turn.saved}

    def restore(self, turn: Turn, state: Mapping[str, Any]) -> None:
        """The worker that runs goes on from what `state` returned."""
        self._put_aside()
        turn.count, turn.saved = state["count"], None
        turn.open = "generators" in state
        if turn.open:
            self._owner = turn
            _restore(state["generators"])

    def _put_aside(self) -> None:
        if self._owner is not None and self._owner.open:
            self._owner.saved = _states()

    def _sow(self, number: int) -> None:
        _seed_python(number)
        np.random.seed(number & 0xFFFFFFFF)
        torch = sys.modules.get("torch")
        if torch is not None:
            torch.default_generator.manual_seed(number >> 1)


def _mixed(number: int) -> int:
    """SplitMix64's finaliser (Steele, Lea, Flood 2014): neighbouring numbers become unrelated ones."""
    number &= _WORD
    number = (number ^ (number >> 30)) * 0xBF58476D1CE4E5B9 & _WORD
    number = (number ^ (number >> 27)) * 0x94D049BB133111EB & _WORD
    return number ^ (number >> 31)


def _seed_python(number: int) -> None:
    """As `random.seed(number)`, without looking at what kind of thing the number is."""
    generator = random.seed.__self__  # type: ignore[attr-defined]  # the module's functions are its methods
    super(random.Random, generator).seed(number)
    generator.gauss_next = None


def _states() -> tuple[Any, ...]:
    torch = sys.modules.get("torch")
    return random.getstate(), np.random.get_state(), None if torch is None else torch.get_rng_state()


def _restore(states: tuple[Any, ...]) -> None:
    python, numpy, of_torch = states
    random.setstate(python)
    np.random.set_state(numpy)
    if of_torch is not None:
        sys.modules["torch"].set_rng_state(of_torch)
