"""The axes of charts: round numbers to mark, and where on the plane a value lies."""

from __future__ import annotations

import math
from collections.abc import Sequence


def ticks(low: float, high: float, count: int = 5) -> list[float]:
    """About `count` round numbers that reach from `low` or below to `high` or above (Heckbert, 1990)."""
    if not high - low > 1e-9 * max(abs(low), abs(high)):  # equal, but for rounding
        pad = abs(low) * 0.1 or 0.5
        low, high = low - pad, high + pad
    rough = (high - low) / max(1, count - 1)
    scale = 10.0 ** math.floor(math.log10(rough))
    step = scale * next(m for m in (1, 2, 2.5, 5, 10) if rough <= m * scale * (1 + 1e-9))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [at * step for at in range(first, last + 1)]


class Scale:
    """Maps rounds and values to the plane of a chart; values go by their logarithm when they span decades."""

    def __init__(self, xs: Sequence[float], ys: Sequence[float], box: tuple[float, float, float, float]) -> None:
        self.left, self.top, self.right, self.bottom = box
        # Ends of the float range would overflow in a step or vanish in a logarithm.
        low, high = (max(min(ys), -1e300), min(max(ys), 1e300)) if ys else (0.0, 1.0)
        low = low if abs(low) > 1e-300 else 0.0
        self.log = low > 0 and high / low > 3e3
        if self.log:
            exponents = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
            self.y_ticks = [10.0**e for e in list(exponents)[:: max(1, len(exponents) // 5)]]
            low, high = 10.0 ** exponents[0], 10.0 ** exponents[-1]
        else:
            self.y_ticks = ticks(low, high)
            low, high = self.y_ticks[0], self.y_ticks[-1]
        self._low, self._high = self._bend(low), self._bend(high)
        self.x_low, self.x_high = (min(xs), max(xs)) if xs else (0.0, 1.0)
        room = max(1, min(6, int((self.right - self.left) / 55)))
        self.x_ticks = [x for x in self._whole(room) if self.x_low <= x <= self.x_high]

    def _whole(self, count: int) -> list[float]:
        if self.x_high == self.x_low:
            return [self.x_low]
        step = ticks(0, self.x_high - self.x_low, count)
        gap = max(1.0, math.ceil(step[1] - step[0]))
        if gap <= 2:
            return [self.x_low + gap * at for at in range(int((self.x_high - self.x_low) / gap) + 1)]
        inner = [gap * at for at in range(math.ceil(self.x_low / gap), math.floor(self.x_high / gap) + 1)]
        return [self.x_low, *(x for x in inner if x - self.x_low > 0.6 * gap)]

    def _bend(self, y: float) -> float:
        return math.log10(y) if self.log else y

    def x(self, value: float) -> float:
        """Where a round lies, from the left."""
        span = self.x_high - self.x_low
        return self.left + (self.right - self.left) * ((value - self.x_low) / span if span else 0.5)

    def y(self, value: float) -> float:
        """Where a value lies, from the top."""
        span = (self._high - self._low) or 1.0
        share = (self._bend(value) - self._low) / span
        return self.bottom - (self.bottom - self.top) * min(1.0, max(0.0, share))
