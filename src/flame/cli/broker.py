"""`flame broker`: a small MQTT broker, for machines on which none is installed."""

from __future__ import annotations

import argparse
import asyncio
import logging
import signal
from pathlib import Path
from typing import Any

from flame.backend.tcp import join, split
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
    command.add_argument(
        "--listen",
        default=f"localhost:{PORT}",
        metavar="HOST:PORT",
        help="where workers reach it (default: %(default)s; 0.0.0.0:PORT for workers on other machines)",
    )
    for name, what in (("ca", "the authority's certificate"), ("cert", "its own certificate"), ("key", "its own key")):
        command.add_argument(f"--{name}", type=Path, metavar="FILE", help=f"TLS: {what}")
    command.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    files = (arguments.ca, arguments.cert, arguments.key)
    if any(files) and not all(files):
        raise ConfigError("--ca, --cert, --key", "TLS needs all three", "make them with `flame ca service`")
    try:
        from amqtt.broker import Broker
    except ImportError as error:
        raise ConfigError("amqtt", "is not installed", "pip install 'flame-fl[broker]'") from error
    try:
        host, port = split(arguments.listen, PORT)
    except ValueError as error:
        raise ChannelError(f"{arguments.listen!r} is no host:port: {error}") from error
    logging.getLogger("amqtt").setLevel(logging.ERROR)
    asyncio.run(_serve(Broker, join(host, port), files if all(files) else None))
    return 0


async def _serve(broker_class: Any, address: str, files: tuple[Path, Path, Path] | None) -> None:
    listener: dict[str, Any] = {"type": "tcp", "bind": address, "max_connections": 0}
    if files is not None:
        ca, cert, key = map(str, files)
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
    print(f"broker at {address}, {'TLS' if files else 'open to whoever reaches it'}", flush=True)
    await stopped.wait()
    await broker.shutdown()
