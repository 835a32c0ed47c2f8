"""FedBuff: buffered asynchronous aggregation; an update counts for less the older the model is that it began from.

An aggregator takes updates as they come, and once it has `aggGoal` of them adds their mean to the model, each
multiplied by 1 / sqrt(1 + s), where s is how many steps the model has made since it was sent out. Samples do not count.

J. Nguyen, K. Malik, H. Zhan, A. Yousefpour, M. Rabbat, M. Malek, D. Huba: Federated Learning with Buffered Asynchronous
Aggregation. AISTATS 2022. https://arxiv.org/abs/2106.06639
"""

from __future__ import annotations

import math
from typing import Any

from flame.common.settings import refuse_others
from flame.optimizer import Said
from flame.optimizer.halves import Plain, Silent


class FedBuff:
    """FedBuff; it has no settings: how many updates make a step is `hyperparameters.aggGoal`."""

    name = "fedbuff"
    synchronous = False

    def __init__(self, **others: Any) -> None:
        refuse_others("optimizer", self.name, others)
        self.step = Plain()
        self.regularizer = Silent()

    def weigh(self, samples: int, staleness: int, said: Said) -> tuple[float, float]:
        """1 / sqrt(1 + staleness), of a mean over updates."""
        return 1 / math.sqrt(1 + staleness), 1.0
