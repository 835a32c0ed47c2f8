"""Times as they stand in the store and in replies: seconds in UTC, as text."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

Clock = Callable[[], str]


def now() -> str:
    """This moment."""
    return datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def seconds(since: str, until: str) -> float:
    """From one time to another."""
    return (datetime.fromisoformat(until) - datetime.fromisoformat(since)).total_seconds()
