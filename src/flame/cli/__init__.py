"""The command line: `flame COMMAND …`, one module of this room per command."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from importlib import import_module, metadata
from importlib.util import find_spec
from typing import Any, NoReturn

from flame.errors import FlameError

COMMANDS = ("run", "tag", "server", "rendezvous", "broker", "ca")
DISTRIBUTION = "flame-fl"


class _Version(argparse.Action):
    """Prints which version is installed; it is looked up only when it is asked for."""

    def __init__(self, **options: Any) -> None:
        super().__init__(nargs=0, **options)

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> NoReturn:
        print(f"flame {metadata.version(DISTRIBUTION)}")
        parser.exit()


def parser() -> argparse.ArgumentParser:
    """The parser of the whole command line; each command's module adds its own part."""
    whole = argparse.ArgumentParser(prog="flame", description="Federated learning described as a graph.")
    whole.add_argument("--version", action=_Version, help="print the version and exit")
    subparsers = whole.add_subparsers(required=True, metavar="COMMAND")
    for name in COMMANDS:
        if find_spec(f"{__name__}.{name}"):
            import_module(f"{__name__}.{name}").register(subparsers)
    return whole


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit status: 0, or 2 after a message on standard error."""
    arguments = parser().parse_args(argv)
    arguments.own_process = argv is None
    try:
        status = int(arguments.run(arguments))
        sys.stdout.flush()
    except FlameError as error:
        print(f"flame: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:
        # Whoever read our output has gone; the interpreter's own last flush must not complain about it again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    return status
