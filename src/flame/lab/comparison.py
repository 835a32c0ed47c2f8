"""Several runs over one another: one chart per metric, one table of what each reached."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from flame.lab import history, page, summary, values
from flame.lab.curves import Chart, Series
from flame.lab.history import History
from flame.lab.page import Cell, quantity
from flame.lab.theme import NOTHING, distinct, escape, plural, seconds, size

_MAX_LABEL = 40


def compare(run_dirs: Sequence[Path], out: Path, target: tuple[str, float] | None = None) -> Path:
    """Writes a page that compares runs by the global curve of each of their metrics.

    Args:
        run_dirs: the run directories, in the order in which they are shown.
        out: the page to write.
        target: a metric and the value to reach; the table then says in which round each run first did.

    Raises:
        ConfigError: one of the directories is none, or one of its files is damaged.
    """
    runs = [history.read(run_dir) for run_dir in run_dirs]
    named = dict(zip(labels(runs), runs, strict=True))
    lines = {label: _lines(run) for label, run in named.items()}
    names = list(dict.fromkeys(name for found in lines.values() for name in found))
    main = target[0] if target else _main(runs)
    names.sort(key=lambda name: name != main)
    charts = [_chart(name, lines, target) for name in names]
    body = (
        f"<header><h1>{escape(plural(len(runs), 'run'))} compared</h1>"
        f'<p class="mute small">{escape(_subject(runs))}</p></header>'
        + page.section("Results", _table(named, lines, main, target))
        + page.section("Metrics", values.show(charts))
        + page.section("What differs", _differences(named))
    )
    return page.save(page.page("Runs compared · Flame", body), out)


def experiments(run: History) -> str:
    """A table of what each of the federations of one run reached; "" where there is but one."""
    top = summary.headline(run)
    curves = summary.by_experiment(run, top.name) if top else {}
    if top is None or len(curves) < 2:
        return ""
    head = ["experiment", f"final {top.name}", "best", "in round", "rounds", "what differs"]
    rows = []
    for label, curve in curves.items():
        found = summary.best(curve, top.name)
        changes = ", ".join(f"{key} {value}" for key, value in run.changes.get(label, {}).items())
        row = [Cell(label), quantity(curve[-1][1]), quantity(found[1] if found else None)]
        rows.append([*row, quantity(found[0] if found else None), quantity(curve[-1][0]), Cell(changes)])
    return page.table(head, rows, sortable=True)


def labels(runs: Sequence[History]) -> list[str]:
    """A distinct label of at most 40 characters per run: its name, else the settings that differ, else its id."""
    return distinct(_full_labels(runs), _MAX_LABEL)


def _full_labels(runs: Sequence[History]) -> list[str]:
    names = [run.name for run in runs]
    if len(set(names)) == len(names):
        return names
    tables = [run.settings for run in runs]
    differing = [key for key in dict.fromkeys(k for t in tables for k in t) if len({t.get(key) for t in tables}) > 1]
    columns = [distinct([table.get(key, NOTHING) for table in tables], _MAX_LABEL) for key in differing[:3]]
    settings = list(map(", ".join, zip(*columns, strict=True)))
    if settings and len(set(settings)) == len(settings):
        return settings
    ids = [str(run.facts.get("id") or run.path.name) for run in runs]
    if len(set(ids)) == len(ids):
        return ids
    return [f"{at}: {name}" for at, name in enumerate(ids, start=1)]


def _lines(run: History) -> dict[str, history.Curve]:
    by_metric = run.by_metric
    return {name: summary.global_curve(run, by_metric[name]) for name in summary.charted(run)}


def _main(runs: Sequence[History]) -> str:
    return next((top.name for run in runs if (top := summary.headline(run)) is not None), "")


def _chart(name: str, lines: Mapping[str, Mapping[str, history.Curve]], target: tuple[str, float] | None) -> Chart:
    highlights = [Series(label, found[name]) for label, found in lines.items() if name in found]
    return Chart(name, highlights, target=target[1] if target and target[0] == name else None)


def _table(
    named: Mapping[str, History],
    lines: Mapping[str, Mapping[str, history.Curve]],
    main: str,
    target: tuple[str, float] | None,
) -> str:
    head = ["run", f"final {main}".strip(), "best", "in round"]
    head += [f"rounds to {target[1]:g}"] if target else []
    anyone_failed = any(run.failed for run in named.values())
    head += ["rounds", "wall time", "sent", *([""] if anyone_failed else [])]
    rows = []
    for label, run in named.items():
        curve = lines[label].get(main, [])
        top = summary.best(curve, main)
        reached = summary.rounds_to(curve, main, target[1]) if target else None
        row = [Cell(label), quantity(curve[-1][1] if curve else None)]
        row += [quantity(top[1] if top else None), quantity(top[0] if top else None)]
        row += [quantity(reached) if reached else Cell("never", key=math.inf)] if target else []
        row += [quantity(run.fact("rounds")), quantity(run.fact("seconds"), seconds(run.fact("seconds")))]
        row += [quantity(run.fact("bytes_sent"), size(run.fact("bytes_sent")))]
        row += [Cell("failed" if run.failed else "", kind="bad")] if anyone_failed else []
        rows.append(row)
    return page.table(head, rows, sortable=True)


def _subject(runs: Sequence[History]) -> str:
    names = list(dict.fromkeys(run.name for run in runs))
    return " · ".join(names[:6]) + (" …" if len(names) > 6 else "")


def _differences(named: Mapping[str, History]) -> str:
    tables = {label: run.settings for label, run in named.items()}
    keys = dict.fromkeys(key for table in tables.values() for key in table)
    differing = [key for key in keys if len({table.get(key) for table in tables.values()}) > 1][:8]
    if not differing:
        return ""
    columns = [_setting([table.get(key, NOTHING) for table in tables.values()]) for key in differing]
    return page.table(["run", *differing], zip(map(Cell, tables), *columns, strict=True))


def _setting(values: Sequence[str]) -> list[Cell]:
    """One setting of every run; a value that is shown shortened can be read in whole under the pointer."""
    shown = distinct(values, 60)
    return [Cell(s, title=v[:2000] if s != v else "") for s, v in zip(shown, values, strict=True)]
