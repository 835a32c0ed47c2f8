"""A run directory: everything that a run leaves behind, from which it can be looked at and repeated."""

from __future__ import annotations

import csv
import math
import os
import shutil
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from flame.config import Config
from flame.errors import ConfigError, WorkerFailed
from flame.registry.journal import Checkpoint, clear
from flame.runtime.checkpoints import recorded
from flame.runtime.launch import Crew
from flame.runtime.reports import Done, Measured, Progress, Report, RoundClosed
from flame.runtime.resuming import job_of
from flame.tag import Tag
from flame.tag.parts import parts, places


@dataclass(slots=True)
class Settings:
    """What a run was asked for, as it is written down."""

    seed: int
    name: str
    values: Mapping[str, Any]
    command: str
    rounds: int


STALE = ("run.json", "model.safetensors", "report.html", "metrics.csv", "metrics.json", "timeline.json")
"""What a run writes at its end: an earlier run's must not be taken for this one's while it goes on, or if it fails."""


@dataclass(slots=True)
class Record:
    """Gathers what hosts report, and writes it.

    Attributes:
        out: the run directory.
        started: when the run began, on the machine's monotonic clock.
    """

    out: Path
    tag: Tag
    crew: Crew
    settings: Settings
    started: float
    began: datetime = field(default_factory=lambda: datetime.now(UTC))
    rows: list[tuple[str, str, str, int, float, dict[str, Any]]] = field(default_factory=list)
    rounds: list[RoundClosed] = field(default_factory=list)
    done: dict[int, Done] = field(default_factory=dict)
    progress: dict[int, Progress] = field(default_factory=dict)
    pids: Mapping[int, int] = field(default_factory=dict)
    found: Checkpoint | None = None

    @property
    def job(self) -> dict[str, Any]:
        """What a run that goes on from one of this run's checkpoints must agree with."""
        return job_of(self.tag, self.crew.configs, self.settings.seed)

    def take(self, host: int, report: Report) -> None:
        """Keep one report."""
        if isinstance(report, Measured):
            self.rows += report.rows
        elif isinstance(report, RoundClosed):
            self.rounds.append(report)
        elif isinstance(report, Progress):
            self.progress[host] = report
        elif isinstance(report, Done):
            self.done[host] = report

    @property
    def nbytes(self) -> int:
        """Bytes that workers have sent so far, as far as hosts have said."""
        return self._before("bytes_sent") + sum(report.nbytes for report in self._latest())

    def _before(self, key: str) -> int:
        """What had come together of something when the checkpoint was made that this run goes on from."""
        return 0 if self.found is None else int(self.found.manifest[key])

    def _latest(self) -> list[Done | Progress]:
        """The last that each host has said of its traffic."""
        return [self.done.get(host) or self.progress[host] for host in self.done.keys() | self.progress.keys()]

    def prepare(self) -> None:
        """Make the directory and write what is known before anything runs."""
        try:
            self.out.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            fix = "give --out another folder"
            raise ConfigError(str(self.out), f"cannot be a run directory: {error.strerror}", fix) from error
        _write_json(self.out / "tag.json", self.tag.to_dict())
        with _replacing(self.out / "configs.jsonl") as file:
            file.writelines(_config_lines(self.crew.configs))
        for stale in STALE:
            (self.out / stale).unlink(missing_ok=True)
        shutil.rmtree(self.out / "models", ignore_errors=True)
        if self.found is None:
            clear(self.out)
        else:
            clear(self.out, after=self.found.round)
            self.rows, self.rounds = recorded(self.found.record(), self.started)

    def finish(self, seconds: float, error: Exception | None) -> None:
        """Write what came out."""
        self.rows.sort(key=lambda row: (row[3], self._number(row[0])))
        self._write_metrics()
        self._write_timeline()
        _write_json(self.out / "run.json", self._summary(seconds, error))

    def _number(self, worker: str) -> tuple[str, int]:
        role, _, number = worker.rpartition("/")
        return role, int(number) if number.isdigit() else 0

    def _summary(self, seconds: float, error: Exception | None) -> dict[str, Any]:
        roles = Counter(config.role for config in self.crew.configs)
        done = self.done.values()
        summary = {
            "id": self.out.name,
            "name": self.settings.name,
            "seed": self.settings.seed,
            "hosts": self.crew.hosts,
            "started": self.began.isoformat(timespec="seconds"),
            "seconds": round(seconds, 3),
            "status": "completed" if error is None else "failed",
            "rounds": max((closed.number for closed in self.rounds), default=0),
            "rounds_asked": self.settings.rounds,
            "workers": len(self.crew.configs),
            "roles": dict(roles),
            "start_up_s": self._start_up(),
            "bytes_sent": self.nbytes,
            "messages": self._before("messages") + sum(report.messages for report in self._latest()),
            "never_asked": sum(report.never_asked for report in done),
            "peak_bytes": {str(host): report.peak_bytes for host, report in sorted(self.done.items())},
            "pids": {str(host): pid for host, pid in self.pids.items()},
            "command": self.settings.command,
            "settings": dict(self.settings.values),
        }
        if parts := apart(self.tag, self.crew.configs):
            first = {config.name: config.to_dict() for config in self.crew.configs if config.name in first_of(parts)}
            summary["experiments"] = {
                label: {"workers": names, "settings": {key: first[names[0]].get(key) for key in OF_A_MODEL}}
                for label, names in parts.items()
            }
        if self.found is not None:
            summary["resumed_from"] = self.found.round
        if len(self.crew.configs) <= 100:
            named = zip(self.crew.configs, self.crew.placement, strict=True)
            summary["placement"] = {self.crew.names[config.task_id]: host for config, host in named}
        if isinstance(error, WorkerFailed):
            summary["error"] = {"worker": error.worker, "role": error.role, "traceback": error.traceback}
        elif error is not None:
            summary["error"] = {"worker": "", "role": "", "traceback": str(error)}
        return summary

    def _start_up(self) -> float | None:
        """Seconds from the beginning to the first order, when workers could begin to train; None if none is known."""
        spans = (span for report in self.done.values() for span in report.spans)
        first = [span[4] for span in spans if span[2] in ("distribute", "train")]
        first += [closed.start for closed in self.rounds]
        return round(min(first) - self.started, 3) if first else None

    def _write_metrics(self) -> None:
        records = []
        with _replacing(self.out / "metrics.csv") as file:
            writer = csv.writer(file)
            writer.writerow(["round", "worker", "role", "name", "value", "seconds"])
            for worker, role, dataset, number, at, values in self.rows:
                seconds = round(at - self.started, 4)
                record = {
                    "round": number,
                    "worker": worker,
                    "role": role,
                    "dataset": dataset,
                    "seconds": seconds,
                }
                records.append({**record, "values": {name: _finite(value) for name, value in values.items()}})
                for name, value in values.items():
                    writer.writerow([number, worker, role, name, value, seconds])
        _write_json(self.out / "metrics.json", {"records": records})

    def _write_timeline(self) -> None:
        keys = ("worker", "role", "alias", "round", "start", "seconds")
        spans, totals = [], Counter[tuple[str, str]]()
        counts = Counter[tuple[str, str]]()
        for host, report in sorted(self.done.items()):
            for span in report.spans:
                row = dict(zip(keys, span, strict=True))
                spans.append({**row, "host": host, "start": round(span[4] - self.started, 6)})
            for role, alias, count, seconds in report.totals:
                totals[role, alias] += seconds  # type: ignore[assignment]  # a Counter of floats adds up just as well
                counts[role, alias] += count
        rounds = [
            {
                "round": closed.number,
                "worker": closed.worker,
                "start": round(closed.start - self.started, 6),
                "seconds": round(closed.end - closed.start, 6),
                "asked": closed.asked,
                "folded": closed.folded,
                "bytes": closed.nbytes,
                **({} if closed.simulated_s is None else {"simulated_s": closed.simulated_s}),
            }
            for closed in self.rounds
        ]
        table = [
            {"role": role, "alias": alias, "count": counts[role, alias], "seconds": round(seconds, 6)}
            for (role, alias), seconds in totals.items()
        ]
        _write_json(self.out / "timeline.json", {"spans": spans, "totals": table, "rounds": rounds})


MOST_NAMED = 10_000
OF_A_MODEL = ("hyperparameters", "optimizer", "selector", "gate", "privacy", "datasampler")


class _replacing:
    """Write a file beside its place and move it there when it is whole."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._part = path.with_name(path.name + ".part")

    def __enter__(self) -> Any:
        self._file = self._part.open("w", encoding="utf-8", newline="")
        return self._file

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._file.close()
        if kind is None:
            os.replace(self._part, self._path)
        else:
            self._part.unlink(missing_ok=True)


def _write_json(path: Path, value: object) -> None:
    with _replacing(path) as file:
        file.write(_json(value))


def _finite(value: Any) -> Any:
    """A number that is not finite has no place in JSON and is written as its name."""
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def _json(value: object) -> str:
    return msgspec.json.encode(value, enc_hook=_plain).decode()


def _plain(value: object) -> object:
    """What JSON has no word for."""
    return dict(value) if isinstance(value, Mapping) else str(value)


def _config_lines(configs: Sequence[Config]) -> Iterator[str]:
    """Every worker's config as a line; what workers of a role and an experiment share is made into text once."""
    shared: dict[tuple[str, int], str] = {}
    for config in configs:
        kind = config.role, id(config.hyperparameters)
        if kind not in shared:
            own = ("taskid", "name", "groupAssociation", "dataset")
            shared[kind] = _json({key: value for key, value in config.to_dict().items() if key not in own})[1:]
        line = {"taskid": config.task_id, "name": config.name, "dataset": config.dataset}
        mine = _json({**line, "groupAssociation": config.group_association})
        yield f"{mine[:-1]},{shared[kind]}\n"


def apart(tag: Tag, configs: Sequence[Config]) -> dict[str, list[str]]:
    """The federations of a run that never meet, by the groups that only they have; {} if there is but one.

    Returns:
        The names of each one's workers; {} too for more than 10,000 workers, which nobody looks at one by one.
    """
    found = parts(tag)
    if len(configs) > MOST_NAMED or len(set(found.values())) < 2:
        return {}
    names: dict[int, list[str]] = {}
    for config in configs:
        mine = places(tag, tag.role(config.role), config.group_association)
        if mine:
            names.setdefault(found[mine[0]], []).append(config.name)
    groups: dict[int, dict[str, None]] = {}
    for (_, group), number in found.items():
        groups.setdefault(number, {})[group] = None
    return {" ".join(groups[number]): workers for number, workers in names.items()}


def first_of(parts: Mapping[str, list[str]]) -> set[str]:
    """One worker of each."""
    return {names[0] for names in parts.values()}


def command_line() -> str:
    """The command that this process was started with."""
    return " ".join([Path(sys.argv[0]).name, *sys.argv[1:]])


def readable_names(configs: list[Config]) -> dict[str, str]:
    """Every worker's readable name by its task id."""
    return {config.task_id: config.name for config in configs}
