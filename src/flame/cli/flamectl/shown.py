"""What a person sees: tables, JSON, moments; nothing that a server says may steer the terminal."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

from flame.tag.draw.picture import width

_MOMENT = re.compile(r"(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d:\d\d)(?:\.\d+)?(?:Z|\+00:00)?")
_NEVER = "0001-01-01"


def plain(text: str) -> str:
    """The text with escapes for what cannot be printed; lines and tabs stay."""
    return "".join(
        letter if letter.isprintable() or letter in "\n\t" else letter.encode("unicode_escape").decode()
        for letter in text
    )


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in a frame, as wide as its widest cells."""
    cells = [[" ".join(plain(cell).split()) for cell in row] for row in (header, *rows)]
    wide = [max(map(width, column)) for column in zip(*cells, strict=True)]
    rule = "+".join(["", *("-" * (size + 2) for size in wide), ""])
    lines = [
        "|".join(["", *(f" {c}{' ' * (w - width(c))} " for c, w in zip(row, wide, strict=True)), ""]) for row in cells
    ]
    return "\n".join([rule, lines[0], rule, *lines[1:], *([rule] if rows else [])])


def pretty(value: object) -> str:
    """A value as JSON over several lines."""
    return json.dumps(value, ensure_ascii=False, indent=2)


def moment(text: str) -> str:
    """A time of a server's as upstream's tables have it, to the second; nothing for one that has not come."""
    if text.startswith(_NEVER):
        return ""
    found = _MOMENT.fullmatch(text)
    return f"{found[1]} {found[2]} +0000 UTC" if found else text
