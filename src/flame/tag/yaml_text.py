"""YAML as plain values, with repeated keys remembered as in JSON."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import yaml

from flame.tag.load import pairs_to_object, unreadable


def values(text: str, source: str) -> Any:
    """Text as plain values.

    Raises:
        TagError: it is not YAML; the finding says at which line and column.
    """
    try:
        return yaml.load(text, Loader=_Loader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{source}:{mark.line + 1}:{mark.column + 1}" if mark else source
        problem = getattr(error, "problem", None) or "cannot be parsed"
        raise unreadable(where, f"is not YAML: {problem}", "look just before this place") from error
    except RecursionError as error:
        raise unreadable(source, "is nested too deeply", "a TAG has five levels") from error
    except ValueError as error:
        raise unreadable(source, f"holds a value that cannot be read: {error}") from error


MOST_MERGED = 100_000
"""Pairs that `<<` may bring in, all in all: merges of merges would multiply without end."""

LONGEST_NUMBER = 80
"""Characters of what is not text."""

_TEXT = ("tag:yaml.org,2002:str", "tag:yaml.org,2002:binary")


class _Loader(yaml.SafeLoader):
    """YAML's safe loader, which also notices keys that are written twice, and in which little stays little."""

    merged = 0

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        super().flatten_mapping(node)
        self.merged += len(node.value)
        if self.merged > MOST_MERGED:
            raise yaml.constructor.ConstructorError(None, None, "too much is merged", node.start_mark)

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        if node in self.constructed_objects:
            return self.constructed_objects[node]
        if isinstance(node, yaml.ScalarNode) and node.tag not in _TEXT:
            self._check(node)
        if isinstance(node, yaml.MappingNode) and node.tag == "tag:yaml.org,2002:map":
            self.flatten_mapping(node)
            pairs = [(self.construct_object(k, True), self.construct_object(v, True)) for k, v in node.value]
            for (key, _), (spot, _) in zip(pairs, node.value, strict=True):
                if not isinstance(key, Hashable):
                    raise yaml.constructor.ConstructorError(None, None, "a key must be text", spot.start_mark)
            self.constructed_objects[node] = found = pairs_to_object(pairs)
            return found
        return super().construct_object(node, deep)

    def _check(self, node: yaml.ScalarNode) -> None:
        """Refuse what PyYAML would trip over: `!!int x`, which is none, and numbers of any length."""
        looks_like = self.resolve(yaml.ScalarNode, node.value, (True, False))  # type: ignore[no-untyped-call]
        if len(node.value) > LONGEST_NUMBER or looks_like != node.tag:
            raise yaml.constructor.ConstructorError(None, None, f"not a value of {node.tag!r}", node.start_mark)
