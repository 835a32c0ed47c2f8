"""Checkpoints as the process that watches a run sees them: when all hosts are still, have them write, and seal it.

All hosts are still when nobody in any can run and no message is under way between them. They report at different
moments, so they are counted twice: if every message that had been sent in the second count had already been received
in the first, nothing has happened in between (F. Mattern 1987, the four-counter method).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from flame.registry.journal import FOLDER, Checkpoint, File, RecordFile, begin, commit
from flame.runtime.reports import Command, Count, GoOn, Kept, Measured, RoundClosed, Still, Write, framed, unframed

logger = logging.getLogger(__name__)

Rows = list[tuple[str, str, str, int, float, dict[str, Any]]]


class Checkpoints:
    """Makes the checkpoints of one run.

    Args:
        out: the run directory.
        every: after how many rounds one is made.
        about: what else a checkpoint says of the run: `job`, with which a run that goes on must agree, and `settings`.
        found: the checkpoint that this run goes on from, or None.
        started: when the run began, on the machine's monotonic clock.
    """

    def __init__(
        self, out: Path, every: int, about: Mapping[str, Any], found: Checkpoint | None, started: float
    ) -> None:
        self.every = every
        self._top = out / FOLDER
        self._about, self._found, self._started = about, found, started
        self._file = RecordFile(self._top, b"" if found is None else found.record())
        self._unwritten: list[Measured | RoundClosed] = []
        self._hosts: set[int] = set()
        self._say: Callable[[int, Command], None] | None = None
        self._wave = 0
        self._totals = (-1, -1)
        self._stills: dict[int, Still] = {}
        self._kept: dict[int, Kept] = {}
        self._round = 0
        self._ended = ""
        self.made = 0
        self.problem = ""

    def among(self, hosts: int, say: Callable[[int, Command], None]) -> None:
        """These are the hosts, and how they are told something."""
        self._hosts, self._say = set(range(max(1, hosts))), say

    @property
    def open(self) -> bool:
        """Whether one is being made: until it is, nobody can run."""
        return self._wave > 0

    def take(self, host: int, report: object) -> None:
        """A host has reported."""
        if isinstance(report, Measured | RoundClosed):
            self._unwritten.append(report)
        elif isinstance(report, Still):
            self._counted(host, report)
        elif isinstance(report, Kept):
            self._kept[host] = report
            if self._kept.keys() >= self._hosts:
                self._seal()

    def ended(self, host: int) -> None:
        """A host has ended."""
        self._hosts.discard(host)
        self._ended = "workers have ended"
        if self._wave:
            self._judge()

    def close(self) -> None:
        """The run is over."""
        self._file.close()
        if not self.made and self.problem:
            logger.warning("no checkpoint was made: %s", self.problem)

    def _counted(self, host: int, still: Still) -> None:
        if not self._wave:
            if still.round:
                self._totals = (-1, -1)
                self._ask()
        elif still.wave == self._wave:
            self._stills[host] = still
            self._judge()

    def _ask(self) -> None:
        self._wave += 1
        self._stills = {}
        self._tell(Count(self._wave))

    def _judge(self) -> None:
        if not self._stills.keys() >= self._hosts:
            return
        stills = [self._stills[host] for host in sorted(self._hosts)]
        totals = sum(still.sent for still in stills), sum(still.received for still in stills)
        before, self._totals = self._totals, totals
        if totals != before or totals[0] != totals[1]:
            self._ask()
            return
        self._round = max((still.round for still in stills), default=0)
        problem = self._ended or next((still.problem for still in stills if still.problem), "")
        if problem:
            self.problem = problem
            if any(still.leads for still in stills):
                logger.warning("no checkpoint of round %s: %s", self._round, problem)
            self._go_on()
            return
        self._kept = {}
        self._tell(Write(str(begin(self._top, self._round))))

    def _seal(self) -> None:
        elapsed = time.monotonic() - self._started
        before: Mapping[str, Any] = {} if self._found is None else self._found.manifest
        nbytes = before.get("bytes_sent", 0) + sum(kept.nbytes for kept in self._kept.values())
        messages = before.get("messages", 0) + sum(kept.messages for kept in self._kept.values())
        written = b"".join(framed(shifted(report, -self._started)) for report in self._unwritten)
        self._unwritten.clear()
        manifest = {
            "every": self.every,
            "seconds": elapsed,
            "bytes_sent": nbytes,
            "messages": messages,
            "record": self._file.append(written),
            **self._about,
        }
        files = [File(*file) for kept in self._kept.values() for file in kept.files]
        spared = None if self._found is None else self._found.round
        commit(self._top, self._round, files, manifest, spared=spared)
        self.made += 1
        self._go_on()

    def _go_on(self) -> None:
        self._wave = 0
        self._tell(GoOn())

    def _tell(self, command: Command) -> None:
        assert self._say is not None  # `among` comes first
        for host in sorted(self._hosts):
            self._say(host, command)


def shifted(report: Measured | RoundClosed, seconds: float) -> Measured | RoundClosed:
    """A report, its times moved: a record's times count from the start of the run."""
    if isinstance(report, RoundClosed):
        return msgspec.structs.replace(report, start=report.start + seconds, end=report.end + seconds)
    return Measured([(*row[:4], row[4] + seconds, row[5]) for row in report.rows])


def recorded(data: bytes, started: float) -> tuple[Rows, list[RoundClosed]]:
    """The measurements and the closed rounds of a record, for a run that began at `started`."""
    rows: Rows = []
    rounds: list[RoundClosed] = []
    for report in unframed(data):
        if isinstance(report, Measured):
            rows += [(*row[:4], row[4] + started, row[5]) for row in report.rows]
        elif isinstance(report, RoundClosed):
            rounds.append(msgspec.structs.replace(report, start=report.start + started, end=report.end + started))
    return rows, rounds
