"""Processor and memory use of this process, sampled in the background between `start` and `stop`.

Nothing runs unless it is started. Linux only: sizes are read from /proc.
"""

from __future__ import annotations

import os
import time
from collections import deque
from pathlib import Path
from threading import Event, Lock, Thread
from types import TracebackType
from typing import NamedTuple, Self

import numpy as np

from flame.errors import RunError

_STATM = Path("/proc/self/statm")


class Sample(NamedTuple):
    """One look at this process.

    Attributes:
        cpu_utilization: percent of one processor since the look before; above 100 with several threads.
        cpu_memory_rss: resident bytes.
        cpu_memory_vsz: bytes of address space.
    """

    cpu_utilization: float
    cpu_memory_rss: int
    cpu_memory_vsz: int


class Usage:
    """Looks at this process, each time since the time before.

    Raises:
        RunError: there is no /proc here.
    """

    def __init__(self) -> None:
        if not _STATM.exists():
            raise RunError(f"there is no {_STATM}: memory use can be sampled on Linux only")
        self._page = os.sysconf("SC_PAGE_SIZE")
        self._wall, self._busy = time.perf_counter(), time.process_time()

    def look(self) -> Sample:
        """What it is now."""
        wall, busy = time.perf_counter(), time.process_time()
        percent = 100 * (busy - self._busy) / max(wall - self._wall, 1e-9)
        self._wall, self._busy = wall, busy
        total, resident = _STATM.read_text().split()[:2]
        return Sample(percent, int(resident) * self._page, int(total) * self._page)


class SystemSampler:
    """Samples of this process, one every so often, from `start` (or `with`) to `stop`.

    Args:
        interval_s: seconds between samples.
        keep: the most samples that are remembered; older ones are forgotten.
    """

    def __init__(self, interval_s: float = 1.0, *, keep: int = 3600) -> None:
        self._interval_s = interval_s
        self._samples: deque[Sample] = deque(maxlen=keep)
        self._lock = Lock()
        self._stopped = Event()
        self._thread: Thread | None = None

    def start(self) -> None:
        """Begin, in a thread of its own. Does nothing if it has begun."""
        if self._thread is None:
            self._stopped.clear()
            self._thread = Thread(target=self._run, args=(Usage(),), name="flame-system", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """End, with one last sample. Returns when the thread has ended."""
        if self._thread is not None:
            self._stopped.set()
            self._thread.join()
            self._thread = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def clear(self) -> None:
        """Forget the samples."""
        with self._lock:
            self._samples.clear()

    def statistics(self) -> dict[str, float]:
        """For each series its `min`, `max`, `mean`, `std` and quartiles: `mean.cpu_utilization` and so on.

        Empty before the first sample.
        """
        with self._lock:
            samples = list(self._samples)
        if not samples:
            return {}
        table = np.array(samples, np.float64)
        quartiles = np.percentile(table, (25, 50, 75), axis=0)
        rows = {
            "min": table.min(axis=0),
            "max": table.max(axis=0),
            "mean": table.mean(axis=0),
            "25th_prcntl": quartiles[0],
            "50th_prcntl": quartiles[1],
            "75th_prcntl": quartiles[2],
            "std": table.std(axis=0),
        }
        return {
            f"{statistic}.{series}": float(value)
            for statistic, row in rows.items()
            for series, value in zip(Sample._fields, row, strict=True)
        }

    def _run(self, usage: Usage) -> None:
        ended = False
        while not ended:
            ended = self._stopped.wait(self._interval_s)
            sample = usage.look()
            with self._lock:
                self._samples.append(sample)
