"""`flame server`: the control plane, the API and the agents of one machine, in one process."""

from __future__ import annotations

import argparse
import logging
import signal
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path

from flame.backend.tcp import join, listen
from flame.errors import ConfigError
from flame.extend import lookup

PORT = 10100
REGION = "default/us"
NEEDED = ("fastapi", "httpx", "python_multipart", "sqlalchemy", "uvicorn")


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds the command."""
    command = commands.add_parser(
        "server",
        help="run a control plane",
        description="A control plane: an API for designs, datasets and jobs, and the processes of the jobs' tasks on"
        " this machine. Whoever reaches it may run programs here as the user that it runs as.",
    )
    command.add_argument("--host", default="127.0.0.1", metavar="NAME", help="where it listens (default: %(default)s)")
    command.add_argument("--port", type=int, default=PORT, metavar="N", help="default: %(default)s; 0: any free one")
    command.add_argument("--store", default="sqlite:///flame.db", metavar="URL", help="default: %(default)s")
    command.add_argument(
        "--work", type=Path, default=Path("flame-jobs"), metavar="DIR", help="the tasks' folders (default: %(default)s)"
    )
    command.add_argument(
        "--broker",
        action="append",
        default=[],
        metavar="SORT=HOST:PORT",
        help="where workers of p2p or mqtt meet (default: a rendezvous and a broker in this process)",
    )
    command.add_argument(
        "--compute",
        action="append",
        default=[],
        metavar="ID=REGION",
        help=f"a compute that this machine stands for (default: default={REGION}); may be given several times",
    )
    command.add_argument(
        "--silence",
        type=_seconds,
        default=60.0,
        metavar="S",
        help="after how many seconds without a word an agent and the server give each other up (default: %(default)g)",
    )
    command.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing:
        raise ConfigError("flame server", f"needs {', '.join(missing)}", "pip install 'flame-fl[control]'")
    _serve(arguments)
    return 0


def _serve(arguments: argparse.Namespace) -> None:
    import uvicorn

    from flame.api.app import make_app
    from flame.api.guard import LOOPBACK
    from flame.cli.meeting import meeting_points
    from flame.control.plane import Control
    from flame.control.store import Store
    from flame.control.watch import Watch

    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s %(message)s", level=logging.WARNING)
    computes = _pairs("--compute", arguments.compute) or {"default": REGION}
    with ExitStack() as stack:
        store = Store(arguments.store)
        stack.callback(store.close)
        brokers = stack.enter_context(meeting_points(_pairs("--broker", arguments.broker), store))
        control = Control(store, brokers, computes)
        door = stack.enter_context(listen(join(arguments.host, arguments.port)))
        host, port = door.getsockname()[:2]
        url = f"http://{join(host, port)}"
        deployer = lookup("deployer", "process")(url, arguments.work.absolute(), arguments.silence)
        watch = Watch(control, deployer, arguments.silence)
        hosts = LOOPBACK if arguments.host in LOOPBACK else ()
        app = make_app(control, hosts)
        watch.start()
        stack.callback(watch.stop)
        print(f"flame server at {url}, open to whoever reaches it", flush=True)
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning", access_log=False, lifespan="off"))
        for number in (signal.SIGINT, signal.SIGTERM):
            # It hands on what it was stopped by when it has stopped: we have things to put away after that.
            signal.signal(number, server.handle_exit)
        server.run([door])


def _seconds(text: str) -> float:
    """A time that an agent can be heard in: it asks every second."""
    value = float(text)
    if not value >= 2:
        raise argparse.ArgumentTypeError(f"{text} is below 2 s")
    return value


def _pairs(option: str, given: list[str]) -> dict[str, str]:
    """A table of what was written as NAME=VALUE."""
    pairs = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not (name and equals and value):
            raise ConfigError(f"{option} {text}", "is no NAME=VALUE")
        pairs[name] = value
    return pairs
