"""Where the time of a run went, as SVG: who did what when, and what a round is made of."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping, Sequence

from flame.lab import theme
from flame.lab.axes import ticks
from flame.lab.history import History, RoundRow, Span, Total
from flame.lab.theme import BOLD, LETTER, escape, plural, shorten

STYLE = """\
.bars rect:hover{opacity:.75}.bars .lane{fill:var(--card)}
"""

_KNOWN = {"train": 0, "aggregate": 1, "upload": 2, "evaluate": 3, "distribute": 6}
"""Tasklets that nearly every role has keep their colour from report to report."""

_WAITS = ("fetch",)  # mostly spent on waiting: drawn in grey
_OTHER = "var(--mute)"  # for tasklets beyond the palette
_MAX_ROWS, _MAX_BARS, _MAX_ROUNDS = 14, 2500, 3
_WIDTH, _LEFT, _ROW = 1120.0, 178.0, 22.0
_GAP = 5.0  # between a line and its label


def hues(totals: Sequence[Total], spans: Sequence[Span]) -> dict[str, str]:
    """A colour for every tasklet, the costly ones first; those beyond the palette share the faintest grey."""
    cost: dict[str, float] = {}
    for total in totals:
        cost[total.alias] = cost.get(total.alias, 0.0) + total.seconds
    known = frozenset(cost)
    for span in spans:
        if span.alias not in known:
            cost[span.alias] = cost.get(span.alias, 0.0) + span.seconds
    free = iter([at for at in (4, 5, 7, *_KNOWN.values()) if at not in {_KNOWN[a] for a in _KNOWN if a in cost}])
    found: dict[str, str] = {}
    for alias in sorted(cost, key=lambda alias: -cost[alias]):
        at = -1 if alias in _WAITS else _KNOWN[alias] if alias in _KNOWN else next(free, -2)
        found[alias] = f"var(--c{at})" if at >= 0 else "var(--site)" if at == -1 else _OTHER
    return found


def legend(aliases: Collection[str], colours: Mapping[str, str]) -> str:
    """The tasklets with their colours, the costly ones first, as a row of HTML."""
    items = [(colours[alias], alias) for alias in colours if alias in aliases and colours[alias] != _OTHER]
    if any(colours.get(alias, _OTHER) == _OTHER for alias in aliases):
        items.append((_OTHER, "other"))
    spans = (f'<span><i style="background:{hue}"></i>{escape(shorten(name, 30))}</span>' for hue, name in items)
    return f'<p class="legend">{"".join(spans)}</p>'


def starts(run: History) -> dict[int, float]:
    """When each round began: as the top aggregator saw it, else when a worker first did something in it."""
    found: dict[int, float] = {}
    rows: Sequence[RoundRow | Span] = run.top_rounds or run.spans
    for row in rows:
        if row.round > 0:
            found[row.round] = min(found.get(row.round, math.inf), row.start)
    return dict(sorted(found.items()))


def lanes(spans: Sequence[Span], roles: Sequence[str], rounds: Sequence[int]) -> tuple[list[str], list[Span]]:
    """The workers that a drawing has room for, by role and host, and their spans in the first rounds."""
    members: dict[str, dict[str, None]] = {role: {} for role in roles}
    last = max(rounds[:_MAX_ROUNDS], default=0)
    spans = [span for span in spans if span.round <= last]
    for span in spans:
        members.setdefault(span.role, {})[span.worker] = None
    host = {span.worker: span.host for span in spans}
    present = {role: list(workers) for role, workers in members.items() if workers}
    share = max(2, _MAX_ROWS // max(1, len(present)))
    spare = _MAX_ROWS - sum(min(share, len(workers)) for workers in present.values())
    rows: list[str] = []
    for workers in present.values():
        take = min(len(workers), share + max(0, spare))
        spare -= max(0, take - share)
        some = (workers[at * len(workers) // take] for at in range(take))
        rows += sorted(some, key=lambda name: (_natural(host[name]), _natural(name)))
    rows, keep = rows[:_MAX_ROWS], set(rows[:_MAX_ROWS])
    chosen = sorted((s for s in spans if s.worker in keep), key=lambda s: s.start)
    return rows, chosen[:_MAX_BARS]


def _natural(name: str) -> list[tuple[int, str]]:
    """A key that puts `trainer/2` before `trainer/10`."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", name)]


def gantt(rows: Sequence[str], spans: Sequence[Span], colours: Mapping[str, str], starts: Mapping[int, float]) -> str:
    """One lane per worker, one bar per tasklet; lines where rounds begin, if there are `starts` of any."""
    begin = min(span.start for span in spans)
    end = max(span.start + span.seconds for span in spans)
    marks = [mark for mark in ticks(begin, max(end, begin + 1e-6), 8) if begin <= mark <= end]
    across = (_WIDTH - _LEFT - 10) / max(end - begin, 1e-6)
    height = 24 + _ROW * len(rows) + 30
    host = {span.worker: span.host for span in spans}
    parts = [_lane(at, name, host.get(name, "")) for at, name in enumerate(rows)]
    parts += [_host(at, host.get(name, "")) for at, name in enumerate(rows) if _turns(rows, at, host)]
    for mark in marks:
        x = _LEFT + (mark - begin) * across
        text = _mark(mark, marks)
        middle = min(x, _WIDTH - len(text) * LETTER / 2)
        parts.append(f'<path class="grid" d="M{x:.1f} 20V{height - 28:.1f}"/>')
        parts.append(f'<text x="{middle:.1f}" y="{height - 12:.1f}" text-anchor="middle">{text}</text>')
    begun = {number: _LEFT + (max(start, begin) - begin) * across for number, start in starts.items() if start < end}
    parts += _begins(begun, height)
    top = {name: 26 + _ROW * at for at, name in enumerate(rows)}
    # Short bars last, so that long ones do not hide them.
    for span in sorted(spans, key=lambda s: -s.seconds):
        x, wide = _LEFT + (span.start - begin) * across, max(1.0, span.seconds * across)
        when = f", round {span.round}" if starts and span.round else ""
        title = f"{span.worker}{when}: {span.alias}, {theme.seconds(span.seconds)}"
        parts.append(
            f'<rect x="{x:.1f}" y="{top[span.worker]:.1f}" width="{wide:.1f}" height="14" rx="1.5" '
            f'fill="{colours.get(span.alias, _OTHER)}"><title>{escape(title)}</title></rect>'
        )
    return _svg("Timeline of the first rounds", _WIDTH, height, "".join(parts))


def _mark(value: float, marks: Sequence[float]) -> str:
    """One mark of an axis of seconds, all of them in one unit."""
    if marks[-1] >= 600:
        return f"{value / 60:.3g} min"
    return f"{value:.5g} s" if marks[-1] >= 1 else f"{value * 1000:.5g} ms"


def _turns(rows: Sequence[str], at: int, host: Mapping[str, str]) -> bool:
    """Whether the workers of another host begin in this row, where there are several hosts."""
    known = [host.get(name, "") for name in rows]
    return len(set(known)) > 1 and (at == 0 or known[at] != known[at - 1])


def _host(at: int, host: str) -> str:
    name = f"host {host}" if host.isdecimal() else host
    return f'<text x="0" y="{37 + _ROW * at:.1f}">{escape(shorten(name, 9))}</text>'


def _lane(at: int, name: str, host: str) -> str:
    y = 26 + _ROW * at
    return (
        f'<rect class="lane" x="{_LEFT}" y="{y:.1f}" width="{_WIDTH - _LEFT - 10}" height="14" rx="1.5"/>'
        f'<text x="{_LEFT - 12}" y="{y + 11:.1f}" text-anchor="end">{escape(shorten(name, 17))}'
        f"<title>{escape(name)} on host {escape(host)}</title></text>"
    )


def _begins(begun: Mapping[int, float], height: float) -> list[str]:
    """A line where each round begins, with its label to the right where that has room before the next line."""
    parts = [f'<path class="target" d="M{x:.1f} 6V{height - 28:.1f}"/>' for x in begun.values()]
    after = [*begun.values(), _WIDTH][1:]
    for (number, x), limit in zip(begun.items(), after, strict=True):
        text = f"round {number}"
        if x + _GAP + len(text) * BOLD <= limit:
            parts.append(f'<text class="strong" x="{x + _GAP:.1f}" y="14">{text}</text>')
    return parts


def stack(role: str, spans: Sequence[Span], colours: Mapping[str, str]) -> str:
    """Per round, the mean seconds that a worker of a role spent in each tasklet, stacked."""
    by_round: dict[int, dict[str, float]] = {}
    workers: dict[int, set[str]] = {}
    for span in (span for span in spans if span.round > 0):
        cell = by_round.setdefault(span.round, {})
        cell[span.alias] = cell.get(span.alias, 0.0) + span.seconds
        workers.setdefault(span.round, set()).add(span.worker)
    rounds = sorted(by_round)
    bins = [rounds[at : at + math.ceil(len(rounds) / 60)] for at in range(0, len(rounds), math.ceil(len(rounds) / 60))]
    order = sorted(colours, key=lambda alias: (alias in _WAITS, list(colours).index(alias)))
    columns = []
    for group in bins:
        people = sum(len(workers[r]) for r in group)
        columns.append({a: sum(by_round[r].get(a, 0.0) for r in group) / people for a in order})
    top = ticks(0.0, max(sum(column.values()) for column in columns) or 1e-6, 4)
    width, height, left, base = 560.0, 230.0, 52.0, 192.0
    rise, pitch = (base - 34) / top[-1], (width - left - 8) / len(bins)
    parts = [f'<text class="strong" x="0" y="13" font-size="13">{escape(shorten(role, 40))}</text>']
    for value in top:
        y = base - value * rise
        label = _mark(value, top) if value else "0"
        parts.append(f'<path class="grid" d="M{left} {y:.1f}H{width - 8}"/>')
        parts.append(f'<text x="{left - 8}" y="{y + 4:.1f}" text-anchor="end">{label}</text>')
    parts += [_column(c, left + at * pitch, pitch, (base, rise), colours, bins[at]) for at, c in enumerate(columns)]
    for at in range(0, len(bins), math.ceil(len(bins) / 10)):
        x = left + (at + 0.5) * pitch
        parts.append(f'<text x="{x:.1f}" y="{base + 17}" text-anchor="middle">{bins[at][0]}</text>')
    parts.append(f'<text x="{(left + width) / 2}" y="{base + 33}" text-anchor="middle">round</text>')
    return _svg(f"Seconds per round of {role}", width, height, "".join(parts))


def _column(
    column: Mapping[str, float],
    x: float,
    pitch: float,
    plane: tuple[float, float],
    colours: Mapping[str, str],
    rounds: Sequence[int],
) -> str:
    """One stacked bar; `plane` is its base line and its rise per second."""
    y, rise = plane
    wide = min(36.0, pitch * 0.72)
    which = f"round {rounds[0]}" if len(rounds) == 1 else f"rounds {rounds[0]} to {rounds[-1]}"
    parts = []
    for alias, value in column.items():
        tall = value * rise
        y -= tall
        if tall >= 0.15:
            title = escape(f"{alias}, {which}: {theme.seconds(value)}")
            parts.append(
                f'<rect x="{x + (pitch - wide) / 2:.1f}" y="{y:.1f}" width="{wide:.1f}" height="{tall:.1f}" '
                f'fill="{colours[alias]}"><title>{title}</title></rect>'
            )
    return "".join(parts)


def caption(rows: Sequence[str], spans: Sequence[Span], workers: int, *, rounds: bool = True) -> str:
    """What the drawing shows, when it does not show everything; without `rounds`, nothing is said of them."""
    count = len({span.round for span in spans if span.round > 0})
    some = f"{len(rows)} of {workers:,} workers" if workers > len(rows) else plural(len(rows), "worker")
    if not rounds or not count:
        return f"{some[0].upper()}{some[1:]}; a bar is one tasklet."
    return f"The first {plural(count, 'round') if count > 1 else 'round'}, {some}; a bar is one tasklet."


def _svg(title: str, width: float, height: float, body: str) -> str:
    return (
        f'<svg class="chart bars" viewBox="0 0 {width:.0f} {height:.0f}" role="img" '
        f'aria-label="{escape(title)}" xmlns="http://www.w3.org/2000/svg">{body}</svg>'
    )
