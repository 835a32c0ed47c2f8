"""FedAvgM: the server steps along a moving sum of the mean updates.

T.-M. H. Hsu, H. Qi, M. Brown: Measuring the Effects of Non-Identical Data Distribution for Federated Visual
Classification. 2019. https://arxiv.org/abs/1909.06335

    v = momentum*v + mean        x = x + v        from v = 0
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from flame.common.settings import check_number, refuse_others
from flame.optimizer.asked import Asked
from flame.optimizer.halves import BySamples, Floats, Mute, Silent
from flame.optimizer.kept import Kept
from flame.weights.layout import Layout


class Momentum(Mute):
    """The server half: v for every floating-point element, in float64."""

    repeatable = False

    def __init__(self, momentum: float) -> None:
        self._momentum, self._kept = momentum, Kept("v")

    def open(self, layout: Layout) -> None:
        """Make v for a layout; later rounds must have as many elements. Raises ConfigError."""
        self._kept.open(layout)

    def block(self, segment: int, where: slice, base: Floats, mean: Floats) -> Floats:
        """Base plus the next v."""
        v = self._kept.part("v", segment, where)
        np.add(np.multiply(v, self._momentum, out=v), mean, out=v)
        return np.add(base, v, out=base)

    def close(self) -> None:
        """Needs nothing."""

    def state(self) -> dict[str, Floats]:
        """v, over all floating-point elements; {} before the first round."""
        return self._kept.state()

    def restore(self, state: Mapping[str, Floats]) -> None:
        """Go on from v, which is copied. Raises ConfigError for another state."""
        self._kept.restore(state)


class FedAvgM(BySamples, Asked):
    """FedAvg with momentum at the server; `momentum` lies in [0, 1), and 0 makes it FedAvg."""

    name = "fedavgm"

    def __init__(self, momentum: Any = 0.9, **others: Any) -> None:
        refuse_others("optimizer", self.name, others, ("momentum",))
        check_number("optimizer", "momentum", momentum, least=0, below=1)
        self.step = Momentum(momentum)
        self.regularizer = Silent()
