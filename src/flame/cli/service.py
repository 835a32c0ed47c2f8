"""What the commands that serve others have in common: where they listen, and who is let in."""

from __future__ import annotations

import argparse
from pathlib import Path

from flame.backend.credentials import Credentials
from flame.errors import ConfigError

OWN_FILES = (("ca", "the authority's certificate"), ("cert", "its own certificate"), ("key", "its own key"))


def add_options(command: argparse.ArgumentParser, port: int) -> None:
    """Add `--listen` and the files of TLS."""
    command.add_argument(
        "--listen",
        default=f"localhost:{port}",
        metavar="HOST:PORT",
        help="where workers reach it (default: %(default)s; 0.0.0.0:PORT for workers on other machines)",
    )
    for name, what in OWN_FILES:
        command.add_argument(f"--{name}", type=Path, metavar="FILE", help=f"TLS: {what}")


def credentials_of(arguments: argparse.Namespace) -> Credentials | None:
    """The files of TLS that were given; None if none was.

    Raises:
        ConfigError: some were given, and not all.
    """
    files = (arguments.ca, arguments.cert, arguments.key)
    if any(files) and not all(files):
        raise ConfigError("--ca, --cert, --key", "TLS needs all three", "make them with `flame ca service`")
    return Credentials(*files) if all(files) else None
