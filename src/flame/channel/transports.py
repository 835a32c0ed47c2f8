"""The backends of a program that was started by itself: each channel's own, made when it is first joined."""

from __future__ import annotations

import select
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

from flame.backend import Backend
from flame.backend.courier import Courier
from flame.backend.credentials import Credentials, read_token
from flame.backend.directory import Seat
from flame.backend.network import Network
from flame.backend.node import Node
from flame.backend.p2p import PLAIN, PeerToPeer
from flame.backend.peer import Me
from flame.backend.pool import Pool
from flame.channel.coding import CODING
from flame.config import Config
from flame.errors import ConfigError
from flame.extend import lookup
from flame.tag import Channel as Spec

Place = tuple[str, str, str]

STILL_WRITING_S = 0.05
"""How long a worker waits for news of several backends at once while something is still to be written."""


class Carrier(Backend, Protocol):
    """A backend that can be waited for beside others, and whose seats are taken one by one."""

    def fileno(self) -> int:
        """Readable when there is something to do."""

    @property
    def pending(self) -> bool:
        """Whether something waits to be written."""

    def sit(self, seats: Sequence[Seat], wants: Sequence[Place]) -> None:
        """Take seats, and let those who want to meet them, or whom they want to meet, know."""


class Transports:
    """Every backend that a worker uses, as one thing to wait for.

    Args:
        config: the worker's.
        pool: memory for all of them.
    """

    def __init__(self, config: Config, pool: Pool) -> None:
        self._config, self._pool = config, pool
        self._carriers: dict[tuple[str, str], Carrier] = {}

    def of(self, spec: Spec) -> Carrier:
        """The backend of a channel: its own, or the config's.

        Raises:
            ConfigError: nobody knows it, or it cannot join programs that are started one by one.
        """
        sort = str(spec.backend or self._config.backend)
        host = spec.broker_host or self._config.brokers.sort_to_host.get(sort, "")
        carrier = self._carriers.get((sort, host))
        if carrier is None:
            # Upstream's `local` is what is called `inproc` here.
            factory = lookup("backend", "inproc" if sort == "local" else sort)
            make = _foreign(factory) if hasattr(factory, "create_tx_task") else factory
            made: Carrier = make(self._config, host, self._pool)
            carrier = self._carriers[sort, host] = made
        return carrier

    @property
    def pending(self) -> bool:
        """Whether something waits to be written."""
        return any(carrier.pending for carrier in self._carriers.values())

    def poll(self, timeout_s: float | None) -> None:
        """Take in what has come on any of them; wait at most so long for it."""
        carriers = list(self._carriers.values())
        if len(carriers) == 1:
            carriers[0].poll(timeout_s)
            return
        if self.pending:
            for carrier in carriers:
                carrier.poll(0.0)
            # What the caller waits for may have come meanwhile; it looks, and asks again.
            most_s = STILL_WRITING_S if self.pending else 0.0
            timeout_s = most_s if timeout_s is None else min(most_s, timeout_s)
        poller = select.poll()
        for carrier in carriers:
            poller.register(carrier.fileno(), select.POLLIN)
        poller.poll(None if timeout_s is None else max(0, -int(-timeout_s * 1000)))
        for carrier in carriers:
            carrier.poll(0.0)

    def close(self) -> None:
        """Leave all of them; what was sent is delivered first."""
        for carrier in self._carriers.values():
            carrier.close()
        self._carriers.clear()
        self._pool.close()


def inproc(config: Config, host: str, pool: Pool) -> Carrier:
    """In memory, between the workers of one process; `flame run` uses it by itself.

    Raises:
        ConfigError: always: a program that is started by itself has nobody in its own process.
    """
    raise ConfigError(
        "backend",
        f"{config.backend} cannot join programs that are started one by one; shm, p2p and mqtt can",
        "choose one of them, or run the whole job with `flame run DIR`",
    )


def shm(config: Config, host: str, pool: Pool) -> Carrier:
    """Shared memory and unix sockets, between the processes of one machine."""
    from flame.backend.rendezvous import Together  # whoever talks over networks does without it

    return Together(CODING, pool, config.job.job_id, config.task_id)


def p2p(config: Config, host: str, pool: Pool) -> Carrier:
    """TCP connections between the workers, with TLS or without; `flame rendezvous` tells them where the others are.

    Raises:
        ConfigError: a file of TLS or the token's cannot be read.
        ChannelError: an address is none.
    """
    credentials = _credentials(config)
    lines = PLAIN
    if credentials is not None:
        from flame.backend.guarded import lines as guarded  # whoever has no TLS does without its memory

        lines = guarded(credentials)

    def finder(node: Node, courier: Courier) -> PeerToPeer:
        return PeerToPeer(node, courier, host, config.network.listen, lines)

    return Network(_me(config), CODING, pool, finder)


def mqtt(config: Config, host: str, pool: Pool) -> Carrier:
    """By way of an MQTT broker, with TLS or without.

    Raises:
        ConfigError: paho-mqtt is not installed, or a file of TLS or the token's cannot be read.
        ChannelError: the broker's address is none.
    """
    try:
        from flame.backend.mqtt import Mqtt
    except ImportError as error:
        raise ConfigError("backend", "mqtt needs paho-mqtt", "pip install 'flame-fl[mqtt]'") from error
    credentials = _credentials(config)
    context = None
    if credentials is not None:
        from flame.backend.tls import client_context

        context = client_context(credentials)

    def finder(node: Node, courier: Courier) -> Mqtt:
        return Mqtt(node, courier, host, context, config.network.patience)

    return Network(_me(config), CODING, pool, finder)


def _foreign(own: Any) -> Callable[[Config, str, Pool], Carrier]:
    """What makes a carrier of a program's own `AbstractBackend`."""

    def make(config: Config, host: str, pool: Pool) -> Carrier:
        from flame.channel.foreign import Foreign  # whoever has no such thing does without asyncio

        return Foreign(own(), host, config.job.job_id, config.task_id, config.network.patience)

    return make


def _me(config: Config) -> Me:
    path = config.network.token_file
    token = read_token(Path(path)) if path else b""
    return Me(config.job.job_id, config.task_id, token, config.network.silence)


def _credentials(config: Config) -> Credentials | None:
    files = config.network.files
    return Credentials(*map(Path, files)) if all(files) else None
