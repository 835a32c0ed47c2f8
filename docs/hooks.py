"""Fill the reference pages from the code when the documentation is built, so that they cannot drift apart.

A page says `<!-- generated: NAME -->` where the text goes; the functions of `GENERATED` write it.
"""

from __future__ import annotations

import argparse
import inspect
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cached_property

import flame
from flame import cli, errors, extend
from flame.cli import flamectl

KINDS = ("optimizer", "selector", "gate", "datasampler", "privacy", "compression", "backend", "registry")
MARKER = re.compile(r"^<!-- generated: (\w+) -->$", re.MULTILINE)
SECTIONS = ("Args", "Attributes", "Returns", "Yields", "Raises", "Example", "Examples")


def on_page_markdown(markdown: str, **_: object) -> str:
    """MkDocs calls this with every page's text."""
    return MARKER.sub(lambda match: GENERATED[match.group(1)](), markdown)


def of_errors() -> str:
    """One heading per error class, in the order of the tree."""
    return "\n\n".join(
        f"## {error.__name__}\n\nIs a {names(error.__bases__)}.\n\n{from_docstring(error)}" for error in error_classes()
    )


def error_classes() -> list[type[BaseException]]:
    """The classes of `flame.errors`, as declared."""
    return [value for value in vars(errors).values() if inspect.isclass(value) and issubclass(value, Exception)]


def of_cli() -> str:
    """One heading per command, with its help."""
    return of_parser(cli.parser())


def of_flamectl() -> str:
    """The same of the client of an API server."""
    return of_parser(flamectl.parser())


def of_parser(parser: argparse.ArgumentParser) -> str:
    """One heading per command of a parser, with its help."""
    return "\n\n".join(f"## {name}\n\n```text\n{one.format_help().strip()}\n```" for name, one in commands(parser))


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
    parts: list[str] = []
    told: set[str] = set()
    for kind in KINDS:
        parts.append(f"## {kind}")
        for name in extend.names(kind):
            factory = extend.lookup(kind, name)
            parts.append(f"### {name}\n\n{description(factory)}")
            if kind not in ("backend", "registry"):
                parts.append(f"Settings (`kwargs`): {settings(factory)}.")
            if kind in ("optimizer", "privacy", "compression") and factory.__module__ not in told:
                told.add(factory.__module__)  # one file may hold a family
                parts.append(inspect.getdoc(sys.modules[factory.__module__]) or "")
    return "\n\n".join(parts)


def settings(factory: Callable[..., object]) -> str:
    """The parameters of a factory that a config may give, with their defaults."""
    found = [
        f"`{p.name}`" if p.default in (None, p.empty) else f"`{p.name}` = {p.default}"
        for p in inspect.signature(factory).parameters.values()
        # The engine gives a selector its generator, and a privacy mechanism its noise.
        if p.kind is not p.VAR_KEYWORD and p.name not in ("generator", "noise")
    ]
    return ", ".join(found) or "none"


def of_api() -> str:
    """One heading per public name of `flame`."""
    return "\n\n".join(f"## flame.{name}\n\n{of_value(getattr(flame, name))}" for name in sorted(flame.__all__))


def of_value(value: object) -> str:
    """A public value: its signature, what it says of itself, and its public methods."""
    parts = []
    if callable(value) and not (isinstance(value, type) and issubclass(value, flame.Role | Exception)):
        parts.append(f"```text\n{value.__name__}{signature(value)}\n```")
    parts.append(from_docstring(value))
    if isinstance(value, type) and not issubclass(value, Exception):
        found = list(methods(value))
        parts += ["**Methods**", "\n".join(found)] if found else []
    return "\n\n".join(parts)


def methods(cls: type) -> Iterator[str]:
    """One line per public method or property that a class defines itself."""
    for name, member in vars(cls).items():
        inner = getattr(member, "__func__", getattr(member, "fget", getattr(member, "func", member)))
        if name.startswith("_") or not (inspect.isfunction(inner) and inspect.getdoc(inner)):
            continue
        call = (
            ""
            if isinstance(member, property | cached_property)
            else re.sub(r"\((self|cls)(, )?", "(", signature(inner))
        )
        summary = (inspect.getdoc(inner) or "").partition("\n\n")[0].replace("\n", " ")
        yield f"- `{name}{call}`: {summary}"


def signature(value: Callable[..., object]) -> str:
    """A callable's parameters as text, one a line where they are many, without annotations."""
    found = inspect.signature(value)
    bare = [plain(p) for p in found.parameters.values()]
    text = str(found.replace(parameters=bare, return_annotation=inspect.Signature.empty))
    return text if len(text) < 90 else text.replace("(", "(\n    ", 1).replace(", ", ",\n    ")


def plain(parameter: inspect.Parameter) -> inspect.Parameter:
    """A parameter without its annotation; an empty mapping as its default reads `{}`."""
    default = {} if isinstance(parameter.default, Mapping) else parameter.default
    return parameter.replace(annotation=inspect.Parameter.empty, default=default)


def names(classes: Iterable[type]) -> str:
    """The classes' names, as text."""
    return " and a ".join(f"`{cls.__name__}`" for cls in classes)


def description(value: object) -> str:
    """What a docstring says before its first section."""
    return from_docstring(value).partition("\n**")[0].strip()


def from_docstring(value: object) -> str:
    """A Google-style docstring as Markdown."""
    lines: list[str] = []
    section = ""
    for line in (inspect.getdoc(value) or "").splitlines():
        name, found, text = line.strip().partition(": ")
        if line.endswith(":") and line.rstrip(":") in SECTIONS:
            section = line.rstrip(":")
            lines += [f"**{section}**", ""]
        elif section in ("Args", "Attributes", "Raises") and re.match(r" {4}\S", line):
            lines.append(f"- `{name}`: {text}" if found else f"- {line.strip()}")
        elif section and line.startswith("    "):
            lines.append("  " + line.strip())
        else:
            section = "" if line.strip() else section
            lines.append(line)
    return "\n".join(lines).strip()


GENERATED: dict[str, Callable[[], str]] = {
    "errors": of_errors,
    "cli": of_cli,
    "flamectl": of_flamectl,
    "choices": of_choices,
    "api": of_api,
}
