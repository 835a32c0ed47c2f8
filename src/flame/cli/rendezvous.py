"""`flame rendezvous`: tells workers of a job that are started on several machines where the others are."""

from __future__ import annotations

import argparse
import signal
import threading
from pathlib import Path

from flame.backend.courier import Courier
from flame.backend.credentials import read_token
from flame.backend.guarded import lines
from flame.backend.p2p import RENDEZVOUS_PORT
from flame.backend.reception import Reception
from flame.backend.tcp import Lines, join, listen
from flame.cli.service import add_options, credentials_of
from flame.errors import FlameError


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds the command."""
    command = commands.add_parser(
        "rendezvous",
        help="tell workers on several machines where the others are",
        description="Tells the workers of every job that use p2p where the others are. It keeps nothing on disk and"
        " carries no models; it may be stopped and started again while jobs run.",
    )
    add_options(command, RENDEZVOUS_PORT)
    command.add_argument("--token-file", type=Path, metavar="FILE", help="let in only who knows what is in this file")
    command.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    credentials = credentials_of(arguments)
    connections = Lines() if credentials is None else lines(credentials)
    token = read_token(arguments.token_file) if arguments.token_file else b""
    door = listen(arguments.listen)
    stopped = threading.Event()
    failures: list[BaseException] = []

    def failed(error: BaseException) -> None:
        failures.append(error)
        stopped.set()

    courier = Courier("flame-rendezvous", failed)
    reception = Reception(courier, door, token, connections)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopped.set())
    courier.start()
    host, port = door.getsockname()[:2]
    guarded = [word for word, given in (("mutual TLS", credentials), ("a token", token)) if given]
    print(f"rendezvous at {join(host, port)}, {' and '.join(guarded) or 'open to whoever reaches it'}", flush=True)
    stopped.wait()
    if failures:
        raise FlameError(f"the rendezvous failed: {failures[0]!r}") from failures[0]
    courier.call(reception.close)
    courier.stop()
    return 0
