"""Simulated time: how long a federation's work would have taken, however long it takes here.

`hyperparameters.simulatedTime` gives every trainer a speed and every round of its work a duration, drawn from the run's
seed. An order says at what time it was given, an update at what time it would be there; whoever leads goes on to the
times that its peers say. So the times hold through any number of tiers, need no common clock, and follow from the
seed alone.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from heapq import heappop, heappush
from random import Random
from typing import Any

import msgspec

from flame.channel.channel import Channel
from flame.channel.coding import Message
from flame.config import Config
from flame.errors import ConfigError, RunError
from flame.wire.message import Order, Update

NAME = "simulated"
"""The extra of an order and of an update that holds a time, in seconds since the run began."""

WHERE = "hyperparameters.simulatedTime"
SHAPES: Mapping[str, tuple[float, float]] = {"sigma": (0.0, 10.0), "alpha": (0.1, math.inf)}
DISTRIBUTIONS: Mapping[str, str | None] = {"constant": None, "lognormal": "sigma", "pareto": "alpha"}


class Spread:
    """A random factor: `constant` is 1; `lognormal` has median 1; `pareto` is at least 1, with a heavy tail.

    Raises:
        ConfigError: there is no such distribution, or its parameter is missing or out of range.
    """

    def __init__(self, where: str, setting: Any) -> None:
        if not isinstance(setting, Mapping) or setting.get("sort") not in DISTRIBUTIONS:
            raise ConfigError(where, f"is {setting!r}", f'give {{"sort": …}}; there are: {", ".join(DISTRIBUTIONS)}')
        self._sort = str(setting["sort"])
        shape = DISTRIBUTIONS[self._sort]
        for key in setting:
            if key not in ("sort", shape):
                raise ConfigError(f"{where}.{key}", f"{self._sort} has no such setting", f"it has {shape or 'none'}")
        self._shape = 0.0
        if shape is not None:
            least, most = SHAPES[shape]
            self._shape = _number(f"{where}.{shape}", setting.get(shape), least, most)

    def draw(self, generator: Random) -> float:
        """One factor."""
        if self._sort == "lognormal":
            return generator.lognormvariate(0.0, self._shape)
        return generator.paretovariate(self._shape) if self._sort == "pareto" else 1.0


class Work:
    """How long one trainer's rounds take: (seconds + perSample · samples) · its own factor · the round's factor.

    Args:
        setting: `hyperparameters.simulatedTime`.
        seed: the run's seed.
        name: the worker's, which its factors are drawn for.

    Raises:
        ConfigError: a setting that there is not, or a value that it cannot have.
    """

    def __init__(self, setting: Mapping[str, Any], seed: int | None, name: str) -> None:
        known = ("seconds", "perSample", "workers", "rounds")
        for key in setting:
            if key not in known:
                raise ConfigError(f"{WHERE}.{key}", "no such setting", f"there are: {', '.join(known)}")
        self._seconds = _number(f"{WHERE}.seconds", setting.get("seconds", 1.0), 0.0)
        self._per_sample = _number(f"{WHERE}.perSample", setting.get("perSample", 0.0), 0.0)
        self._rounds = Spread(f"{WHERE}.rounds", setting.get("rounds", {"sort": "constant"}))
        workers = Spread(f"{WHERE}.workers", setting.get("workers", {"sort": "constant"}))
        self._key = f"{seed}/{name}/{NAME}"
        self.factor = workers.draw(Random(self._key))

    def done(self, order: Order, samples: int) -> float:
        """When an order's work would be done, in seconds since the run began.

        Raises:
            RunError: the order says no time.
        """
        given = time_of(order, "whoever gave the order")
        base = (self._seconds + self._per_sample * samples) * self.factor
        return given + base * self._rounds.draw(Random(f"{self._key}/{order.round}/{given!r}"))

    def batch_s(self, size: int, epochs: int) -> float:
        """How long a batch of an epoch takes, as far as the time depends on the number of samples."""
        return self._per_sample * size * self.factor / epochs


class Clock:
    """The time that it is for whoever leads.

    Attributes:
        now: seconds since the run began.
    """

    def __init__(self) -> None:
        self.now = 0.0

    def stamped(self, order: Order) -> Order:
        """The order as it is given now."""
        return msgspec.structs.replace(order, extras={**order.extras, NAME: self.now})

    def reach(self, seconds: float) -> None:
        """It is at least that late."""
        self.now = max(self.now, seconds)


class Simulated:
    """Which of the busy peers is heard next in simulated time: the one whose answer would be there first.

    Before that can be said everybody who is busy must have answered; what they have sent waits where it is.

    Args:
        clock: says what time it is for a peer that has gone.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._due: list[tuple[float, int, str]] = []
        self._heard: dict[str, float] = {}
        self._count = 0

    def now(self) -> float:
        """Simulated seconds since the run began."""
        return self._clock.now

    def next(self, channel: Channel, busy: Collection[str], until: float | None = None) -> str | None:
        """The next; if several would be there at once, the one that was asked first; None if nobody is by `until`."""
        self._hear(channel, busy)
        if until is not None and self._due[0][0] > until:
            self._clock.reach(until)
            return None
        at, _, end = heappop(self._due)
        del self._heard[end]
        self._clock.reach(at)
        return end

    def due(self, end: str) -> float:
        """When the answer of a busy peer that was heard would be there."""
        return self._heard[end]

    def expect(self, end: str, at: float) -> None:
        """The answer of a busy peer would be there at a time; it is not looked for any more."""
        self._heard[end] = at
        heappush(self._due, (at, self._count, end))
        self._count += 1

    def idle(self, channel: Channel, busy: Collection[str]) -> list[str]:
        """Whoever is there by now."""
        self._hear(channel, busy)
        there = []
        while self._due and self._due[0][0] <= self._clock.now:
            there.append(heappop(self._due)[2])
            del self._heard[there[-1]]
        return there

    def _hear(self, channel: Channel, busy: Collection[str]) -> None:
        """Wait until everybody who is busy has answered, or gone."""
        for end in busy:
            if end not in self._heard:
                message = channel.next_of(end)
                self.expect(end, self._clock.now if message is None else time_of(message, end))


def work_of(config: Config) -> Work | None:
    """How long a worker's rounds take; None if the job simulates no time.

    Raises:
        ConfigError: a setting that there is not, or a value that it cannot have.
    """
    setting = config.hyperparameters.simulated_time
    return None if setting is None else Work(setting, config.seed, config.name or config.task_id)


def clock_of(config: Config) -> Clock | None:
    """The clock of a worker that leads; None if the job simulates no time.

    Raises:
        ConfigError: a setting that there is not, or a value that it cannot have.
    """
    return None if work_of(config) is None else Clock()


def time_of(message: Message, source: str) -> float:
    """The time that a message says.

    Raises:
        RunError: it says none, or no time that could be.
    """
    at = message.extras.get(NAME) if isinstance(message, Order | Update) else None
    if not isinstance(at, float) or not math.isfinite(at) or at < 0:
        raise RunError(
            f"{source} says no time (its extra {NAME!r} is {at!r:.40});"
            f" every worker of a job, or none, has {WHERE} in its config"
        )
    return at


def _number(where: str, value: Any, least: float, most: float = 1e12) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
        upper = "" if most == math.inf else f" and at most {most:g}"
        raise ConfigError(where, f"is {value!r}", f"give a number of at least {least:g}{upper}")
    return float(value)
