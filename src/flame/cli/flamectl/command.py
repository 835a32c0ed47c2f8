"""What a command of `flamectl` is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Option:
    """One option: its names, and how argparse is told of it."""

    names: tuple[str, ...]
    settings: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Command:
    """`flamectl VERB NOUN …`.

    Attributes:
        verb: what is done.
        noun: to what.
        takes: the arguments, in order. A `DESIGN` that is the first may also be given as `--design`.
        doing: the same in words, for the help and for `Failed to …`.
        run: does it, given the server, the options and the arguments; what it returns is printed.
        options: the options that only this command has.
    """

    verb: str
    noun: str
    takes: tuple[str, ...]
    doing: str
    run: Callable[..., str]
    options: tuple[Option, ...] = ()


LIMIT = Option(
    ("-l", "--limit"), {"type": int, "default": 100, "metavar": "N", "help": "at most so many; 0: all (default: 100)"}
)
