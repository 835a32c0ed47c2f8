"""A small MQTT broker in pure Python (amqtt), for machines on which none is installed."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from flame.backend.credentials import Credentials
from flame.errors import ChannelError, ConfigError


async def serve(
    address: str, credentials: Credentials | None, ready: Callable[[], None], stopped: asyncio.Event
) -> None:
    """Be a broker at host:port until it is stopped.

    Args:
        address: where it listens.
        credentials: the files of TLS; None lets everybody in.
        ready: called when it listens.
        stopped: set when it is to end.

    Raises:
        ConfigError: amqtt is not installed.
        ChannelError: nobody can listen there.
    """
    try:
        from amqtt.broker import Broker
    except ImportError as error:
        raise ConfigError("amqtt", "is not installed", "pip install 'flame-fl[broker]'") from error
    logging.getLogger("amqtt").setLevel(logging.ERROR)
    listener: dict[str, object] = {"type": "tcp", "bind": address, "max_connections": 0}
    if credentials is not None:
        ca, cert, key = map(str, (credentials.ca, credentials.cert, credentials.key))
        listener |= {"ssl": True, "cafile": ca, "certfile": cert, "keyfile": key}
    broker = Broker(
        {
            "listeners": {"default": listener},
            "plugins": {"amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}},
            "timeout_disconnect_delay": 2,
        }
    )
    try:
        await broker.start()
    except Exception as error:  # amqtt wraps whatever went wrong in errors of its own
        raise ChannelError(f"cannot listen at {address}: {error}") from error
    ready()
    await stopped.wait()
    await broker.shutdown()
