"""The door: plain values become a `Tag`, and everything of the wrong shape becomes a finding at its path.

A value that cannot be read is replaced by an empty one, so that the rest of the file is still read and
checked;
`check` then keeps silent about whatever hangs on a replaced value.
"""

from __future__ import annotations

import re
import reprlib
from collections.abc import Mapping
from typing import Any

from flame.tag import keys
from flame.tag.compression import Compression
from flame.tag.finding import Finding, hint, join
from flame.tag.load import Repeated
from flame.tag.schema import Channel, Connector, GroupBy, Role, Tag

_HALF = re.compile("[\ud800-\udfff]")
"""Half a surrogate pair: JSON can say it, and nobody can write it down."""


def parse(content: object) -> tuple[Tag, list[Finding]]:
    """The TAG that plain values describe, and a finding for each value of the wrong shape.

    The TAG can be relied on only when there are no findings.
    """
    door = _Door()
    row = door.row(content, "", keys.TAG)
    tag = Tag(
        name=door.text(row, "", "name"),
        description=door.text(row, "", "description"),
        revision=door.integer(row, "", "revision", 0, 0),
        roles=tuple(_role(door, one, f"roles[{i}]") for i, one in enumerate(door.items(row, "", "roles"))),
        channels=tuple(_channel(door, one, f"channels[{i}]") for i, one in enumerate(door.items(row, "", "channels"))),
        connectors=tuple(
            _connector(door, one, f"connectors[{i}]") for i, one in enumerate(door.items(row, "", "connectors"))
        ),
    )
    return tag, door.findings


def _role(door: _Door, value: object, path: str) -> Role:
    row = door.row(value, path, keys.ROLE)
    associations = door.items(row, path, "groupAssociation")
    return Role(
        name=door.text(row, path, "name"),
        description=door.text(row, path, "description"),
        is_data_consumer=door.flag(row, path, "isDataConsumer"),
        replica=door.integer(row, path, "replica", 1, None),
        group_association=tuple(
            _association(door, one, f"{path}.groupAssociation[{i}]") for i, one in enumerate(associations)
        ),
    )


def _association(door: _Door, value: object, path: str) -> dict[str, str]:
    row = door.mapping(value, path, "an object {channel: group}")
    return {channel: door.is_text(group, join(path, channel)) for channel, group in row.items()}


def _channel(door: _Door, value: object, path: str) -> Channel:
    row = door.row(value, path, keys.CHANNEL)
    pair = door.texts(row.get("pair", []), path + ".pair")
    if "pair" in row and isinstance(row["pair"], list) and len(row["pair"]) != 2:
        door.report(path + ".pair", f"has {len(row['pair'])} roles, not 2", "name two roles, or one role twice")
    both = (pair[0], pair[1]) if len(pair) == 2 else ("", "")
    tags = door.mapping(row.get("funcTags") or {}, path + ".funcTags", "an object {role: [function, …]}")
    one_way = door.flag(row, path, "isUnidirectional")
    if "isBidirectional" in row and "isUnidirectional" not in row:
        one_way = not door.flag(row, path, "isBidirectional")
    return Channel(
        name=door.text(row, path, "name"),
        pair=both,
        group_by=_group_by(door, row.get("groupBy"), path + ".groupBy"),
        func_tags={role: door.texts(some, join(path, "funcTags", role)) for role, some in tags.items()},
        description=door.text(row, path, "description"),
        backend=door.text(row, path, "backend"),
        broker_host=door.text(row, path, "brokerHost"),
        is_unidirectional=one_way,
        compression=_compression(door, row.get("compression"), path + ".compression"),
    )


def _compression(door: _Door, value: object, path: str) -> Compression | None:
    if value is None or value == "":
        return None
    if isinstance(value, str):
        return Compression(door.is_text(value, path))
    if not isinstance(value, Mapping):
        door.wrong(value, path, "a name, or an object {sort, kwargs}")
        return None
    row = door.row(value, path, keys.COMPRESSION)
    kwargs = door.mapping(row.get("kwargs", {}), path + ".kwargs", "an object {setting: value}")
    return Compression(door.text(row, path, "sort"), kwargs)


def _group_by(door: _Door, value: object, path: str) -> GroupBy:
    if value is None:
        return GroupBy()
    row = door.row(value, path, keys.GROUP_BY)
    groups = door.texts(row.get("value") or [], path + ".value")
    return GroupBy(door.text(row, path, "type") or "tag", groups) if groups else GroupBy()


def _connector(door: _Door, value: object, path: str) -> Connector:
    row = door.row(value, path, keys.CONNECTOR)
    return Connector(*(door.text(row, path, key) for key in ("name", "connection", "description")))


class _Door:
    """Reads one value at a time and keeps a finding for each that is not what it should be."""

    def __init__(self) -> None:
        self.findings: list[Finding] = []

    def report(self, path: str, reason: str, fix: str = "", invariant: str = "shape") -> None:
        self.findings.append(Finding(path, reason, fix, invariant))

    def row(self, value: object, path: str, known: tuple[keys.Key, ...]) -> Mapping[str, object]:
        """An object of known keys; unknown and missing ones are reported."""
        is_object = isinstance(value, Mapping)
        row = self.mapping(value, path, "an object")
        names = [key.name for key in known]
        for name in row:
            if name not in names:
                self.report(join(path, name), "is not a key of a TAG", hint(name, names), "unknown-key")
        for key in known if is_object else ():
            if key.required and row.get(key.name) is None:
                self.report(join(path, key.name), "is missing", key.doc, "missing-key")
        return {name: item for name, item in row.items() if name in names and item is not None}

    def mapping(self, value: object, path: str, wanted: str) -> dict[str, Any]:
        """An object whose keys are text, without comments; anything else is reported and read as empty."""
        if not isinstance(value, Mapping):
            self.wrong(value, path, wanted)
            return {}
        if isinstance(value, Repeated):
            for name in value.keys_again:
                self.report(join(path, str(name)), "is written twice", "keep one of them", "repeated-key")
        for name in value:
            if not isinstance(name, str):
                self.wrong(name, path, "keys that are text")
            elif _HALF.search(name):
                self.is_text(name, path)
        texts = {name: item for name, item in value.items() if isinstance(name, str) and not _HALF.search(name)}
        return {name: item for name, item in texts.items() if name != keys.COMMENT}

    def text(self, row: Mapping[str, object], path: str, key: str) -> str:
        return self.is_text(row[key], join(path, key)) if key in row else ""

    def is_text(self, value: object, path: str) -> str:
        if isinstance(value, str):
            if not _HALF.search(value):
                return value
            self.report(path, f"{reprlib.repr(value)} has half a surrogate pair in it", "write whole characters")
            return ""
        self.wrong(value, path, "text")
        return ""

    def flag(self, row: Mapping[str, object], path: str, key: str) -> bool:
        value = row.get(key, False)
        if not isinstance(value, bool):
            self.wrong(value, join(path, key), "true or false")
        return value is True

    def integer(self, row: Mapping[str, object], path: str, key: str, default: int, low: int | None) -> int:
        value = row.get(key, default)
        if isinstance(value, bool) or not isinstance(value, int) or (low is not None and value < low):
            self.wrong(value, join(path, key), "a whole number" + ("" if low is None else f", {low} or more"))
            return default
        return value

    def items(self, row: Mapping[str, object], path: str, key: str) -> list[object]:
        value = row.get(key, [])
        if isinstance(value, list | tuple):
            return list(value)
        self.wrong(value, join(path, key), "a list")
        return []

    def texts(self, value: object, path: str) -> tuple[str, ...]:
        if not isinstance(value, list | tuple):
            self.wrong(value, path, "a list of text")
            return ()
        return tuple(self.is_text(one, f"{path}[{i}]") for i, one in enumerate(value))

    def wrong(self, value: object, path: str, wanted: str) -> None:
        fix = "write it in quotes" if wanted == "text" and isinstance(value, bool | int | float) else ""
        self.report(path, f"is {_kind(value)}, not {wanted}", fix)


def _kind(value: object) -> str:
    if value is None:
        return "null"
    if isinstance(value, Mapping):
        return "an object"
    if isinstance(value, list | tuple):
        return "a list"
    return reprlib.repr(value)
