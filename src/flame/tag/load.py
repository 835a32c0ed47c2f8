"""A JSON or YAML file as plain values; repeated keys are remembered, and every error has a line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from flame.errors import TagError
from flame.tag.finding import Finding


class Repeated(dict[Any, Any]):
    """An object in which some keys were written twice: `keys_again` names them, the last value counts."""

    keys_again: tuple[str, ...] = ()


def load(path: str | Path) -> Any:
    """The file's content as plain values; YAML when the name ends in `.yaml` or `.yml`, else JSON.

    Raises:
        TagError: there is no such file, or it is not JSON or YAML; the finding says at which line and column.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise unreadable(str(path), f"cannot be read: {error.strerror}", "check the name") from error
    except UnicodeDecodeError as error:
        raise unreadable(str(path), f"is not UTF-8 text: byte {error.start}", "save it as UTF-8") from error
    return parse_text(text, source=str(path), is_yaml=path.suffix.lower() in (".yaml", ".yml"))


def parse_text(text: str, *, source: str = "", is_yaml: bool = False) -> Any:
    """Text as plain values.

    Raises:
        TagError: it is not JSON, or not YAML when `is_yaml`; the finding says at which line and column.
    """
    if is_yaml:
        # A worker reads JSON: it does without the YAML library's memory.
        from flame.tag.yaml_text import values

        return values(text, source)
    try:
        return json.loads(text, object_pairs_hook=pairs_to_object)
    except json.JSONDecodeError as error:
        where = f"{source}:{error.lineno}:{error.colno}"
        raise unreadable(where, f"is not JSON: {error.msg}", "look just before this place") from error
    except RecursionError as error:
        raise unreadable(source, "is nested too deeply", "a TAG has five levels") from error
    except ValueError as error:
        raise unreadable(source, f"holds a value that cannot be read: {error}") from error


def unreadable(where: str, reason: str, fix: str = "") -> TagError:
    """The error of a file that is not what its name says."""
    return TagError([Finding(where, reason, fix, "unreadable")])


def pairs_to_object(pairs: list[tuple[Any, Any]]) -> dict[Any, Any]:
    """An object of its pairs; one that remembers its repeated keys if it has any."""
    plain = dict(pairs)
    if len(plain) == len(pairs):
        return plain
    repeated = Repeated(pairs)
    seen: set[Any] = set()
    again = [key for key, _ in pairs if key in seen or seen.add(key)]  # type: ignore[func-returns-value]
    repeated.keys_again = tuple(dict.fromkeys(again))
    return repeated
