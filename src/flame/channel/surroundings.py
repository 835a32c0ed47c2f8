"""What a worker finds around it: given by the host that it runs in, or made for a program that runs alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from flame.backend.directory import Seat
from flame.backend.pool import Pool
from flame.channel.transports import Transports
from flame.common.fiber import Fiber, Hub, surroundings
from flame.config import Config
from flame.tag import Channel as Spec


class Events(Protocol):
    """Where a worker reports what it did; the host hands it on to whoever watches the run."""

    def tasklet(self, alias: str, start: float, seconds: float) -> None:
        """A tasklet has run; `start` is on the host's monotonic clock."""

    def metrics(self, round_number: int, values: Mapping[str, object]) -> None:
        """What a worker measured in a round."""

    def round_closed(
        self, round_number: int, asked: int, folded: int, nbytes: int, simulated_s: float | None = None
    ) -> None:
        """An aggregator that leads the run has closed a round, so many simulated seconds after the run began."""

    def ordered(self, leader: str, round_number: int) -> None:
        """One of several leaders has an order for the worker: what it draws now must not hang on who spoke first."""

    def model(self, save: Callable[[str], None]) -> None:
        """A final model is there; `save(path)` writes it."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """A worker's host, as far as the worker needs to know it.

    Attributes:
        backend_of: what carries a channel's messages.
        sit: takes a seat on a backend, to meet that role; None in a host, where everybody is seated beforehand.
        hub: lets it wait.
        memory: for messages; shared with other hosts where that saves a copy.
        readable: a worker's name for people, from its task id.
        seed: the run's seed; None where nobody asked for one.
        events: where it reports.
        early: messages that came before the worker was there: (channel, source, message).
        fiber: the worker's fiber; None for a program that runs alone.
        patience_s: how long to wait for peers when all of them have gone; None in a host, which sees when nobody can
            come any more.
        close: ends what was made for a program that runs alone.
    """

    backend_of: Callable[[Spec], Any]
    sit: Callable[[Any, Seat, str], None] | None
    hub: Hub
    memory: Pool
    readable: Callable[[str], str]
    seed: int | None
    events: Events | None
    early: list[tuple[str, str, object]]
    fiber: Fiber | None
    patience_s: float | None
    close: Callable[[], None]


def around(config: Config) -> Surroundings:
    """What is around the caller: its host's, or, for a program that runs alone, what its config asks for.

    Raises:
        ConfigError: a backend that the config names cannot join separate programs.
    """
    found = surroundings()
    return found if isinstance(found, Surroundings) else _alone(config)


def _alone(config: Config) -> Surroundings:
    pool = Pool()
    transports = Transports(config, pool)
    return Surroundings(
        backend_of=transports.of,
        sit=lambda backend, seat, other: backend.sit([seat], [(seat.channel, seat.group, other)]),
        hub=Hub(transports),
        memory=pool,
        readable=lambda end: end[:12],
        seed=config.seed,
        events=None,
        early=[],
        fiber=None,
        patience_s=config.network.patience,
        close=transports.close,
    )
