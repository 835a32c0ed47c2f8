"""What a selector that listens is told, and what its other side says; see `Selector`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flame.selector import Selector


def name_of(selector: Selector | None) -> str:
    """The name of the extra that a selector listens to; "" if it listens to none."""
    return str(getattr(selector, "name", ""))


def heard(selector: Selector | None, end: str, number: int, seconds: float | None, said: object) -> None:
    """Let a selector know of an answer.

    Raises:
        RunError: what was said is not what it chooses by.
    """
    hear = getattr(selector, "hear", None)
    if hear is not None:
        hear(end, number, seconds, said)


def says(selector: Selector | None, metrics: Mapping[str, Any], samples: int) -> dict[str, Any]:
    """The extra by which the other side's selector, which is of the same sort, chooses.

    Raises:
        RunError: the worker measured nothing that it could be made of.
    """
    say = getattr(selector, "says", None)
    return {} if say is None else {name_of(selector): say(metrics, samples)}


def relays(selector: Selector | None) -> dict[str, Any]:
    """The extra of an answer on behalf of all that were heard since the last one."""
    relay = getattr(selector, "relay", None)
    return {} if relay is None else {name_of(selector): relay()}
