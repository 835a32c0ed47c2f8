"""`flame broker`: a small MQTT broker, for machines on which none is installed."""

from __future__ import annotations

import argparse
import asyncio
import signal

from flame.backend.broker import serve
from flame.backend.credentials import Credentials
from flame.backend.tcp import join, split
from flame.cli.service import add_options, credentials_of
from flame.errors import ChannelError

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
        host, port = split(arguments.listen, PORT)
    except ValueError as error:
        raise ChannelError(f"{arguments.listen!r} is no host:port: {error}") from error
    asyncio.run(_serve(join(host, port), credentials))
    return 0


async def _serve(address: str, credentials: Credentials | None) -> None:
    stopped = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    told = f"broker at {address}, {'TLS' if credentials else 'open to whoever reaches it'}"
    await serve(address, credentials, lambda: print(told, flush=True), stopped)
