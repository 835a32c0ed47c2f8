"""What a worker finds around it: given by the host that it runs in, or made for a program that runs alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from flame.backend import Backend
from flame.backend.directory import Directory, Seat
from flame.backend.pool import Pool
from flame.backend.rendezvous import Rendezvous
from flame.backend.shm import SharedMemory
from flame.channel.coding import CODING
from flame.common.fiber import Fiber, Hub, surroundings
from flame.config import Config
from flame.errors import ConfigError


class Events(Protocol):
    """Where a worker reports what it did; the host hands it on to whoever watches the run."""

    def tasklet(self, alias: str, start: float, seconds: float) -> None:
        """A tasklet has run; `start` is on the host's monotonic clock."""

    def metrics(self, round_number: int, values: Mapping[str, object]) -> None:
        """What a worker measured in a round."""

    def round_closed(self, round_number: int, asked: int, folded: int, nbytes: int) -> None:
        """An aggregator that leads the run has closed a round."""

    def model(self, save: Callable[[str], None]) -> None:
        """A final model is there; `save(path)` writes it."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """A worker's host, as far as the worker needs to know it.

    Attributes:
        backend: carries its messages.
        hub: lets it wait.
        memory: for messages; shared with other hosts where that saves a copy.
        readable: a worker's name for people, from its task id.
        seed: the run's seed; None where nobody asked for one.
        events: where it reports.
        join: takes its seats; None in a host, where everybody is seated before anybody runs.
        early: messages that came before the worker was there: (channel, source, message).
        fiber: the worker's fiber; None for a program that runs alone.
        close: ends what was made for a program that runs alone.
    """

    backend: Backend
    hub: Hub
    memory: Pool
    readable: Callable[[str], str]
    seed: int | None
    events: Events | None
    join: Callable[[list[Seat]], None] | None
    early: list[tuple[str, str, object]]
    fiber: Fiber | None
    close: Callable[[], None]


def around(config: Config) -> Surroundings:
    """What is around the caller: its host's, or, for a program that runs alone, what its config asks for.

    Raises:
        ConfigError: the config's backend cannot join separate programs.
    """
    found = surroundings()
    return found if isinstance(found, Surroundings) else _alone(config)


def _alone(config: Config) -> Surroundings:
    sorts = {channel.backend or config.backend for channel in config.channels.values()}
    for sort in sorts:
        if str(sort) != "shm":
            raise ConfigError(
                "backend",
                f"{sort!s} cannot join programs that are started one by one; shm can, on one machine",
                'set "backend": "shm", or run the whole job with `flame run DIR`',
            )
    pool = Pool()
    directory = Directory()
    backend = SharedMemory(directory, CODING, pool)
    hub = Hub(backend)
    rendezvous = Rendezvous(backend, config.job.job_id, config.task_id)

    def close() -> None:
        rendezvous.close()
        backend.close()

    return Surroundings(
        backend=backend,
        hub=hub,
        memory=pool,
        readable=lambda end: end[:12],
        seed=config.seed,
        events=None,
        join=rendezvous.announce,
        early=[],
        fiber=None,
        close=close,
    )
