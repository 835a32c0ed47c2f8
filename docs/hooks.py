"""Fill the reference pages from the code when the documentation is built, so that they cannot drift apart.

A page says `<!-- generated: NAME -->` where the text goes; the functions of `GENERATED` write it.
"""

from __future__ import annotations

import argparse
import inspect
import re
import textwrap
from collections.abc import Callable, Iterator

import flame
from flame import cli, errors, extend

KINDS = ("optimizer", "selector", "backend", "registry")
MARKER = re.compile(r"^<!-- generated: (\w+) -->$", re.MULTILINE)
SECTIONS = ("Args", "Attributes", "Returns", "Yields", "Raises", "Example", "Examples")


def on_page_markdown(markdown: str, **_: object) -> str:
    """MkDocs calls this with every page's text."""
    return MARKER.sub(lambda match: GENERATED[match.group(1)](), markdown)


def of_errors() -> str:
    """One heading per error class, in the order of the tree."""
    return "\n\n".join(
        f"## {error.__name__}\n\nis a `{error.__base__.__name__}`.\n\n{from_docstring(error)}"
        for error in error_classes()
    )


def error_classes() -> list[type[BaseException]]:
    """The classes of `flame.errors`, as declared."""
    return [value for value in vars(errors).values() if inspect.isclass(value) and issubclass(value, Exception)]


def of_cli() -> str:
    """One heading per command, with its help."""
    return "\n\n".join(
        f"## {name}\n\n```text\n{parser.format_help().strip()}\n```" for name, parser in commands(cli.parser())
    )


def commands(parser: argparse.ArgumentParser) -> Iterator[tuple[str, argparse.ArgumentParser]]:
    """A parser and all of its sub-commands, depth first, by their whole name."""
    parser.formatter_class = lambda prog: argparse.HelpFormatter(prog, width=96)
    yield parser.prog, parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for child in action.choices.values():
                yield from commands(child)


def of_choices() -> str:
    """One heading per name that a config may choose, by room."""
    parts = []
    for kind in KINDS:
        parts.append(f"## {kind}")
        for name in extend.names(kind):
            factory = extend.lookup(kind, name)
            parts.append(f"### {name}\n\n{from_docstring(factory)}\n\nSettings: `{signature(factory)}`")
    return "\n\n".join(parts)


def of_api() -> str:
    """One heading per public name of `flame`."""
    parts = []
    for name in sorted(flame.__all__):
        value = getattr(flame, name)
        head = f"```text\n{name}{signature(value)}\n```\n\n" if callable(value) else ""
        parts.append(f"## flame.{name}\n\n{head}{from_docstring(value)}")
    return "\n\n".join(parts)


def signature(value: object) -> str:
    """A callable's parameters as text, without annotations that no reader needs."""
    try:
        found = inspect.signature(value)
    except (TypeError, ValueError):
        return "(…)"
    bare = [p.replace(annotation=inspect.Parameter.empty) for p in found.parameters.values()]
    return str(found.replace(parameters=bare, return_annotation=inspect.Signature.empty))


def from_docstring(value: object) -> str:
    """A Google-style docstring as Markdown."""
    lines, section = [], False
    for line in (inspect.getdoc(value) or "").splitlines():
        if line.rstrip(":") in SECTIONS and line.endswith(":"):
            section = True
            lines += [f"**{line.rstrip(':')}**", ""]
        elif section and re.match(r" {4}\S", line):
            name, found, text = line.strip().partition(": ")
            lines.append(f"- `{name}`: {text}" if found else f"- {line.strip()}")
        elif section and line.startswith("     "):
            lines.append("  " + line.strip())
        else:
            section = section and not line.strip()
            lines.append(line)
    return textwrap.dedent("\n".join(lines)).strip()


GENERATED: dict[str, Callable[[], str]] = {
    "errors": of_errors,
    "cli": of_cli,
    "choices": of_choices,
    "api": of_api,
}
