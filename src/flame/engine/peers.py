"""Equals among themselves: an order that all of them agree on without a word."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable


def in_order(ends: Iterable[str], name_of: Callable[[str], str]) -> list[str]:
    """Peers in the order of their names, in which numbers count as numbers: `trainer/2` before `trainer/10`.

    Args:
        ends: the peers' ids, which decide where two have the same name.
        name_of: a peer's name, the same for whoever asks.
    """
    return sorted(ends, key=lambda end: (_parts(name_of(end)), end))


def _parts(name: str) -> list[tuple[int, int, str]]:
    parts = re.split(r"([0-9]+)", name)
    return [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in parts if part]
