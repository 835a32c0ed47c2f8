"""Between bytes and records: what a client sends is read as upstream reads it, and every complaint has a place.

Keys are known in any case, `"//"` is a comment, what is not known is refused, and so is what may not be empty.
"""

from __future__ import annotations

import typing
from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec
from fastapi import Response

from flame.config.read import convert
from flame.control.records import Body
from flame.errors import ConfigError, FlameError

B = TypeVar("B", bound=Body)
COMMENT = "//"


class Missing(FlameError):
    """A field that may not be empty is."""


def parse(content: bytes) -> Any:
    """JSON as plain values.

    Raises:
        ConfigError: it is none.
    """
    if b"\\u0000" in content:
        raise ConfigError("body", "holds a NUL character", "leave it out")
    try:
        return msgspec.json.decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigError("body", f"is not JSON: {error}") from None


def read(content: bytes, wanted: type[B]) -> B:
    """A body as a record.

    Raises:
        ConfigError: it is not JSON, or a key is unknown, or a value of another type; the message says where.
        Missing: a field that may not be empty is.
    """
    found = convert(_spelled(parse(content), wanted), wanted, "body")
    _check(found)
    return found


def states(content: bytes) -> dict[str, str]:
    """A body that is a table of texts."""
    return convert(parse(content), dict[str, str], "body")


def _check(body: Body) -> None:
    for name, key in zip(body.__struct_fields__, body.__struct_encode_fields__, strict=True):
        value = getattr(body, name)
        if name in body.REQUIRED and not value:
            raise Missing(f"required field '{key}' is zero value.")
        for item in value if isinstance(value, list) else ():
            if isinstance(item, Body):
                _check(item)


def _spelled(value: Any, wanted: type[Body]) -> Any:
    """The same with the keys of a record spelled as it spells them, and without nulls."""
    if not isinstance(value, Mapping):
        return value
    known = {
        key.lower(): (name, key)
        for name, key in zip(wanted.__struct_fields__, wanted.__struct_encode_fields__, strict=True)
    }
    types = typing.get_type_hints(wanted)
    rows: dict[str, Any] = {}
    for given, item in value.items():
        name, key = known.get(given.lower(), ("", given))
        if item is None or given == COMMENT:
            continue
        inner = typing.get_args(types.get(name)) or (None,)
        if isinstance(item, list) and isinstance(inner[0], type) and issubclass(inner[0], Body):
            item = [_spelled(one, inner[0]) for one in item]
        rows[key] = item
    return rows


def reply(value: object, status: int = 200) -> Response:
    """A reply with a JSON body."""
    return Response(msgspec.json.encode(value), status, media_type="application/json")
