"""`flame rendezvous`: tells workers of a job that are started on several machines where the others are."""

from __future__ import annotations

import argparse
import signal
import threading
from pathlib import Path

from flame.backend.courier import Courier
from flame.backend.guarded import lines
from flame.backend.p2p import RENDEZVOUS_PORT, listen
from flame.backend.reception import Reception
from flame.backend.tcp import Connection, join
from flame.backend.tls import Credentials
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
    line = lines(Credentials(*files)).take if all(files) else Connection
    token = read_token(arguments.token_file) if arguments.token_file else b""
    door = listen(arguments.listen)
    stopped = threading.Event()
    failures: list[BaseException] = []

    def failed(error: BaseException) -> None:
        failures.append(error)
        stopped.set()

    courier = Courier("flame-rendezvous", failed)
    Reception(courier, door, token, line)
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


def read_token(path: Path) -> bytes:
    """What is in a token's file, less the white space around it.

    Raises:
        ConfigError: it cannot be read, or is too short to be a secret.
    """
    try:
        token = path.read_bytes().strip()
    except OSError as error:
        raise ConfigError(str(path), f"cannot be read: {error.strerror}") from error
    if len(token) < 16:
        fix = "put at least 16 random bytes there, such as the output of `openssl rand -hex 32`"
        raise ConfigError(str(path), "is too short for a token", fix)
    return token
