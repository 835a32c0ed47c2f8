"""What several seeds say: means with their intervals, and differences seed by seed.

A run that has not reached the target by the horizon counts with the horizon. So a mean of times is the mean of
min(time, horizon), which is known for every run, and no run is left out because it was slow.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from scipy.stats import t as student

CONFIDENCE = 0.95
LAST = 5
"""An accuracy that is called steady, and that at the end, is the mean over so many rounds: one round's is noisy."""

Curve = Sequence[tuple[float, float]]


class Interval(NamedTuple):
    """A mean, and the bounds of its 95 % interval; infinite ones if there is but one value."""

    mean: float
    low: float
    high: float


def interval(values: Sequence[float]) -> Interval:
    """Student's interval for the mean of independent values.

    Raises:
        ValueError: there are none.
    """
    if not values:
        raise ValueError("no values")
    count, mean = len(values), sum(values) / len(values)
    if count == 1:
        return Interval(mean, -math.inf, math.inf)
    variance = sum((value - mean) ** 2 for value in values) / (count - 1)
    half = float(student.ppf((1 + CONFIDENCE) / 2, count - 1)) * math.sqrt(variance / count)
    return Interval(mean, mean - half, mean + half)


def difference(values: Sequence[float], baseline: Sequence[float]) -> Interval:
    """The mean of value minus baseline; both are in the order of the same seeds."""
    return interval([value - base for value, base in zip(values, baseline, strict=True)])


def ratio(values: Sequence[float], baseline: Sequence[float]) -> Interval:
    """The geometric mean of value / baseline, of positive numbers in the order of the same seeds."""
    logs = [math.log(value / base) for value, base in zip(values, baseline, strict=True)]
    return Interval(*(math.exp(bound) for bound in interval(logs)))


def reached(curve: Curve, target: float, horizon: float) -> float | None:
    """When a curve is at the target for the first time; None if it is not by the horizon.

    Raises:
        ValueError: the curve ends before the horizon without having been at the target: nobody knows.
    """
    at = next((x for x, value in curve if value >= target), None)
    if at is None and curve[-1][0] < horizon:
        raise ValueError(f"the run ended at {curve[-1][0]:g}, before the horizon {horizon:g}: give it more rounds")
    return at if at is not None and at <= horizon else None


def smoothed(curve: Curve) -> Curve:
    """At each point the mean of its value and of those before it, of `LAST` in all, or of as many as there are."""
    values = [value for _, value in curve]
    last = (values[max(0, at - LAST) : at] for at in range(1, len(values) + 1))
    return [(x, sum(few) / len(few)) for (x, _), few in zip(curve, last, strict=True)]


def at_end(curve: Curve, horizon: float) -> float:
    """The steady value of a curve by the horizon.

    Raises:
        ValueError: it has none.
    """
    values = [value for x, value in smoothed(curve) if x <= horizon]
    if not values:
        raise ValueError(f"no round is over by the horizon {horizon:g}")
    return values[-1]


def level(curve: Curve, x: float) -> float:
    """What a curve is at, between its points what it was last; NaN before the first."""
    return next((value for at, value in reversed(curve) if at <= x), math.nan)
