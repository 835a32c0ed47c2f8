"""Counters and timings of one worker."""

from __future__ import annotations

from typing import Any


class Metrics:
    """What a role owns as `mc`: numbers by name. No threads."""

    __slots__ = ("_values",)

    def __init__(self) -> None:
        self._values: dict[str, Any] = {}

    def save(self, mtype: str, alias: str, value: Any) -> None:
        """Set `<alias>.<mtype>`."""
        self._values[f"{alias}.{mtype}"] = value

    def accumulate(self, mtype: str, alias: str, value: Any) -> None:
        """Add to `<alias>.<mtype>`."""
        key = f"{alias}.{mtype}"
        self._values[key] = self._values.get(key, 0) + value

    def get(self) -> dict[str, Any]:
        """Everything since the last `clear`, as a copy."""
        return dict(self._values)

    def clear(self) -> None:
        """Start afresh."""
        self._values.clear()
