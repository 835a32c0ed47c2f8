"""What changed between two TAGs: by names, not by lines; and how many lines that took."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from flame.tag.finding import join
from flame.tag.schema import Tag, dumps


@dataclass(frozen=True, slots=True)
class Change:
    """One difference.

    Attributes:
        kind: `added`, `removed` or `changed`.
        path: what, by name: `roles.trainer.replica`, `channels.param-channel.groups.eu`.
        before: the old value; None when added.
        after: the new value; None when removed.
    """

    kind: Literal["added", "removed", "changed"]
    path: str
    before: Any = None
    after: Any = None

    def __str__(self) -> str:
        sign = {"added": "+", "removed": "-", "changed": "~"}[self.kind]
        if self.kind == "changed":
            return f"{sign} {self.path}: {_short(self.before)} → {_short(self.after)}"
        return f"{sign} {self.path}"


@dataclass(frozen=True, slots=True)
class Difference:
    """The way from one TAG to another.

    Attributes:
        changes: what changed, by name; none means that the two say the same.
        lines_removed: lines of the first one's text (as `dumps` writes it) that are gone.
        lines_added: lines of the second one's text that are new.
        lines_changed: lines touched; a line that was replaced counts once.
    """

    changes: tuple[Change, ...]
    lines_removed: int
    lines_added: int
    lines_changed: int

    def to_dict(self) -> dict[str, Any]:
        """As plain values."""
        rows = [{"kind": c.kind, "path": c.path, "before": c.before, "after": c.after} for c in self.changes]
        lines = {"removed": self.lines_removed, "added": self.lines_added, "changed": self.lines_changed}
        return {"changes": rows, "lines": lines}

    def __str__(self) -> str:
        noun = "line" if self.lines_changed == 1 else "lines"
        lines = f"{self.lines_changed} {noun} changed (-{self.lines_removed} +{self.lines_added})"
        return "\n".join([*map(str, self.changes), lines if self.changes else "no difference"])


def diff(before: Tag, after: Tag) -> Difference:
    """What changed; order says nothing, and neither do names of the TAG or descriptions."""
    changes = tuple(_compare("", _facts(before), _facts(after)))
    old, new = dumps(before).splitlines(), dumps(after).splitlines()
    hunks = [op for op in difflib.SequenceMatcher(None, old, new, autojunk=False).get_opcodes() if op[0] != "equal"]
    removed, added = (sum(op[2] - op[1] for op in hunks), sum(op[4] - op[3] for op in hunks))
    return Difference(changes, removed, added, sum(max(op[2] - op[1], op[4] - op[3]) for op in hunks))


def _facts(tag: Tag) -> dict[str, Any]:
    """A TAG as objects of objects, in which whatever has a name or stands for itself is a key."""
    return {
        "roles": {
            role.name: {
                "isDataConsumer": role.is_data_consumer,
                "replica": role.replica,
                "associations": dict.fromkeys(
                    " ".join(f"{channel}={group}" for channel, group in sorted(one.items()))
                    for one in role.group_association
                ),
            }
            for role in tag.roles
        },
        "channels": {
            channel.name: {
                "pair": sorted(channel.pair),
                "groups": dict.fromkeys(channel.groups),
                "funcTags": {role: dict.fromkeys(tags) for role, tags in channel.func_tags.items()},
                "backend": channel.backend,
                "brokerHost": channel.broker_host,
                "isUnidirectional": channel.is_unidirectional,
                "compression": None if channel.compression is None else channel.compression.to_plain(),
            }
            for channel in tag.channels
        },
        "connectors": {one.name: one.connection for one in tag.connectors},
    }


def _compare(path: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[Change]:
    for name in dict.fromkeys([*before, *after]):
        where = join(path, name)
        if name not in after:
            yield Change("removed", where, before[name])
        elif name not in before:
            yield Change("added", where, None, after[name])
        elif isinstance(before[name], dict) and isinstance(after[name], dict):
            yield from _compare(where, before[name], after[name])
        elif before[name] != after[name]:
            yield Change("changed", where, before[name], after[name])


def _short(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
