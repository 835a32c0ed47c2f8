"""A JSON or YAML file as plain values; repeated keys are remembered, and every error has a line."""

from __future__ import annotations

import json
from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml

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
        raise _unreadable(str(path), f"cannot be read: {error.strerror}", "check the name") from error
    except UnicodeDecodeError as error:
        raise _unreadable(str(path), f"is not UTF-8 text: byte {error.start}", "save it as UTF-8") from error
    return parse_text(text, source=str(path), is_yaml=path.suffix.lower() in (".yaml", ".yml"))


def parse_text(text: str, *, source: str = "", is_yaml: bool = False) -> Any:
    """Text as plain values.

    Raises:
        TagError: it is not JSON, or not YAML when `is_yaml`; the finding says at which line and column.
    """
    try:
        return yaml.load(text, Loader=_Loader) if is_yaml else json.loads(text, object_pairs_hook=_pairs)
    except json.JSONDecodeError as error:
        where = f"{source}:{error.lineno}:{error.colno}"
        raise _unreadable(where, f"is not JSON: {error.msg}", "look just before this place") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{source}:{mark.line + 1}:{mark.column + 1}" if mark else source
        problem = getattr(error, "problem", None) or "cannot be parsed"
        raise _unreadable(where, f"is not YAML: {problem}", "look just before this place") from error
    except RecursionError as error:
        raise _unreadable(source, "is nested too deeply", "a TAG has five levels") from error
    except ValueError as error:
        raise _unreadable(source, f"holds a value that cannot be read: {error}") from error


def _unreadable(where: str, reason: str, fix: str = "") -> TagError:
    return TagError([Finding(where, reason, fix, "unreadable")])


def _pairs(pairs: list[tuple[Any, Any]]) -> dict[Any, Any]:
    plain = dict(pairs)
    if len(plain) == len(pairs):
        return plain
    repeated = Repeated(pairs)
    seen: set[Any] = set()
    again = [key for key, _ in pairs if key in seen or seen.add(key)]  # type: ignore[func-returns-value]
    repeated.keys_again = tuple(dict.fromkeys(again))
    return repeated


class _Loader(yaml.SafeLoader):
    """YAML's safe loader, which also notices keys that are written twice."""

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        if isinstance(node, yaml.MappingNode) and node.tag == "tag:yaml.org,2002:map":
            self.flatten_mapping(node)
            pairs = [(self.construct_object(k, True), self.construct_object(v, True)) for k, v in node.value]
            for (key, _), (spot, _) in zip(pairs, node.value, strict=True):
                if not isinstance(key, Hashable):
                    raise yaml.constructor.ConstructorError(None, None, "a key must be text", spot.start_mark)
            return _pairs(pairs)
        return super().construct_object(node, deep)
