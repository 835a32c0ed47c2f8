"""Counters and timings of one worker."""

from __future__ import annotations

from typing import Any


class Metrics:
    """What a role owns as `mc`: numbers by name. No threads."""

    __slots__ = ("_times", "_values")

    def __init__(self) -> None:
        self._values: dict[str, Any] = {}
        self._times: dict[str, tuple[float, float]] = {}

    def time(self, alias: str, start: float, seconds: float) -> None:
        """A tasklet has run: `<alias>.starttime` and `<alias>.runtime`, in seconds."""
        self._times[alias] = (start, seconds)

    def save(self, mtype: str, alias: str, value: Any) -> None:
        """Set `<alias>.<mtype>`."""
        self._values[f"{alias}.{mtype}"] = value

    def accumulate(self, mtype: str, alias: str, value: Any) -> None:
        """Add to `<alias>.<mtype>`."""
        key = f"{alias}.{mtype}"
        self._values[key] = self._values.get(key, 0) + value

    def get(self) -> dict[str, Any]:
        """Everything since the last `clear`, as a copy."""
        got = dict(self._values)
        for alias, (start, seconds) in self._times.items():
            got[f"{alias}.runtime"] = seconds
            got[f"{alias}.starttime"] = start
        return got

    def clear(self) -> None:
        """Start afresh."""
        self._values.clear()
        self._times.clear()
