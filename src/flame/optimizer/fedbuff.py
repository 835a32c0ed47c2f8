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
from flame.common.typing import ModelWeights
from flame.optimizer import Said
from flame.optimizer.asked import added
from flame.optimizer.halves import Plain, Silent
from flame.optimizer.train_result import TrainResult


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

    def do(
        self,
        base_weights: ModelWeights | None,
        cache: dict[str, TrainResult],
        *,
        total: int = 0,
        version: int = 0,
        **kwargs: Any,
    ) -> ModelWeights | None:
        """Updates, each counting for less the later it is, for a program's own `do`; see `flame.optimizer.asked`.

        Args:
            base_weights: the sum so far, None if there is none yet; in synchronous rounds the model that was sent out.
            cache: the updates by their senders; it is emptied, unless there are no samples.
            total: how many samples are behind them; without any, nothing is added.
            version: the aggregator's round.
            kwargs: `num_trainers` is there in synchronous rounds, and there alone.

        Returns:
            The sum; in synchronous rounds the next model, which is the last one plus the mean.
        """
        share = 1 / max(1, len(cache)) if "num_trainers" in kwargs else 1.0
        for end in list(cache if total else ()):
            result = cache.pop(end)
            if result.weights is not None:
                weight, _ = self.weigh(result.count, version - result.version, {})
                base_weights = added(base_weights, result.weights, weight * share)
        return base_weights

    def scale_add_agg_weights(self, base_weights: Any, agg_weights: Any, agg_goal: int) -> Any:
        """The next model: the last one plus the sum over `agg_goal` updates, divided by as many."""
        return added(base_weights, agg_weights, 1 / agg_goal)
