"""`flame rendezvous`: tells workers of a job that are started on several machines where the others are."""

from __future__ import annotations

import argparse
import signal
import threading
from pathlib import Path

from flame.backend.courier import Courier
from flame.backend.credentials import Credentials, read_token
from flame.backend.guarded import lines
from flame.backend.p2p import RENDEZVOUS_PORT, listen
from flame.backend.reception import Reception
from flame.backend.tcp import Lines, join
from flame.errors import ConfigError, FlameError


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds the command."""
    command = commands.add_parser(
        "rendezvous",
        help="tell workers on several machines where the others are",
        description="Tells the workers of every job that use p2p where the others are. It keeps nothing on disk and"
        " carries no models; it may be stopped and started again while jobs run.",
    )
    command.add_argument(
        "--listen",
        default=f"localhost:{RENDEZVOUS_PORT}",
        metavar="HOST:PORT",
        help="where workers reach it (default: %(default)s; 0.0.0.0:PORT for workers on other machines)",
    )
    command.add_argument("--token-file", type=Path, metavar="FILE", help="let in only who knows what is in this file")
    for name, what in (("ca", "the authority's certificate"), ("cert", "its own certificate"), ("key", "its own key")):
        command.add_argument(f"--{name}", type=Path, metavar="FILE", help=f"TLS: {what}")
    command.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    files = (arguments.ca, arguments.cert, arguments.key)
    if any(files) and not all(files):
        raise ConfigError("--ca, --cert, --key", "TLS needs all three", "make them with `flame ca service`")
    connections = lines(Credentials(*files)) if all(files) else Lines()
    token = read_token(arguments.token_file) if arguments.token_file else b""
    door = listen(arguments.listen)
    stopped = threading.Event()
    failures: list[BaseException] = []

    def failed(error: BaseException) -> None:
        failures.append(error)
        stopped.set()

    courier = Courier("flame-rendezvous", failed)
    Reception(courier, door, token, connections)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopped.set())
    courier.start()
    host, port = door.getsockname()[:2]
    guarded = [word for word, given in (("mutual TLS", all(files)), ("a token", token)) if given]
    print(f"rendezvous at {join(host, port)}, {' and '.join(guarded) or 'open to whoever reaches it'}", flush=True)
    stopped.wait()
    if failures:
        raise FlameError(f"the rendezvous failed: {failures[0]!r}") from failures[0]
    courier.stop()
    return 0
