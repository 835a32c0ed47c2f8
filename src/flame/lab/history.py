"""A run directory, read into records.

Reading is lenient where a run may have been cut short (a missing or empty file is an empty list) and strict
where a file is damaged: text that is no JSON raises. The TAG says which roles are sites (its data
consumers, but for those to whom others send what they learned) and how far every other role is from them;
without a TAG, workers with a dataset are sites.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from flame.errors import ConfigError
from flame.lab.settings import flat

Curve = list[tuple[int, float]]


@dataclass(frozen=True, slots=True)
class Record:
    """What one worker measured in one round; `seconds` counts from the start of the run."""

    round: int
    worker: str
    role: str
    dataset: str
    seconds: float
    values: Mapping[str, float]


class Span(NamedTuple):
    """One tasklet of one worker; `start` counts from the start of the run, both in seconds."""

    worker: str
    role: str
    host: str
    alias: str
    round: int
    start: float
    seconds: float


class Total(NamedTuple):
    """All runs of one tasklet by the workers of one role."""

    role: str
    alias: str
    runs: int
    seconds: float


class RoundRow(NamedTuple):
    """One round as its aggregator saw it."""

    round: int
    start: float
    seconds: float
    asked: int
    folded: int
    bytes: int
    worker: str
    simulated_s: float | None = None


@dataclass(frozen=True)
class History:
    """Everything that a run left behind, but for its model.

    Attributes:
        path: the run directory.
        facts: `run.json` as it is.
        settings: the first worker's resolved ones under what the user changed, as `a.b.c` → text.
        records: one per worker and round that measured something.
        holders: the roles that hold data.
        sites: those of them that nobody answers; who holds the labels of a split model is above the others.
        upper: all roles but the sites, the one farthest from the data first.
    """

    path: Path
    facts: Mapping[str, Any]
    settings: Mapping[str, str]
    records: Sequence[Record]
    spans: Sequence[Span]
    totals: Sequence[Total]
    rounds: Sequence[RoundRow]
    holders: frozenset[str]
    sites: frozenset[str]
    upper: Sequence[str]

    @property
    def name(self) -> str:
        """The run's name, or its id, or its directory's name."""
        return str(self.facts.get("name") or self.facts.get("id") or self.path.name)

    @property
    def failed(self) -> bool:
        """Whether the run did not come to its end."""
        return self.facts.get("status") != "completed"

    @property
    def roundless(self) -> bool:
        """Whether the job had no rounds: it came to its end and nobody closed one."""
        return not self.failed and not self.rounds and not self.fact("rounds") > 0

    def fact(self, key: str) -> float:
        """A number of `run.json`, NaN when it has none."""
        return _number(self.facts.get(key), math.nan)

    @cached_property
    def top_rounds(self) -> list[RoundRow]:
        """The rounds of the role farthest from the data, in order: those of the whole federation."""
        spans = {span.worker: span.role for span in self.spans}
        by_role: dict[str, list[RoundRow]] = {}
        for row in self.rounds:
            role = spans.get(row.worker) or self.role_of.get(row.worker) or row.worker.rpartition("/")[0]
            by_role.setdefault(role, []).append(row)
        top = next((role for role in self.upper if role in by_role), next(iter(by_role), ""))
        return sorted(by_role.get(top, []), key=lambda row: (row.round, row.start))

    @cached_property
    def experiments(self) -> dict[str, frozenset[str]]:
        """The workers of each federation of the run, by its groups; {} where there is but one."""
        return {label: frozenset(map(str, part.get("workers", ()))) for label, part in self._parts.items()}

    @cached_property
    def changes(self) -> dict[str, dict[str, str]]:
        """The settings in which experiments differ, as `a.b.c` → text, by experiment."""
        tables = {label: flat(part.get("settings")) for label, part in self._parts.items()}
        keys = dict.fromkeys(key for table in tables.values() for key in table)
        differing = [key for key in keys if len({table.get(key) for table in tables.values()}) > 1]
        return {label: {key: table[key] for key in differing if key in table} for label, table in tables.items()}

    @property
    def _parts(self) -> Mapping[str, Mapping[str, Any]]:
        parts = self.facts.get("experiments")
        return parts if isinstance(parts, dict) and all(isinstance(part, dict) for part in parts.values()) else {}

    @cached_property
    def names(self) -> list[str]:
        """Every metric, those of the upper roles first, each group in order of appearance."""
        seen: dict[str, bool] = {}
        for record in self.records:
            for name in record.values:
                seen[name] = seen.get(name, False) or record.role not in self.sites
        return sorted(seen, key=lambda name: not seen[name])

    @cached_property
    def by_metric(self) -> dict[str, dict[str, Curve]]:
        """For every metric, the (round, value) curve of every worker that measured it, in order of rounds."""
        found: dict[str, dict[str, dict[int, float]]] = {name: {} for name in self.names}
        for record in self.records:
            for name, value in record.values.items():
                found[name].setdefault(record.worker, {})[record.round] = value
        return {name: {w: sorted(c.items()) for w, c in curves.items()} for name, curves in found.items()}

    @cached_property
    def role_of(self) -> dict[str, str]:
        """The role of every worker that measured something."""
        return {record.worker: record.role for record in self.records}


def read(directory: Path) -> History:
    """Reads `run.json`, `tag.json`, `metrics.json` and `timeline.json` of a run directory.

    Raises:
        ConfigError: there is no such directory, or one of the files is damaged.
    """
    if not directory.is_dir():
        raise ConfigError(str(directory), "is not a run directory", "give a directory that `flame run` wrote")
    facts = _load(directory / "run.json")
    timeline = _load(directory / "timeline.json")
    records = [record for row in _rows(_load(directory / "metrics.json"), "records") if (record := _record(row))]
    holders, sites, upper = _ranks(_load(directory / "tag.json"), records)
    return History(
        path=directory,
        facts=facts,
        settings=_config(directory / "configs.jsonl") | flat(facts.get("settings")),
        records=records,
        spans=[_span(row) for row in _rows(timeline, "spans")],
        totals=[
            Total(_text(row, "role"), _text(row, "alias"), _whole(row, "count"), _clock(row, "seconds"))
            for row in _rows(timeline, "totals")
        ],
        rounds=[_round(row) for row in _rows(timeline, "rounds")],
        holders=holders,
        sites=sites,
        upper=upper,
    )


def mean(curves: Iterable[Curve]) -> Curve:
    """The unweighted mean of curves in every round, over those that have a finite value there."""
    by_round: dict[int, list[float]] = {}
    for curve in curves:
        for at, value in curve:
            by_round.setdefault(at, []).append(value)
    out: Curve = []
    for at in sorted(by_round):
        finite = [v for v in by_round[at] if math.isfinite(v)]
        out.append((at, math.fsum(finite) / len(finite) if finite else math.nan))
    return out


def _load(path: Path) -> dict[str, Any]:
    """A JSON object; an absent or empty file is an empty one."""
    if not path.is_file() or not path.stat().st_size:
        return {}
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as fault:
        raise ConfigError(str(path), f"is damaged: {fault}", "run the federation again") from fault
    if not isinstance(value, dict):
        raise ConfigError(str(path), "does not hold a JSON object", "run the federation again")
    return value


def _config(path: Path) -> dict[str, str]:
    """What the first resolved config says about the algorithm, as `a.b.c` → text."""
    if not path.is_file():
        return {}
    with path.open(encoding="utf-8") as lines:
        first = lines.readline()
    try:
        config = json.loads(first or "{}")
        return flat({key: config[key] for key in ("hyperparameters", "optimizer", "selector") if config.get(key)})
    except (ValueError, AttributeError) as fault:
        raise ConfigError(str(path), f"is damaged: {fault}", "run the federation again") from fault


def _rows(table: Mapping[str, Any], key: str) -> list[dict[str, Any]]:
    rows = table.get(key)
    return [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []


def _number(value: object, default: float) -> float:
    if not isinstance(value, int | float):
        return default
    return float(value) if abs(value) < 1e308 or value != value else (math.inf if value > 0 else -math.inf)


def _text(row: Mapping[str, Any], key: str) -> str:
    value = row.get(key)
    return "" if value is None else str(value)


def _whole(row: Mapping[str, Any], key: str) -> int:
    value = _number(row.get(key), 0.0)
    return int(value) if math.isfinite(value) else 0


def _clock(row: Mapping[str, Any], key: str) -> float:
    """Seconds that can be drawn: finite and not negative."""
    value = _number(row.get(key), 0.0)
    return max(0.0, value) if math.isfinite(value) else 0.0


def _record(row: Mapping[str, Any]) -> Record | None:
    values = row.get("values")
    if not isinstance(values, dict) or not values:
        return None
    # A value that JSON could not hold as a number (null for NaN) was one that is not finite.
    numbers = {str(name): _number(value, math.nan) for name, value in values.items()}
    worker, role, dataset = (_text(row, key) for key in ("worker", "role", "dataset"))
    return Record(_whole(row, "round"), worker, role, dataset, _clock(row, "seconds"), numbers)


def _span(row: Mapping[str, Any]) -> Span:
    worker, role, host, alias = (_text(row, key) for key in ("worker", "role", "host", "alias"))
    return Span(worker, role, host, alias, _whole(row, "round"), _clock(row, "start"), _clock(row, "seconds"))


def _round(row: Mapping[str, Any]) -> RoundRow:
    at, asked, folded, sent = (_whole(row, key) for key in ("round", "asked", "folded", "bytes"))
    worker = _text(row, "worker")
    simulated_s = _clock(row, "simulated_s") if "simulated_s" in row else None
    return RoundRow(at, _clock(row, "start"), _clock(row, "seconds"), asked, folded, sent, worker, simulated_s)


def _ranks(tag: Mapping[str, Any], records: Iterable[Record]) -> tuple[frozenset[str], frozenset[str], list[str]]:
    """The roles that hold data, the sites among them, and the others by their distance from these, farthest first."""
    roles = {_text(row, "name"): bool(row.get("isDataConsumer")) for row in _rows(tag, "roles")}
    for record in records:
        roles.setdefault(record.role, bool(record.dataset))
    holders = frozenset(role for role, consumes in roles.items() if consumes)
    links: dict[str, set[str]] = {}
    answered: set[str] = set()
    for row in _rows(tag, "channels"):
        pair = {str(role) for role in row.get("pair") or ()}
        for one in pair:
            links.setdefault(one, set()).update(pair)
            if pair <= holders and "aggregate" in (row.get("funcTags") or {}).get(one, ()):
                answered.add(one)
    sites = (holders - answered) or holders
    distance, edge = dict.fromkeys(sites, 0), set(sites)
    while edge:
        step = max(distance[role] for role in edge) + 1
        edge = {other for role in edge for other in links.get(role, ()) if other not in distance}
        distance.update(dict.fromkeys(edge, step))
    upper = sorted((role for role in roles if role not in sites), key=lambda r: (-distance.get(r, 0), r))
    return holders, sites, upper
