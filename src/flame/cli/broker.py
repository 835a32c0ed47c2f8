"""`flame broker`: a small MQTT broker, for machines on which none is installed."""

from __future__ import annotations

import argparse
import asyncio
import logging
import signal
from typing import Any

from flame.backend.credentials import Credentials
from flame.backend.tcp import join, split
from flame.cli.service import add_options, credentials_of
from flame.errors import ChannelError, ConfigError

PORT = 1883


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds the command."""
    command = commands.add_parser(
        "broker",
        help="run a small MQTT broker",
        description="An MQTT broker in pure Python (amqtt), for trying the mqtt backend where no broker is installed."
        " mosquitto carries three times as much: use it for work.",
    )
    add_options(command, PORT)
    command.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    credentials = credentials_of(arguments)
    try:
        from amqtt.broker import Broker
    except ImportError as error:
        raise ConfigError("amqtt", "is not installed", "pip install 'flame-fl[broker]'") from error
    try:
        host, port = split(arguments.listen, PORT)
    except ValueError as error:
        raise ChannelError(f"{arguments.listen!r} is no host:port: {error}") from error
    logging.getLogger("amqtt").setLevel(logging.ERROR)
    asyncio.run(_serve(Broker, join(host, port), credentials))
    return 0


async def _serve(broker_class: Any, address: str, credentials: Credentials | None) -> None:
    listener: dict[str, Any] = {"type": "tcp", "bind": address, "max_connections": 0}
    if credentials is not None:
        ca, cert, key = map(str, (credentials.ca, credentials.cert, credentials.key))
        listener |= {"ssl": True, "cafile": ca, "certfile": cert, "keyfile": key}
    settings = {
        "listeners": {"default": listener},
        "plugins": {"amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}},
        "timeout_disconnect_delay": 2,
    }
    stopped = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    broker = broker_class(settings)
    try:
        await broker.start()
    except Exception as error:  # amqtt wraps whatever went wrong in errors of its own
        raise ChannelError(f"cannot listen at {address}: {error}") from error
    print(f"broker at {address}, {'TLS' if credentials else 'open to whoever reaches it'}", flush=True)
    await stopped.wait()
    await broker.shutdown()
