"""A finding: one place in a TAG that is wrong, why, and what to do about it."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass

from flame.errors import nearest

_PLAIN_KEY = re.compile(r"[A-Za-z_][\w-]*\Z")


@dataclass(frozen=True, slots=True)
class Finding:
    """One broken invariant.

    Attributes:
        path: where, as a JSON path from the top of the file, e.g. `channels[1].groupBy.value[0]`.
        reason: what is wrong there.
        fix: what to do about it, or "".
        invariant: the name of the rule that is broken, e.g. `unknown-group`.
    """

    path: str
    reason: str
    fix: str = ""
    invariant: str = ""

    def __str__(self) -> str:
        where = self.path or "(top)"
        fix = f" ({self.fix})" if self.fix else ""
        name = f" [{self.invariant}]" if self.invariant else ""
        return f"{where}: {self.reason}{fix}{name}"


def at(*steps: str | int) -> str:
    """The JSON path of some steps: `at("channels", 1, "groupBy")` is `channels[1].groupBy`."""
    path = ""
    for step in steps:
        if isinstance(step, int):
            path += f"[{step}]"
        elif _PLAIN_KEY.match(step):
            path += f".{step}" if path else step
        else:
            path += f"[{step!r}]"
    return path


def join(path: str, *steps: str | int) -> str:
    """A path, continued: `join("channels[1]", "groupBy")` is `channels[1].groupBy`."""
    tail = at(*steps)
    return f"{path}.{tail}" if path and not tail.startswith("[") else path + tail


def hint(name: str, known: Collection[str]) -> str:
    """What to write instead of an unknown name: the nearest known one, else the first ten of them."""
    close = nearest(name, known)
    if close:
        return f"did you mean {close!r}?"
    some = sorted(known)[:10]
    return f"known: {', '.join(some)}" + (", …" if len(known) > len(some) else "") if some else "none is defined"
