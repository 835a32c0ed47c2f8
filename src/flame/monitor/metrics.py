"""Counters and timings of one worker."""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any

from flame.monitor.system import Usage


class Metrics:
    """What a role owns as `mc`: numbers by name. No threads.

    Attributes:
        usage: looked at whenever a tasklet has run; None where nobody wants to know.
    """

    __slots__ = ("_times", "_values", "usage")

    def __init__(self) -> None:
        self.usage: Usage | None = None
        self._values: dict[str, Any] = {}
        self._times: dict[str, tuple[float, float]] = {}

    def time(self, alias: str, start: float, seconds: float) -> None:
        """A tasklet has run: `<alias>.starttime`, since the epoch, and `<alias>.runtime`, in seconds."""
        self._times[alias] = (start, seconds)
        if self.usage is not None:
            self.usage.look()

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
        return got if self.usage is None else {**got, **self.usage.statistics()}

    def clear(self) -> None:
        """Start afresh."""
        self._values.clear()
        self._times.clear()
        if self.usage is not None:
            self.usage.clear()


_here: ContextVar[Metrics | None] = ContextVar("metrics", default=None)


def collect_anew() -> Metrics:
    """A new collector, for the worker that runs in this thread or fiber."""
    made = Metrics()
    _here.set(made)
    return made


class Collected:
    """The attribute `mc` of a class: the collector of the worker that runs in this thread or fiber, whosoever asks.

    A worker that has been set up keeps its own, in its own attribute.
    """

    def __get__(self, role: object, owner: type) -> Metrics:
        return _here.get() or collect_anew()
