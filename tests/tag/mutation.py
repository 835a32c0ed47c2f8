"""Small mutations of good TAGs, each with exactly the findings that it should give.

A mutation is a few `(path, value)` edits of a good TAG; `CUT` removes what is at the path, and a list ends at `[+]`.
"""

from __future__ import annotations

import copy
import json
import re
from dataclasses import dataclass, field
from typing import Any

from good_tags import GOOD

CUT = object()
STEP = re.compile(r"\[(\d+|\+)\]|([^.\[\]]+)")

Edit = tuple[str, object]
Expected = tuple[str, str]  # invariant, path


@dataclass(frozen=True)
class Broken:
    name: str
    base: str
    edits: tuple[Edit, ...]
    expected: frozenset[Expected]
    options: dict[str, Any] = field(default_factory=dict)

    def content(self) -> Any:
        content = json.loads(json.dumps(GOOD[self.base]))  # a copy in which no two places share a list
        for path, value in self.edits:
            content = put(content, path, value)
        return content


def put(content: Any, path: str, value: object) -> Any:
    """Sets, appends or cuts what is at a path."""
    steps: list[Any] = [int(i) if i.isdecimal() else i or key for i, key in STEP.findall(path)]
    if not steps:
        return value
    place = content
    for step in steps[:-1]:
        place = place[step]
    last = steps[-1]
    if value is CUT:
        del place[last]
    elif last == "+":
        place.append(copy.deepcopy(value))
    else:
        place[last] = copy.deepcopy(value)
    return content


def one(base: str, path: str, value: object, *expected: str, **options: Any) -> Broken:
    """One edit; expected findings as `invariant path`, an `=` standing for the edited path."""
    shown = "CUT" if value is CUT else repr(value)
    return many(f"{base}: {path} = {shown}", base, [(path, value)], *expected, **options)


def many(name: str, base: str, edits: list[Edit], *expected: str, **options: Any) -> Broken:
    pairs = [row.partition(" ")[::2] for row in expected]
    first = edits[0][0]
    found = frozenset((rule, first if path == "=" else path) for rule, path in pairs)
    return Broken(name, base, tuple(edits), found, options)
