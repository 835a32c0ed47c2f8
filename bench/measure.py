"""Run one command and measure all of it: wall-clock time, and the memory of every process that it starts.

Memory is the sum of the proportional set sizes (PSS) of the process tree, so that a page which several
processes share counts once; it is read about 20 times a second from `/proc`, and less often where reading it
would cost more than a twentieth of the time. High-water marks (VmHWM) come from the kernel and miss nothing.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

INTERVAL_S = 0.05


@dataclass(slots=True)
class Process:
    """One process of the tree.

    Attributes:
        high_water: the most physical memory that it held, bytes (VmHWM; shared pages included).
        shared: the most of it that was shared memory, bytes (RssShmem, as sampled).
        private: the most anonymous memory of its own, bytes (RssAnon, as sampled).
    """

    high_water: int = 0
    shared: int = 0
    private: int = 0


@dataclass(slots=True)
class Measured:
    """What one command cost.

    Attributes:
        wall_s: from its start to its end.
        cpu_s: processor time of the whole tree, which other programs on the machine disturb less.
        started_at: wall-clock time of its start (`time.time()`).
        peak: the largest sum of PSS over the tree, bytes.
        processes: every process seen, by pid.
        output: its stdout.
    """

    wall_s: float
    cpu_s: float
    started_at: float
    peak: int
    processes: dict[int, Process] = field(default_factory=dict)
    output: str = ""


class Failed(Exception):
    """A measured command ended with another status than 0; the text holds what it said."""


def measure(
    command: Sequence[str], env: Mapping[str, str], scratch: Path, *, watch: bool, limit_s: float = 120
) -> Measured:
    """Run a command to its end and measure it.

    Args:
        command: what to run.
        env: its whole environment.
        scratch: a folder for its output.
        watch: read its memory while it runs. That takes time from it (on two cores a tenth of a round of 100 MB
            models), so that nothing else should be read from a run that is watched.
        limit_s: kill it after so long.

    Raises:
        Failed: it did not end with status 0 in time.
    """
    out, err = scratch / "stdout", scratch / "stderr"
    with out.open("wb") as stdout, err.open("wb") as stderr:
        before = _cpu_s()
        started_at, start = time.time(), time.perf_counter()
        child = subprocess.Popen(command, env=dict(env), stdin=subprocess.DEVNULL, stdout=stdout, stderr=stderr)
        processes: dict[int, Process] = {}
        peak, wait_s = 0, INTERVAL_S if watch else 1.0
        while True:
            try:
                child.wait(wait_s)
                break
            except subprocess.TimeoutExpired:
                began = time.perf_counter()
                if began - start > limit_s:
                    child.kill()
                if watch:
                    peak = max(peak, _sample(child.pid, processes))
                    wait_s = max(INTERVAL_S, 20 * (time.perf_counter() - began))
        wall_s = time.perf_counter() - start
    if child.returncode:
        tail = (out.read_text()[-2000:] + err.read_text()[-4000:]).strip()
        raise Failed(f"{' '.join(command)}: status {child.returncode} after {wall_s:.1f} s\n{tail}")
    return Measured(wall_s, _cpu_s() - before, started_at, peak, processes, out.read_text())


def _cpu_s() -> float:
    """User and system time of every descendant that has ended and was waited for."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _sample(root: int, processes: dict[int, Process]) -> int:
    """Read the tree's memory once into `processes`; returns its summed PSS in bytes."""
    total = 0
    for pid in _tree(root):
        try:
            total += _numbers(pid, "smaps_rollup", ("Pss:",))[0]
            high_water, shared, private = _numbers(pid, "status", ("VmHWM:", "RssShmem:", "RssAnon:"))
        except (FileNotFoundError, ProcessLookupError):
            continue  # it ended between being listed and being read
        seen = processes.setdefault(pid, Process())
        seen.high_water = max(seen.high_water, high_water)
        seen.shared = max(seen.shared, shared)
        seen.private = max(seen.private, private)
    return total


def _tree(root: int) -> list[int]:
    """A process and everything that descends from it."""
    found, todo = [], [root]
    while todo:
        pid = todo.pop()
        found.append(pid)
        try:
            threads = list(Path(f"/proc/{pid}/task").iterdir())
            todo += [int(child) for thread in threads for child in (thread / "children").read_text().split()]
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found


def _numbers(pid: int, file: str, keys: tuple[str, ...]) -> list[int]:
    """The values of some `Key:  n kB` lines of a file in /proc, in bytes; 0 where a line is missing."""
    values = dict.fromkeys(keys, 0)
    for line in Path(f"/proc/{pid}/{file}").read_text().splitlines():
        key, _, rest = line.partition(":")
        if f"{key}:" in values:
            values[f"{key}:"] = 1024 * int(rest.split()[0])
    return list(values.values())


def supported() -> bool:
    """Whether this system can be measured: Linux, with PSS in /proc."""
    return sys.platform == "linux" and Path("/proc/self/smaps_rollup").exists()
