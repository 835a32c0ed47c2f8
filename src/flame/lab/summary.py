"""What a run's numbers come to: its headline, its best round, the charts that tell its story."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from flame.lab.curves import Chart, Series
from flame.lab.history import Curve, History, mean

_FALLS = re.compile(r"loss|err(or)?\b|mse|mae|perplexity|nll|divergence|distance", re.IGNORECASE)
_JUDGES = re.compile(r"acc|auc|f1|dice|iou|score|r2\b", re.IGNORECASE)
_UNSEEN = re.compile(r"test|val|eval", re.IGNORECASE)
_PLUMBING = re.compile(r"\.(runtime|starttime|bytes)$|^simulated_s$")

SPENT = "epsilon"
"""The privacy that has been spent: reported, but a run is not known by it."""
_MAX_HIGHLIGHTS = 6
_FEW_SITES = 4  # this many sites are told apart by colour


@dataclass(frozen=True, slots=True)
class Headline:
    """The number by which a run is known.

    Attributes:
        name: the metric.
        final: its value in the last round; NaN when that was not finite.
        best: its best finite value, and `round`, where that was; None when no value was finite.
    """

    name: str
    final: float
    best: float | None
    round: int


def falls(name: str) -> bool:
    """Whether a metric is better when it is smaller, judged by its name: losses, errors and distances are."""
    return _FALLS.search(name) is not None


def charted(history: History) -> list[str]:
    """The metrics worth a chart: all but the counters of time and bytes that every tasklet keeps."""
    return [name for name in history.names if not _PLUMBING.search(name)]


def global_curve(history: History, curves: Mapping[str, Curve]) -> Curve:
    """One curve for a metric: that of the role farthest from the data, else the mean of the sites.

    Several workers of that role (parallel experiments) are averaged. `curves` are one metric's, by worker.
    """
    roles = history.role_of
    for role in history.upper:
        if found := [curve for worker, curve in curves.items() if roles[worker] == role]:
            return found[0] if len(found) == 1 else mean(found)
    found = list(curves.values())
    return found[0] if len(found) == 1 else mean(found)


def by_experiment(history: History, name: str) -> dict[str, Curve]:
    """The global curve of a metric for each federation of a run that has several; {} where there is but one."""
    curves = history.by_metric.get(name, {})
    parts = {
        label: {worker: curve for worker, curve in curves.items() if worker in workers}
        for label, workers in history.experiments.items()
    }
    return {label: global_curve(history, part) for label, part in parts.items() if part}


def best(curve: Curve, name: str) -> tuple[int, float] | None:
    """The first round with the best finite value of a curve, and that value."""
    finite = [(at, value) for at, value in curve if math.isfinite(value)]
    if not finite:
        return None
    return min(finite, key=lambda p: p[1]) if falls(name) else max(finite, key=lambda p: p[1])


def rounds_to(curve: Curve, name: str, target: float) -> int | None:
    """The first round in which a curve is at least as good as the target, or None when it never is."""
    return next((at for at, v in curve if (v <= target if falls(name) else v >= target)), None)


def headline(history: History) -> Headline | None:
    """The run's main metric: of the upper roles if they have any, a score before a loss, on unseen data."""
    names = charted(history)
    by_metric, roles = history.by_metric, history.role_of
    measured = [name for name in names if name != SPENT] or names
    upper = [name for name in measured if any(roles[worker] not in history.sites for worker in by_metric[name])]
    names = upper or measured
    if not names:
        return None
    name = min(names, key=lambda n: (not _JUDGES.search(n), not _UNSEEN.search(n), names.index(n)))
    curve = global_curve(history, by_metric[name])
    top = best(curve, name)
    return Headline(name, curve[-1][1], top[1] if top else None, top[0] if top else 0)


def chart(history: History, name: str, curves: Mapping[str, Curve]) -> Chart:
    """One metric's chart: the upper roles in colour over the sites in grey.

    Where no upper role measured it, a handful of sites take the colours; more become grey under their mean.
    """
    roles = history.role_of
    if experiments := by_experiment(history, name):
        bold = [Series(label, curve) for label, curve in experiments.items()]
        if len(bold) <= _MAX_HIGHLIGHTS:
            return Chart(name, bold, [Series(w, curves[w]) for w in curves if roles[w] in history.sites])
    ranked = [w for role in history.upper for w in curves if roles[w] == role]
    sites = [worker for worker in curves if roles[worker] in history.sites]
    bold = [Series(_alone(worker, ranked, roles), curves[worker]) for worker in ranked]
    quiet: Sequence[str] = sites
    if len(bold) > _MAX_HIGHLIGHTS:
        top = [worker for worker in ranked if roles[worker] == roles[ranked[0]]]
        bold = [Series(worker, curves[worker]) for worker in top] if len(top) <= _MAX_HIGHLIGHTS else []
        quiet = [worker for worker in (*ranked, *sites) if not bold or worker not in top]
    if not bold and len(quiet) <= _FEW_SITES:
        bold, quiet = [Series(worker, curves[worker]) for worker in quiet], ()
    elif not bold:
        bold = [Series("mean", mean(curves[worker] for worker in quiet))]
    noun = "site" if all(roles[worker] in history.sites for worker in quiet) else "worker"
    return Chart(name, bold, [Series(worker, curves[worker]) for worker in quiet], noun=noun)


def charts(history: History, names: Sequence[str] | None = None) -> list[Chart]:
    """One chart per metric, the headline's first, then the others in their order."""
    by_metric = history.by_metric
    if names is None:
        first = headline(history)
        names = sorted(charted(history), key=lambda name: first is None or name != first.name)
    return [chart(history, name, by_metric[name]) for name in names]


def _alone(worker: str, workers: Sequence[str], roles: Mapping[str, str]) -> str:
    """A worker's name, or its role's where it is the only one drawn of it."""
    role = roles[worker]
    return role if sum(1 for other in workers if roles[other] == role) == 1 else worker
