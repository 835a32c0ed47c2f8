"""Metrics as markup: curves of what was measured over rounds, a table of what was measured only once."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from flame.lab import curves, page
from flame.lab.curves import Chart, Series
from flame.lab.page import Cell, quantity
from flame.lab.theme import number, plural, shorten

MAX_CHARTS = 12
_MAX_ROWS = 200
_MAX_COLUMNS = 12


def show(charts: Sequence[Chart]) -> str:
    """The charts that have a line to draw, and below them a table of the others' values.

    A metric that nobody measured in more than one round makes no curve: its chart would be a dot.
    """
    lines = [chart for chart in charts if _over_rounds(chart)]
    once = [chart for chart in charts if not _over_rounds(chart)]
    drawn = "".join(curves.draw(chart) for chart in lines[:MAX_CHARTS])
    hidden = max(0, len(lines) - MAX_CHARTS) + max(0, len(once) - _MAX_ROWS)
    rest = f'<p class="mute small">{plural(hidden, "more metric")} in metrics.csv.</p>' if hidden else ""
    table = _table(once[:_MAX_ROWS]) if once else ""
    gap = '<div style="margin-top:34px"></div>' if drawn and table else ""
    return (f'<div class="grid2">{drawn}</div>' if drawn else "") + gap + table + rest


def _over_rounds(chart: Chart) -> bool:
    return any(len(series.points) > 1 for series in (*chart.highlights, *chart.sites))


def _table(charts: Sequence[Chart]) -> str:
    """One row per metric, one column per coloured series; of the grey ones, the lowest and the highest value."""
    names = list(dict.fromkeys(series.name for chart in charts for series in chart.highlights))[:_MAX_COLUMNS]
    noun = next((chart.noun for chart in charts if chart.sites), "")
    rows = [
        [Cell(shorten(chart.title, 60)), *_values(chart, names), *(_ends(chart) if noun else ())] for chart in charts
    ]
    head = ["metric", *(shorten(name, 40) for name in names), *([f"lowest {noun}", f"highest {noun}"] if noun else [])]
    width = 240 + 150 * (len(head) - 1)
    return f'<div style="max-width:{width}px">{page.table(head, rows)}</div>'


def _values(chart: Chart, names: Iterable[str]) -> list[Cell]:
    found = {series.name: _value(series) for series in chart.highlights if series.points}
    return [quantity(found.get(name)) for name in names]


def _ends(chart: Chart) -> tuple[Cell, Cell]:
    finite = [(_value(site), site.name) for site in chart.sites if site.points and math.isfinite(_value(site))]
    if not finite:
        return quantity(None), quantity(None)
    low, high = (end(finite, key=lambda pair: pair[0]) for end in (min, max))
    return Cell(number(low[0]), low[0], title=low[1]), Cell(number(high[0]), high[0], title=high[1])


def _value(series: Series) -> float:
    return series.points[-1][1]
