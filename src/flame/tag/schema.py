"""The TAG (Topology Abstraction Graph) as frozen records: roles joined by channels.

A file in the form of Cisco Flame's schema.json becomes a `Tag` through `flame.tag.read`; a program makes one
with
`flame.tag.build`. The records hold what the file says; what follows from it (who meets whom) is asked of
their methods.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from flame.errors import TagError
from flame.tag.compression import Compression
from flame.tag.finding import Finding, hint
from flame.tag.keys import json_schema

__all__ = ["DEFAULT_GROUP", "Channel", "Compression", "Connector", "GroupBy", "Role", "Tag", "dumps", "json_schema"]

DEFAULT_GROUP = "default"


@dataclass(frozen=True, slots=True)
class GroupBy:
    """The groups that exist on a channel.

    Attributes:
        type: `tag`, the only way of grouping there is.
        value: the groups' names, in the file's order.
    """

    type: str = "tag"
    value: tuple[str, ...] = (DEFAULT_GROUP,)

    def groupable_value(self, group: str | None) -> str:
        """The group itself where it exists on the channel, else `default`."""
        return group if group is not None and group in self.value else DEFAULT_GROUP


@dataclass(frozen=True, slots=True)
class Role:
    """A vertex of the TAG: one kind of worker.

    Attributes:
        name: unique in the TAG; also the name of the folder that holds the role's code.
        description: for people.
        is_data_consumer: whether there is one worker per dataset.
        replica: workers per association, for a role that is no data consumer.
        group_association: one map {channel: group} per kind of worker; treat the maps as read-only.
    """

    name: str
    description: str = ""
    is_data_consumer: bool = False
    replica: int = 1
    group_association: tuple[Mapping[str, str], ...] = ()

    def associations_by_group(self) -> dict[str, Mapping[str, str]]:
        """For each group that data may be listed under, the first association that names it anywhere."""
        found: dict[str, Mapping[str, str]] = {}
        for association in self.group_association:
            for group in association.values():
                found.setdefault(group, association)
        return found

    def to_dict(self) -> dict[str, Any]:
        """As in the file; keys that say nothing are left out."""
        row: dict[str, Any] = {"name": self.name}
        if self.description:
            row["description"] = self.description
        if self.is_data_consumer:
            row["isDataConsumer"] = True
        if self.replica != 1:
            row["replica"] = self.replica
        row["groupAssociation"] = [dict(one) for one in self.group_association]
        return row


@dataclass(frozen=True, slots=True)
class Channel:
    """An edge of the TAG: where two roles, or the workers of one role, meet.

    Attributes:
        name: unique in the TAG.
        pair: the two roles, in the file's order; the same one twice is a self-loop.
        group_by: the groups that exist here; workers of different groups never meet.
        func_tags: for each role of the pair, the functions that it performs here; treat the map as read-only.
        description: for people.
        backend: the transport, or "" for the job's.
        broker_host: the transport's address, or "" for the job's.
        is_unidirectional: kept from the file; nothing depends on it.
        compression: how weights that are sent here are packed; None for not at all.
    """

    name: str
    pair: tuple[str, str]
    group_by: GroupBy = GroupBy()
    func_tags: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    description: str = ""
    backend: str = ""
    broker_host: str = ""
    is_unidirectional: bool = False
    compression: Compression | None = None

    @property
    def is_self_loop(self) -> bool:
        """Whether workers of one role meet each other here."""
        return self.pair[0] == self.pair[1]

    @property
    def groups(self) -> tuple[str, ...]:
        """The groups that exist here, in the file's order."""
        return self.group_by.value

    def other(self, role: str) -> str:
        """The role at the other side: the same role on a self-loop.

        Raises:
            ValueError: the role is not of this channel's pair.
        """
        if role not in self.pair:
            raise ValueError(f"channel {self.name!r} joins {self.pair[0]!r} and {self.pair[1]!r}, not {role!r}")
        return self.pair[1] if role == self.pair[0] else self.pair[0]

    def group_of(self, association: Mapping[str, str]) -> str:
        """The group here of a worker with this association: `default` when it names none that exists."""
        return self.group_by.groupable_value(association.get(self.name))

    def tags_of(self, role: str) -> tuple[str, ...]:
        """The functions that a role performs here, in the file's order."""
        return self.func_tags.get(role, ())

    def tag_owner(self, tag: str) -> tuple[str, ...]:
        """The roles that perform a function here, in the pair's order."""
        return tuple(role for role in dict.fromkeys(self.pair) if tag in self.tags_of(role))

    def to_dict(self) -> dict[str, Any]:
        """As in the file; keys that say nothing are left out."""
        row: dict[str, Any] = {"name": self.name}
        if self.description:
            row["description"] = self.description
        row["pair"] = list(self.pair)
        row["groupBy"] = {"type": self.group_by.type, "value": list(self.group_by.value)}
        row["funcTags"] = {role: list(tags) for role, tags in self.func_tags.items()}
        if self.backend:
            row["backend"] = self.backend
        if self.broker_host:
            row["brokerHost"] = self.broker_host
        if self.is_unidirectional:
            row["isUnidirectional"] = True
        if self.compression is not None:
            row["compression"] = self.compression.to_plain()
        return row


@dataclass(frozen=True, slots=True)
class Connector:
    """Kept from the file; nothing depends on it."""

    name: str
    connection: str
    description: str = ""

    def to_dict(self) -> dict[str, Any]:
        """As in the file."""
        row = {"name": self.name, "description": self.description, "connection": self.connection}
        return {key: text for key, text in row.items() if text or key != "description"}


@dataclass(frozen=True, slots=True)
class Tag:
    """A federation as a graph of roles and channels.

    Attributes:
        name: for people.
        roles: the vertices, in the file's order.
        channels: the edges, in the file's order.
        description: for people.
        revision: counted up by a control plane; 0 when there is none.
        connectors: kept from the file.
    """

    name: str
    roles: tuple[Role, ...]
    channels: tuple[Channel, ...]
    description: str = ""
    revision: int = 0
    connectors: tuple[Connector, ...] = ()

    def role(self, name: str) -> Role:
        """The role of that name.

        Raises:
            TagError: there is none.
        """
        for role in self.roles:
            if role.name == name:
                return role
        known = [role.name for role in self.roles]
        raise TagError([Finding("roles", f"no role is named {name!r}", hint(name, known), "missing-role")])

    def channel(self, name: str) -> Channel:
        """The channel of that name.

        Raises:
            TagError: there is none.
        """
        for channel in self.channels:
            if channel.name == name:
                return channel
        known = [channel.name for channel in self.channels]
        raise TagError([Finding("channels", f"no channel is named {name!r}", hint(name, known), "unknown-channel")])

    def channels_of(self, role: str) -> tuple[Channel, ...]:
        """The channels that a role is on, in the file's order."""
        return tuple(channel for channel in self.channels if role in channel.pair)

    def tags_of(self, role: str) -> frozenset[str]:
        """The function tags that are bound for a role, on whichever channel."""
        return frozenset(tag for channel in self.channels_of(role) for tag in channel.tags_of(role))

    def needs_program(self, role: str) -> bool:
        """Whether a role does anything that only a program can: those in between and those that coordinate do not."""
        tags = self.tags_of(role)
        return self.role(role).is_data_consumer or not (
            {"fetch", "upload", "distribute", "aggregate"} <= tags or "coordinateWithTopAgg" in tags
        )

    def data_consumers(self) -> tuple[Role, ...]:
        """The roles that have one worker per dataset, in the file's order."""
        return tuple(role for role in self.roles if role.is_data_consumer)

    def to_dict(self) -> dict[str, Any]:
        """As in the file: reading it back gives an equal TAG."""
        row: dict[str, Any] = {"name": self.name}
        if self.description:
            row["description"] = self.description
        if self.revision:
            row["revision"] = self.revision
        row["roles"] = [role.to_dict() for role in self.roles]
        row["channels"] = [channel.to_dict() for channel in self.channels]
        if self.connectors:
            row["connectors"] = [connector.to_dict() for connector in self.connectors]
        return row


def dumps(tag: Tag, width: int = 110) -> str:
    """The TAG as JSON text: two blanks a level, and on one line whatever fits in `width` columns."""
    return _lay_out(tag.to_dict(), 0, 0, width) + "\n"


def _lay_out(value: Any, depth: int, used: int, width: int) -> str:
    flat = json.dumps(value, ensure_ascii=False)
    nested = isinstance(value, dict) and any(isinstance(item, dict | list) for item in value.values())
    if not isinstance(value, dict | list) or not value or (len(flat) + used <= width and not (depth < 3 and nested)):
        return flat
    pad = "  " * (depth + 1)
    if isinstance(value, dict):
        keys = [f"{json.dumps(key, ensure_ascii=False)}: " for key in value]
        inner = [
            key + _lay_out(item, depth + 1, len(pad) + len(key) + 1, width)
            for key, item in zip(keys, value.values(), strict=True)
        ]
        opening, closing = "{", "}"
    else:
        inner = [_lay_out(item, depth + 1, len(pad) + 1, width) for item in value]
        opening, closing = "[", "]"
    return opening + "\n" + ",\n".join(pad + line for line in inner) + "\n" + "  " * depth + closing
