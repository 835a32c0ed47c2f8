"""Every key of a TAG file, once: for the reader, for the JSON Schema and for the reference page."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

MAX_REPLICA = 2**31 - 1
COMMENT = "//"

_TEXT: dict[str, Any] = {"type": "string"}
_NAME: dict[str, Any] = {"type": "string", "minLength": 1}
_NAMES: dict[str, Any] = {"type": "array", "items": _NAME}


@dataclass(frozen=True, slots=True)
class Key:
    """One key of an object in the file.

    Attributes:
        name: the key, in upstream's spelling.
        schema: the JSON Schema of its value.
        doc: what it means, in one line.
        required: whether a file without it is refused.
    """

    name: str
    schema: dict[str, Any]
    doc: str
    required: bool = False


GROUP_BY = (
    Key("type", {"enum": ["tag", ""]}, "How groups are told apart: `tag`, the only way there is.", False),
    Key("value", _NAMES, "The groups that exist on the channel; none means `default` alone.", False),
)

COMPRESSION = (
    Key("sort", _NAME, "The compressor's name.", True),
    Key("kwargs", {"type": "object"}, "Its settings."),
)

ROLE = (
    Key("name", _NAME, "The role's name, which is also the name of its code folder.", True),
    Key("description", _TEXT, "For people."),
    Key("isDataConsumer", {"type": "boolean"}, "Whether there is one worker per dataset; false when absent."),
    Key(
        "replica",
        {"type": "integer", "minimum": 1, "maximum": MAX_REPLICA},
        "Workers per association, for a role that is no data consumer; 1 when absent.",
    ),
    Key(
        "groupAssociation",
        {"type": "array", "items": {"type": "object", "additionalProperties": _NAME}},
        "One map `{channel: group}` per kind of worker; a channel left out means its group `default`.",
    ),
)

CHANNEL = (
    Key("name", _NAME, "The channel's name.", True),
    Key("description", _TEXT, "For people."),
    Key(
        "pair",
        {"type": "array", "items": _NAME, "minItems": 2, "maxItems": 2},
        "The two roles that the channel joins, in any order; the same role twice is a self-loop.",
        True,
    ),
    Key("groupBy", {"$ref": "#/$defs/groupBy"}, "The groups of the channel; `default` alone when absent."),
    Key(
        "funcTags",
        {"type": "object", "additionalProperties": _NAMES},
        "For each role of the pair, the functions that it performs on this channel.",
    ),
    Key("backend", _TEXT, "The transport of this channel; the job's when absent."),
    Key("brokerHost", _TEXT, "The address of the transport's broker, when it is not the job's."),
    Key(
        "compression",
        {"anyOf": [_TEXT, {"$ref": "#/$defs/compression"}]},
        "How weights that are sent here are packed: a name, or a name and its settings; not at all when absent.",
    ),
    Key("isUnidirectional", {"type": "boolean"}, "Read and kept; nothing depends on it."),
    Key("isBidirectional", {"type": "boolean"}, "The same, negated; some files have this one."),
)

CONNECTOR = (
    Key("name", _NAME, "The connector's name.", True),
    Key("description", _TEXT, "For people."),
    Key("connection", _TEXT, "Read and kept; nothing depends on it.", True),
)

TAG = (
    Key("name", _NAME, "The TAG's name.", True),
    Key("description", _TEXT, "For people."),
    Key("revision", {"type": "integer", "minimum": 0}, "Counted up by a control plane."),
    Key("roles", {"type": "array", "items": {"$ref": "#/$defs/role"}}, "The vertices.", True),
    Key("channels", {"type": "array", "items": {"$ref": "#/$defs/channel"}}, "The edges.", True),
    Key("connectors", {"type": "array", "items": {"$ref": "#/$defs/connector"}}, "Read and kept."),
)


#: A TAG file that is a template's name and its options, instead.
TEMPLATE = (
    Key("template", _NAME, "The template's name.", True),
    Key("options", {"type": "object"}, "Its options; `flame tag template` lists them."),
)


def json_schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of a TAG file, for editors: it sees shapes, `check` sees the rest."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Flame TAG",
        "if": {"required": ["template"]},
        "then": _object(TEMPLATE),
        "else": _object(TAG),
        "$defs": {
            "role": _object(ROLE),
            "channel": _object(CHANNEL),
            "groupBy": _object(GROUP_BY),
            "compression": _object(COMPRESSION),
            "connector": _object(CONNECTOR),
        },
    }


def _object(keys: tuple[Key, ...]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {key.name: {**key.schema, "description": key.doc} for key in keys} | {COMMENT: True},
        "required": [key.name for key in keys if key.required],
        "additionalProperties": False,
    }
