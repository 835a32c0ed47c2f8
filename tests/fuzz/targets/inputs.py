"""How a fuzzer's bytes become inputs: pieces, edits of something valid, files.

The bytes are cut in a plain way, so that an input in the corpus can be read, and a small change of it stays small.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any


def cut(data: bytes) -> Iterator[bytes]:
    """Pieces, each behind two bytes that say how long it is; the last may be shorter."""
    at = 0
    while at + 2 <= len(data):
        size = int.from_bytes(data[at : at + 2], "little")
        yield data[at + 2 : at + 2 + size]
        at += 2 + size


def joined(*pieces: bytes) -> bytes:
    """What `cut` cuts into these pieces."""
    return b"".join(len(piece).to_bytes(2, "little") + piece for piece in pieces)


@cache
def scratch() -> Path:
    """A folder for files that are read at once; it goes when the process ends, or with what the fuzzer gave it."""
    folder = tempfile.TemporaryDirectory()
    _kept.append(folder)
    return Path(folder.name)


_kept: list[tempfile.TemporaryDirectory[str]] = []

EDITED = (b"\x01", b"\x02")
"""How an input begins that is not text, but edits of a valid one: of the first, or of the second."""

A_FEW_EDITS = (b"\x01" + bytes((0, 3, 0, 1, 5, 0, 2, 8, 20)), b"\x02" + bytes((3, 3, 20, 0, 5, 9, 2, 8, 20)))


def nest(depth: int, value: Any) -> Any:
    """A value within so many lists."""
    for _ in range(depth):
        value = [value]
    return value


ODD: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 3, 2**31, 2**64, 10**400, 0.5, -0.0, float("nan"), float("inf"), 1e300),
    *("", "x", "5", "1e999", "nan", "\ud800", "\0", "é" * 300, "a/b", "..", "#", "[0]", "//", "default", "tag", "mqtt"),
    *("trainer", "aggregator", "fetch", "name", "value", "sort", "kwargs", "dict", "to_dict", "self", "__class__"),
    *([], {}, [[]], [{}], {"//": 1}, {"": ""}, ["x", "x"], [1], {"x": {"x": {"x": "x"}}}, nest(300, 1), nest(960, {})),
)
"""What may stand where something else should."""


def edited(content: Any, data: bytes) -> Any:
    """Plain values with edits, three bytes each: what to do, at which place, and with which odd value."""
    top = [content]
    for at in range(0, len(data) - 2, 3):
        act, where, what = data[at : at + 3]
        places = list(_places(top))
        holder, key = places[where % len(places)]
        if act % 4 == 0:
            holder[key] = copied(ODD[what % len(ODD)])
        elif act % 4 == 1 and holder is not top:
            del holder[key]
        elif act % 4 == 2 and isinstance(holder, dict):
            holder[str(ODD[what % len(ODD)])[:400]] = holder[key]
        else:
            other, name = places[what % len(places)]
            holder[key] = copied(other[name])
    return top[0]


def copied(value: Any) -> Any:
    """The same value, of which nothing is shared; raises RecursionError if it is too deep for JSON."""
    return json.loads(json.dumps(value))


def _places(holder: Any, depth: int = 0) -> Iterator[tuple[Any, Any]]:
    for key in list(holder) if isinstance(holder, dict) else range(len(holder)):
        yield holder, key
        if isinstance(holder[key], dict | list) and depth < 12:
            yield from _places(holder[key], depth + 1)
