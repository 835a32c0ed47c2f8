"""`report.html`: what happened in a run, on one page that needs no network.

`write` tells the story of one run; `compare` lays several over one another.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Container, Mapping
from pathlib import Path
from typing import Any

from flame.lab import history, page, summary, theme, timeline, values
from flame.lab.comparison import compare as compare
from flame.lab.comparison import experiments
from flame.lab.drawing import drawing
from flame.lab.history import Curve, History
from flame.lab.page import Cell, quantity
from flame.lab.theme import NOTHING, escape, number, plural, seconds, size

_MAX_ROWS = 400  # of the table of sites
_MAX_COLUMNS = 6
_MAX_ROUNDS = 500
_MAX_TASKLETS = 8  # the others open on demand
_FILES = {
    "metrics.csv": "every measurement, one a line",
    "metrics.json": "the same, one record per worker and round",
    "model.safetensors": "the final model",
    "timeline.json": "when each tasklet ran",
    "tag.json": "the TAG",
    "configs.jsonl": "the resolved config of every worker",
    "run.json": "the facts at the top of this page",
}


def write(run_dir: Path) -> Path:
    """Writes `report.html` into a run directory, from the other files in it.

    Files that are missing leave their section out. The page stays below 2 MB however many workers there were.

    Raises:
        ConfigError: there is no such directory, or one of its files is damaged.
    """
    run = history.read(run_dir)
    parts = (
        _header(run),
        _failure(run),
        _headline(run),
        page.section("Experiments", experiments(run)),
        page.section("Metrics", _metrics(run)),
        page.section("Topology", drawing(run, _roles(run))),
        page.section("Where the time went", _time(run)),
        page.section("Sites", _sites(run)),
        page.section("Run it again", _repeat(run)),
        page.section("Files", _files(run)),
    )
    return page.save(page.page(f"{run.name} · Flame", "".join(parts)), run_dir / "report.html")


def _header(run: History) -> str:
    status = str(run.facts.get("status") or "unfinished")
    started = str(run.facts.get("started") or "").replace("T", " ")[:19]
    seed = run.facts.get("seed")
    facts = [str(run.facts.get("id") or run.path.name), started, f"seed {seed}" if seed is not None else ""]
    return (
        f'<header><div class="top"><h1>{escape(run.name)}</h1>'
        f'<span class="status{" bad" if run.failed else ""}">{escape(status)}</span></div>'
        f'<p class="mute small">{escape(" · ".join(filter(None, facts)))}</p></header>'
    )


def _failure(run: History) -> str:
    error = run.facts.get("error")
    if not isinstance(error, dict):
        return ""
    text = str(error.get("traceback") or "").strip()
    last = text.splitlines()[-1] if text else "no traceback was kept"
    worker, role = error.get("worker"), error.get("role")
    who = f"{worker} (role {role or 'unknown'}) raised" if worker else "The run stopped:"
    if len(text) > 20_000:
        text = f"{text[:4_000]}\n…\n{text[-16_000:]}"
    trace = f"<pre>{escape(text)}</pre>" if "\n" in text else ""
    return f'<section class="failure"><strong>{escape(who)}</strong> {escape(last[:500])}{trace}</section>'


def _headline(run: History) -> str:
    items: list[tuple[str, str, str]] = []
    top = summary.headline(run)
    if top is not None:
        remark = f"best {number(top.best)} in round {top.round}" if top.best is not None else "never finite"
        items.append((top.name, number(top.final), "" if run.roundless else remark))
    if not run.roundless:
        items.append(_rounds_tile(run))
    roles = run.facts.get("roles")
    kinds = roles if isinstance(roles, dict) else {}
    workers = run.fact("workers")
    hosts = run.fact("hosts")
    place = f"on {plural(int(hosts), 'host')}" if math.isfinite(hosts) else plural(len(kinds), "role")
    items.append(("workers", number(workers) if math.isfinite(workers) else NOTHING, place))
    start_up = run.fact("start_up_s")
    remark = f"first round after {seconds(start_up)}" if math.isfinite(start_up) and run.rounds else ""
    items.append(("wall time", seconds(run.fact("seconds")), remark))
    messages = run.fact("messages")
    remark = f"in {plural(int(messages), 'message')}" if math.isfinite(messages) else ""
    items.append(("sent", size(run.fact("bytes_sent")), remark))
    peaks = run.facts.get("peak_bytes")
    if isinstance(peaks, dict) and peaks:
        each = [float(peak) for peak in peaks.values()]
        items.append(("peak memory", size(sum(each)), f"largest host {size(max(each))}" if len(each) > 1 else ""))
    return page.tiles(items)


def _rounds_tile(run: History) -> tuple[str, str, str]:
    rounds = run.fact("rounds")
    per_round = [row.seconds for row in run.top_rounds]
    per_round = per_round[1:] or per_round  # the first one holds the start-up
    how = "each (median)" if len(per_round) > 1 else "each"
    remark = f"{seconds(statistics.median(per_round))} {how}" if per_round else ""
    if run.fact("rounds_asked") > rounds:
        remark = f"of {number(run.fact('rounds_asked'))} asked"
    return "rounds", number(rounds) if math.isfinite(rounds) else NOTHING, remark


def _metrics(run: History) -> str:
    return values.show(summary.charts(run)) or '<p class="mute">No worker reported a metric.</p>'


def _roles(run: History) -> str:
    roles = run.facts.get("roles")
    if not isinstance(roles, dict) or not roles:
        return ""
    order = [role for role in (*run.upper, *sorted(run.sites)) if role in roles]
    order += [role for role in roles if role not in order]
    rows = [
        (Cell(role), quantity(float(roles[role] or 0)), Cell("holds data" if role in run.holders else ""))
        for role in order
    ]
    return page.table(("role", "workers", ""), rows)


def _time(run: History) -> str:
    if not run.spans and not run.totals:
        return ""
    colours = timeline.hues(run.totals, run.spans)
    parts = []
    starts = timeline.starts(run)
    rows, bars = timeline.lanes(run.spans, [*run.upper, *sorted(run.sites)], list(starts))
    if bars:
        workers = run.fact("workers")
        known = len({span.worker for span in run.spans})
        everyone = max(known, int(workers) if math.isfinite(workers) else 0)
        marked = {} if run.roundless else starts
        text = timeline.caption(rows, bars, everyone, rounds=bool(marked))
        parts.append(f'<p class="mute small">{escape(text)}</p>')
        parts.append(timeline.legend({bar.alias for bar in bars}, colours))
        parts.append(f'<div class="wide-art">{timeline.gantt(rows, bars, colours, marked)}</div>')
    parts.append(_stacks(run, colours, starts))
    if run.totals:
        parts.append(f'<h3 style="margin-top:34px">Tasklets, by the time of all workers</h3>{_totals(run, colours)}')
    if run.rounds:
        parts.append(page.fold(f"{plural(len(run.rounds), 'round')} of aggregators, one by one", _rounds(run)))
    return "".join(parts)


def _stacks(run: History, colours: Mapping[str, str], rounds: Container[int]) -> str:
    drawn = []
    for role in [*run.upper, *sorted(run.sites)][:4]:
        mine = [span for span in run.spans if span.role == role and span.round in rounds]
        if len({span.round for span in mine}) > 1:
            drawn.append(timeline.stack(role, mine, colours))
    if not drawn:
        return ""
    title = "Seconds that a worker spends in a round, by role"
    return f'<h3 style="margin:34px 0 14px">{title}</h3><div class="grid2">{"".join(drawn)}</div>'


def _totals(run: History, colours: Mapping[str, str]) -> str:
    longest = max((total.seconds for total in run.totals), default=0.0) or 1.0
    rows = [
        (
            Cell(total.alias),
            Cell(total.role),
            quantity(total.runs),
            quantity(total.seconds, seconds(total.seconds)),
            quantity(total.seconds / max(1, total.runs), seconds(total.seconds / max(1, total.runs))),
            Cell(
                html=_share(total.seconds / longest, colours.get(total.alias, "var(--rule)")),
                kind="share-cell",
            ),
        )
        for total in sorted(run.totals, key=lambda total: -total.seconds)[:60]
    ]
    head = ("tasklet", "role", "runs", "all workers", "one run", "")
    most, rest = rows[:_MAX_TASKLETS], rows[_MAX_TASKLETS:]
    return page.table(head, most) + (
        page.fold(plural(len(rest), "shorter one"), page.table(head, rest)) if rest else ""
    )


def _share(part: float, hue: str) -> str:
    return f'<i class="share" style="width:{100 * part:.1f}%;background:{hue}"></i>'


def _rounds(run: History) -> str:
    rows = [
        (
            quantity(row.round),
            quantity(row.start, seconds(row.start)),
            quantity(row.seconds, seconds(row.seconds)),
            quantity(row.asked),
            quantity(row.folded),
            quantity(row.bytes, size(row.bytes)),
            *([] if row.simulated_s is None else [quantity(row.simulated_s, seconds(row.simulated_s))]),
            Cell(theme.shorten(row.worker, 40)),
        )
        for row in run.rounds[:_MAX_ROUNDS]
    ]
    simulated = ["simulated"] if any(row.simulated_s is not None for row in run.rounds) else []
    return page.table(("round", "began after", "took", "asked", "folded", "bytes", *simulated, "by"), rows)


def _sites(run: History) -> str:
    roles, by_metric = run.role_of, run.by_metric
    workers = [worker for worker, role in roles.items() if role in run.sites]
    names = [n for n in summary.charted(run) if any(w in by_metric[n] for w in workers)][:_MAX_COLUMNS]
    if not names:
        return ""
    first = next((n for n in names if not summary.falls(n)), names[0])
    chosen = _ends(workers, by_metric[first])
    datasets = {record.worker: record.dataset for record in run.records}
    counted = not run.roundless
    rows = [_site(worker, datasets[worker], names, by_metric, counted=counted) for worker in chosen]
    text = "Each site's last values."
    if len(chosen) < len(workers):
        text = f"The {len(chosen)} sites lowest and highest in {first}, of {len(workers):,}: last values."
    head = ("site", "dataset", *(["rounds"] if counted else []), *(theme.shorten(name, 40) for name in names))
    return f'<p class="mute small">{escape(text)}</p>{page.table(head, rows, sortable=True)}'


def _ends(workers: list[str], curves_: Mapping[str, Curve]) -> list[str]:
    """All workers, or when they are too many those with the lowest and the highest last values."""
    if len(workers) <= _MAX_ROWS:
        return workers
    last = {worker: curve[-1][1] for worker, curve in curves_.items()}
    ranked = sorted((w for w in workers if math.isfinite(last.get(w, math.nan))), key=lambda w: last[w])
    ranked = [w for w in workers if not math.isfinite(last.get(w, math.nan))][: _MAX_ROWS // 4] + ranked
    return ranked if len(ranked) <= _MAX_ROWS else ranked[: _MAX_ROWS // 2] + ranked[-_MAX_ROWS // 2 :]


def _site(
    worker: str, dataset: str, names: list[str], by_metric: Mapping[str, Mapping[str, Curve]], *, counted: bool
) -> list[Cell]:
    found = [by_metric[name].get(worker) for name in names]
    rounds = len({at for curve in found if curve for at, _ in curve})
    where = dataset.rstrip("/").rsplit("/", 1)[-1]
    return [
        Cell(theme.shorten(worker, 60)),
        Cell(theme.shorten(where, 40), title=dataset if where != dataset and len(dataset) < 300 else ""),
        *([quantity(rounds)] if counted else []),
        *(quantity(curve[-1][1] if curve else None) for curve in found),
    ]


def _repeat(run: History) -> str:
    parts = []
    if command := run.facts.get("command"):
        text = command if isinstance(command, str) else " ".join(str(word) for word in command)
        parts.append(f'<pre style="user-select:all">{escape(text)}</pre>')
    if run.settings:
        settings = list(run.settings.items())[:200]
        rows = [(Cell(key), Cell(theme.shorten(value, 300))) for key, value in settings]
        parts.append(f'<div style="max-width:680px;margin-top:16px">{page.table(("setting", "value"), rows)}</div>')
    return "".join(parts)


def _files(run: History) -> str:
    def row(name: str, what: str) -> tuple[Cell, Cell, Cell]:
        link = Cell(html=f'<a href="{name}">{name}</a>')
        return link, Cell(what), quantity(0, size((run.path / name).stat().st_size))

    rows: list[Any] = [row(name, what) for name, what in _FILES.items() if (run.path / name).is_file()]
    return f'<div style="max-width:680px">{page.table(("file", "holds", "size"), rows)}</div>' if rows else ""
