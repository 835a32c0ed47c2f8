"""Processor and memory of this process, as series of which a worker's registry is given the statistics."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Collection
from pathlib import Path
from statistics import fmean, pstdev, quantiles

MOST = 3600
"""Samples of a series that are kept: the last ones."""

_STATM = Path("/proc/self/statm")


class Usage:
    """Samples of what the process uses; several workers of one process each see the same process. No threads.

    Args:
        every_s: `look` samples no oftener.
    """

    __slots__ = ("_busy", "_every_s", "_series", "_when")

    def __init__(self, every_s: float = 1.0) -> None:
        self._every_s = every_s
        self._when, self._busy = time.monotonic(), _busy_s()
        self._series: dict[str, deque[float]] = {}

    def look(self) -> None:
        """Sample, if the last time is long enough ago."""
        now = time.monotonic()
        if now - self._when < self._every_s:
            return
        busy = _busy_s()
        self._keep("cpu_utilization", 100 * (busy - self._busy) / (now - self._when))
        self._when, self._busy = now, busy
        if _STATM.exists():
            whole, resident = _STATM.read_text().split()[:2]
            page = os.sysconf("SC_PAGE_SIZE")
            self._keep("cpu_memory_rss", float(resident) * page)
            self._keep("cpu_memory_vsz", float(whole) * page)

    def statistics(self) -> dict[str, float]:
        """Of each series: `mean.cpu_utilization` and the like, in percent of one core, and in bytes."""
        return {f"{kind}.{name}": value for name, seen in self._series.items() for kind, value in _of(seen).items()}

    def clear(self) -> None:
        """Start afresh."""
        self._series.clear()

    def _keep(self, name: str, value: float) -> None:
        self._series.setdefault(name, deque(maxlen=MOST)).append(value)


def _busy_s() -> float:
    spent = os.times()
    return spent.user + spent.system


def _of(seen: Collection[float]) -> dict[str, float]:
    lower, middle, upper = quantiles(seen, n=4, method="inclusive") if len(seen) > 1 else [max(seen)] * 3
    shares = {"25th_prcntl": lower, "50th_prcntl": middle, "75th_prcntl": upper}
    return {"min": min(seen), "max": max(seen), "mean": fmean(seen), **shares, "std": pstdev(seen)}
