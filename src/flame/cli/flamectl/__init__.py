"""`flamectl`: designs, datasets and jobs of an API server, with the commands and the outputs of Cisco Flame's client.

Exit status: 0 when it was done; 1 when it was not, after one message on standard error.
"""

from __future__ import annotations

import argparse
import io
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from flame.cli.flamectl import datasets, designs, jobs
from flame.cli.flamectl.apiserver import CONFIG, Failed, apiserver, is_name
from flame.cli.flamectl.command import Command
from flame.cli.flamectl.shown import plain
from flame.errors import ConfigError, FlameError

COMMANDS = (*designs.COMMANDS, *datasets.COMMANDS, *jobs.COMMANDS)
VERBS = {
    "create": "put something new on the server",
    "get": "show something that the server has",
    "update": "put something in the place of what the server has",
    "remove": "take something off the server",
    "start": "start a job",
    "stop": "stop a job",
}
DESIGN = "DESIGN"
FILES = ("FILE", "ZIP_OR_FOLDER")


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """Upstream's scripts expect 1 of whatever fails, a wrong command line included."""
        self.print_usage(sys.stderr)
        self.exit(1, f"{self.prog}: {message}\n")


def parser() -> argparse.ArgumentParser:
    """The parser of the whole command line."""
    whole = _Parser(prog="flamectl", description="Manage the designs, datasets and jobs of an API server.")
    _add_everywhere(whole, None)
    verbs = whole.add_subparsers(required=True, metavar="COMMAND")
    for verb, what in VERBS.items():
        one = verbs.add_parser(verb, help=what, description=what[0].upper() + what[1:] + ".")
        nouns = one.add_subparsers(required=True)
        for command in COMMANDS:
            if command.verb == verb:
                _add(nouns, command)
    return whole


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit status."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a name may have letters that a terminal has not
    arguments, more = parser().parse_known_args(argv)
    command: Command = arguments.command
    given = _given(arguments, more)
    try:
        _check_names(command, given)
        with apiserver(arguments.config, verified=not arguments.insecure) as api:
            print(plain(command.run(api, arguments, *given)), flush=True)
    except Failed as error:
        print(plain(f"Failed to {command.doing} - code: {error.code}; {error}"), file=sys.stderr)
        return 1
    except FlameError as error:
        print(plain(f"flamectl: {error}"), file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("flamectl: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # Whoever read our output has gone; the interpreter's own last flush must not complain about it again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def _add(nouns: Any, command: Command) -> None:
    takes, by_option = " ".join(command.takes), command.takes[:1] == (DESIGN,)
    usage = f"%(prog)s [OPTIONS] {takes}".rstrip()
    if by_option:
        usage += "\n       " + " ".join(["%(prog)s [OPTIONS]", *command.takes[1:], "--design", DESIGN])
    what = command.doing[0].upper() + command.doing[1:] + "."
    parser = nouns.add_parser(command.noun, help=command.doing, description=what, usage=usage)
    # They are counted by hand: an option may stand between them, or for the first of them.
    parser.add_argument("given", nargs="*", help=argparse.SUPPRESS)
    if by_option:
        parser.add_argument("--design", metavar=DESIGN, help="the design, instead of the first argument")
    for option in command.options:
        parser.add_argument(*option.names, **option.settings)
    _add_everywhere(parser, argparse.SUPPRESS)
    parser.set_defaults(command=command, parser=parser)


def _add_everywhere(parser: argparse.ArgumentParser, default: str | None) -> None:
    """Add what may stand before the command and after it; what is not given after it must not undo what was before."""
    parser.add_argument(
        "--config", type=Path, default=default, metavar="FILE", help=f"the settings (default: {CONFIG})"
    )
    parser.add_argument(
        "--insecure",
        action="store_true",
        default=default or False,
        help="do not check the server's certificate",
    )


def _given(arguments: argparse.Namespace, more: Sequence[str]) -> list[str]:
    """The arguments of a command in its order; ends the process if there are too many or too few."""
    command, wrong = arguments.command, arguments.parser.error
    if unknown := [one for one in more if one.startswith("-")]:
        wrong(f"unrecognized arguments: {' '.join(unknown)}")
    design = getattr(arguments, "design", None)
    given = [*([] if design is None else [design]), *arguments.given, *more]
    if len(given) != len(command.takes):
        wrong(f"takes {' '.join(command.takes) or 'no arguments'}, and got {' '.join(given) or 'none'}")
    return given


def _check_names(command: Command, given: Sequence[str]) -> None:
    for what, one in zip(command.takes, given, strict=True):
        if what not in FILES and not is_name(one):
            raise ConfigError(what, f"{one!r} is no id")
