"""Line charts as SVG text, drawn without a library.

A chart has a few highlighted series, each labelled where it ends, over any number of quiet ones (the
sites). Up to `MAX_LINES` sites are thin grey lines; more become a band of quantiles, as a hundred
overlapping lines show only their outline. A value that is not finite breaks its line and is counted under
the chart. Names appear when the pointer rests on a line, through `<title>`: no script.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from flame.lab.axes import Scale
from flame.lab.theme import BOLD, COLOURS, LETTER, MINUS, VARIABLES, distinct, escape, number, plural, shorten

Points = Sequence[tuple[float, float]]

MAX_LINES = 100
"""More sites than this are drawn as a band of quantiles."""

_MAX_POINTS = 6000  # of all grey lines together: bounds the size of a chart
_MAX_LABELS = 6  # more highlighted series than this do not fit beside the chart: they get a legend

STYLE = """\
.chart{display:block;width:100%;height:auto;overflow:visible;
font:12px system-ui,-apple-system,"Segoe UI",Roboto,sans-serif;
font-variant-numeric:tabular-nums}
.chart text{fill:var(--mute)}.chart .grid{stroke:var(--rule)}.chart .strong{fill:var(--ink);font-weight:600}
.chart path{fill:none;stroke-linecap:round;stroke-linejoin:round}
.chart .line{stroke-width:2.2}.chart .site{stroke:var(--site);stroke-width:1;opacity:.9}
.chart .site:hover{stroke:var(--ink);stroke-width:2;opacity:1}
.chart .wide{fill:var(--site);opacity:.28}.chart .narrow{fill:var(--site);opacity:.5}
.chart .band{fill:var(--hue);opacity:.16}
.chart .median{stroke:var(--mute);stroke-width:1.3;stroke-dasharray:1 4}
.chart .target{stroke:var(--mute);stroke-width:1.2;stroke-dasharray:5 4}
.chart .dot{fill:transparent}.chart g:hover>.dot,.chart .dot:hover{fill:var(--hue)}
"""


@dataclass(frozen=True, slots=True)
class Series:
    """One line: its name and its (round, value) points in order of rounds.

    `band` are (round, low, high) rows, an interval around a highlighted line; what is not finite of them is not drawn.
    """

    name: str
    points: Points
    band: Sequence[tuple[float, float, float]] = ()


@dataclass(frozen=True, slots=True)
class Chart:
    """What a line chart shows.

    Attributes:
        title: stands above the chart; also its accessible name.
        highlights: the coloured series, best four or fewer.
        sites: the grey series, any number.
        target: a value to mark with a dashed line.
        x_label: what the horizontal axis counts.
        noun: what one grey series is.
    """

    title: str
    highlights: Sequence[Series] = ()
    sites: Sequence[Series] = ()
    target: float | None = None
    x_label: str = "round"
    noun: str = "site"


def draw(chart: Chart, *, width: int = 560, height: int = 300) -> str:
    """The chart as an `<svg>` element that takes its colours from the class `flame` around it."""
    body = _body(chart, width, height)
    return (
        f'<svg class="chart" viewBox="0 0 {width} {height}" role="img" aria-label="{escape(chart.title)}" '
        f'xmlns="http://www.w3.org/2000/svg">{body}</svg>'
    )


def document(charts: Sequence[Chart], *, width: int = 560, height: int = 300) -> str:
    """Charts one below the other as an SVG document that stands alone, in its reader's light or dark."""
    margin = 18
    pitch = height + margin
    wide, tall = width + 2 * margin, max(1, len(charts)) * pitch + margin
    parts = (
        f'<g transform="translate({margin} {margin + at * pitch})">{_body(chart, width, height)}</g>'
        for at, chart in enumerate(charts)
    )
    return (
        f'<svg class="flame" viewBox="0 0 {wide} {tall}" width="{wide}" height="{tall}" '
        f'xmlns="http://www.w3.org/2000/svg"><style>{VARIABLES}{STYLE}</style>'
        f'<rect width="100%" height="100%" fill="var(--page)"/><g class="chart">{"".join(parts)}</g></svg>'
    )


def _body(chart: Chart, width: int, height: int) -> str:
    banded = len(chart.sites) > MAX_LINES
    bands = _quantiles(chart.sites) if banded else []
    shown = [s.points for s in chart.highlights] + ([] if banded else [s.points for s in chart.sites])
    finite = [(x, y) for points in shown for x, y in points if math.isfinite(y)]
    xs = [x for x, _ in finite] + [row[0] for row in bands]
    ys = [y for _, y in finite] + [row[side] for row in bands for side in (1, 5)]
    ys += [y for s in chart.highlights for _, low, high in s.band for y in (low, high) if math.isfinite(y)]
    ys += [chart.target] if chart.target is not None and ys else []
    labels = _labels(chart)
    margin = min(200.0, 12 + max((len(text) for text, _ in labels), default=0) * BOLD)
    scale = Scale(xs, ys, (46, 54, width - max(16.0, margin), height - 38))
    parts = [f'<text class="strong" x="0" y="13" font-size="13">{escape(shorten(chart.title, 60))}</text>']
    parts.append(_legend(chart, labelled=bool(labels)))
    if not xs:
        parts.append(f'<text x="{width / 2}" y="{height / 2}" text-anchor="middle">no finite value to draw</text>')
        return "".join(parts)
    parts.append(_axes(scale, chart.x_label))
    if chart.target is not None:
        y = scale.y(chart.target)
        parts.append(f'<path class="target" d="M{scale.left} {y:.1f}H{scale.right}"/>')
    parts.append(_bands(bands, scale) if banded else _site_lines(chart.sites, scale))
    parts.extend(_highlight(series, at, scale) for at, series in enumerate(chart.highlights))
    parts.append(_end_labels(labels, chart, scale))
    parts.append(_footnote(chart, width, height))
    return "".join(parts)


def _axes(scale: Scale, x_label: str) -> str:
    parts = []
    for value in scale.y_ticks:
        y = scale.y(value)
        parts.append(f'<path class="grid" d="M{scale.left} {y:.1f}H{scale.right:.1f}"/>')
        parts.append(f'<text x="{scale.left - 8}" y="{y + 4:.1f}" text-anchor="end">{_tick(value, scale)}</text>')
    for value in scale.x_ticks:
        x = scale.x(value)
        parts.append(f'<text x="{x:.1f}" y="{scale.bottom + 17}" text-anchor="middle">{value:,.0f}</text>')
    middle = (scale.left + scale.right) / 2
    parts.append(f'<text x="{middle:.1f}" y="{scale.bottom + 33}" text-anchor="middle">{escape(x_label)}</text>')
    return "".join(parts)


def _tick(value: float, scale: Scale) -> str:
    if scale.log:
        return f"{value:g}" if 1e-3 <= value < 1e5 else f"1e{round(math.log10(value))}"
    step = scale.y_ticks[1] - scale.y_ticks[0]
    if abs(value) >= 1e5 or step < 1e-4:
        return f"{value:.3g}".replace("-", MINUS)
    digits = max(0, -math.floor(math.log10(step) + 1e-9))
    if round(step, digits) != round(step, digits + 1):  # a step of 2.5
        digits += 1
    return f"{value + 0.0:,.{digits}f}".replace("-", MINUS)


def _path(points: Iterable[tuple[float, float]], scale: Scale) -> str:
    """The `d` of a line that lifts its pen where a value is not finite; a lone point becomes a dot."""
    out: list[str] = []
    run: list[str] = []
    for x, y in [*points, (0.0, math.nan)]:
        if math.isfinite(y):
            run.append(f"{scale.x(x):.1f} {scale.y(y):.1f}")
        elif run:
            out.append("M" + "L".join(run) + ("h.01" if len(run) == 1 else ""))
            run = []
    return "".join(out)


def _thin(points: Points, limit: int) -> Points:
    """At most about `limit` points, evenly spread, the last one kept."""
    stride = math.ceil(len(points) / max(2, limit))
    if stride <= 1:
        return points
    kept = list(points[::stride])
    return kept if kept[-1] == points[-1] else [*kept, points[-1]]


def _site_lines(sites: Sequence[Series], scale: Scale) -> str:
    limit = max(20, _MAX_POINTS // max(1, len(sites)))
    parts = []
    for series in sites:
        if not (d := _path(_thin(series.points, limit), scale)):
            continue
        width = ' style="stroke-width:5"' if "h" in d else ""
        title = f"<title>{escape(shorten(series.name, 80))}: {number(series.points[-1][1])}</title>"
        parts.append(f'<path class="site" d="{d}"{width}>{title}</path>')
    return "".join(parts)


def _highlight(series: Series, at: int, scale: Scale) -> str:
    hue = f"var(--c{at % COLOURS})"
    dash = "" if at < COLOURS else ' stroke-dasharray="6 4"'
    points = _thin(series.points, 400)
    d = _path(points, scale)
    weight = ' style="stroke-width:6"' if len(points) == 1 else ""
    dots = "".join(
        f'<circle class="dot" cx="{scale.x(x):.1f}" cy="{scale.y(y):.1f}" r="4">'
        f"<title>{escape(shorten(series.name, 80))}, round {x:,.0f}: {number(y)}</title></circle>"
        for x, y in _thin(points, 60)
        if math.isfinite(y)
    )
    area = _area("band", [row for row in series.band if all(map(math.isfinite, row))], 1, 2, scale)
    return f'<g style="--hue:{hue}">{area}<path class="line" stroke="{hue}"{dash}{weight} d="{d}"/>{dots}</g>'


def _quantiles(sites: Sequence[Series]) -> list[tuple[float, ...]]:
    """Rows (round, 5 %, 25 %, 50 %, 75 %, 95 %) over the sites that reported a finite value in that round."""
    by_round: dict[float, list[float]] = {}
    for series in sites:
        for x, y in series.points:
            if math.isfinite(y):
                by_round.setdefault(x, []).append(y)
    rounds = [(x, 0.0) for x in sorted(by_round)]
    return [
        (x, *(float(q) for q in np.quantile(np.asarray(by_round[x]), (0.05, 0.25, 0.5, 0.75, 0.95))))
        for x, _ in _thin(rounds, 300)
    ]


def _bands(rows: list[tuple[float, ...]], scale: Scale) -> str:
    parts = []
    for name, low, high in (("wide", 1, 5), ("narrow", 2, 4)):
        parts.append(_area(name, rows, low, high, scale))
    parts.append(f'<path class="median" d="{_path([(row[0], row[3]) for row in rows], scale)}"/>')
    return "".join(parts)


def _area(name: str, rows: Sequence[tuple[float, ...]], low: int, high: int, scale: Scale) -> str:
    """What lies between two columns of rows that begin with x; one row is a bar, as a line has no area."""
    if not rows:
        return ""
    if len(rows) == 1:
        x, top, bottom = scale.x(rows[0][0]), scale.y(rows[0][high]), scale.y(rows[0][low])
        return f'<rect class="{name}" x="{x - 9:.1f}" y="{top:.1f}" width="18" height="{bottom - top:.1f}"/>'
    there = [f"{scale.x(row[0]):.1f} {scale.y(row[low]):.1f}" for row in rows]
    back = [f"{scale.x(row[0]):.1f} {scale.y(row[high]):.1f}" for row in reversed(rows)]
    return f'<path class="{name}" d="M{"L".join(there + back)}Z"/>'


def _legend(chart: Chart, *, labelled: bool) -> str:
    """What the labels at the ends of lines do not say, in one row under the title."""
    items: list[tuple[str, str]] = []
    if not labelled:
        names = distinct([series.name for series in chart.highlights], 18)[:8]
        items += [
            (f'<path class="line" stroke="var(--c{at % COLOURS})" d="M0 -4h16"/>', name)
            for at, name in enumerate(names)
        ]
    if len(chart.sites) > MAX_LINES:
        mark = '<rect class="wide" y="-9" width="16" height="10"/>'
        mark += '<rect class="narrow" y="-6" width="16" height="4"/>'
        items.append((mark, f"{plural(len(chart.sites), chart.noun)}: middle 50 % and 90 %, median dotted"))
    elif chart.sites:
        items.append(('<path class="site" d="M0 -4h16"/>', plural(len(chart.sites), chart.noun)))
    if chart.target is not None:
        items.append(('<path class="target" d="M0 -4h16"/>', f"target {chart.target:g}"))
    parts, x = [], 0.0
    for mark, text in items:
        parts.append(f'<g transform="translate({x:.0f} 33)">{mark}<text x="21">{escape(text)}</text></g>')
        x += 21 + len(text) * LETTER + 16
    return "".join(parts)


def _labels(chart: Chart) -> list[tuple[str, int]]:
    """Texts for the ends of the highlighted lines, each with its line, or none when they are too many."""
    drawn = [(s, at) for at, s in enumerate(chart.highlights) if any(math.isfinite(y) for _, y in s.points)]
    if len(drawn) > _MAX_LABELS:
        return []
    names = distinct([series.name for series, _ in drawn], 15)
    ends = [number(_last(series.points)[1], 3) for series, _ in drawn]
    return [(f"{name} {end}", at) for name, end, (_, at) in zip(names, ends, drawn, strict=True)]


def _last(points: Points) -> tuple[float, float]:
    return next((x, y) for x, y in reversed(points) if math.isfinite(y))


def _end_labels(labels: list[tuple[str, int]], chart: Chart, scale: Scale) -> str:
    """Labels beside the last points, pushed apart until none overlaps."""
    gap = 15.0
    placed = sorted((scale.y(_last(chart.highlights[at].points)[1]), at, text) for text, at in labels)
    ys: list[float] = []
    for y, _, _ in placed:
        ys.append(max(y, ys[-1] + gap) if ys else y)
    overshoot = ys[-1] - scale.bottom if ys else 0.0
    for at in reversed(range(len(ys))):
        limit = ys[at + 1] - gap if at + 1 < len(ys) else scale.bottom
        ys[at] = min(ys[at], limit) if overshoot > 0 else ys[at]
    parts = []
    for y, (_, line, text) in zip(ys, placed, strict=True):
        hue = f"var(--c{line % COLOURS})"
        x = scale.right + 8 if scale.x_high > scale.x_low else scale.x(scale.x_low) + 12
        parts.append(f'<text x="{x:.1f}" y="{y + 4:.1f}" style="fill:{hue};font-weight:600">{escape(text)}</text>')
    return "".join(parts)


def _footnote(chart: Chart, width: int, height: int) -> str:
    broken = sum(1 for s in (*chart.highlights, *chart.sites) for _, y in s.points if not math.isfinite(y))
    if not broken:
        return ""
    text = f"{plural(broken, 'value')} not finite: not drawn"
    return f'<text x="{width}" y="{height - 5}" text-anchor="end" style="fill:var(--bad)">{text}</text>'
