"""Bagging of boosted trees: everybody grows some on top of the common ones, and the union of all is the next model.

Every trainer boosts the model that it was sent by a round or a few on its own data and sends the new trees alone. The
aggregator appends them, in the order in which the trainers were asked. What the trees of a round say is added up, so
the learning rate of each is usually divided by the number of trainers. An aggregator in between passes on the union of
those below it; nothing is weighted by samples.

T. Chen, C. Guestrin: XGBoost: A Scalable Tree Boosting System. KDD 2016. https://arxiv.org/abs/1603.02754
L. Breiman: Bagging Predictors. Machine Learning 24, 1996. https://doi.org/10.1007/BF00058655
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from flame.common.settings import refuse_others
from flame.errors import WeightsError
from flame.optimizer import Perturb, Step
from flame.optimizer.halves import BySamples, Plain, Silent
from flame.weights import forest
from flame.weights.layout import Allocate, Weights, plain_memory
from flame.weights.target import Target


class XgbBagging(BySamples):
    """Bagging of boosted trees; it has no settings and no state."""

    name = "xgb_bagging"

    def __init__(self, **others: Any) -> None:
        refuse_others("optimizer", self.name, others)
        self.step = Plain()
        self.regularizer = Silent()
        self.fold = Union


class Union:
    """Collects the trees of a round; see `flame.optimizer.Fold`."""

    def __init__(self) -> None:
        self._updates: list[Weights] = []

    @property
    def held(self) -> int:
        """How many updates are kept by reference."""
        return sum(update.source is not None for update in self._updates)

    @property
    def folded(self) -> int:
        """How many updates went in."""
        return len(self._updates)

    @property
    def total(self) -> float:
        """As many: all count alike."""
        return float(self.folded)

    def add(self, update: Weights, samples: float, reader: Any = None, weighs: Any = None, answer: Any = None) -> None:
        """Take the trees of one more; how many samples are behind them does not matter."""
        self._updates.append(update)

    def settle(self) -> None:
        """Copy what lies elsewhere. Raises PeerLost if it lay with a peer that has gone; nothing has changed."""
        self._updates = [
            forest.packed(*forest.unpacked(update)) if update.source is not None else update for update in self._updates
        ]

    def drop(self, update: Weights) -> None:
        """An update does not count after all."""
        self._updates = [kept for kept in self._updates if kept is not update]

    def mean(self, allocate: Allocate = plain_memory) -> Weights:
        """The trees of all updates, for whoever is above."""
        return forest.union(self._updates, allocate)

    def finish(
        self,
        base: Weights,
        step: Step,
        allocate: Allocate = plain_memory,
        *,
        averaged: Collection[str] = (),
        perturb: Perturb | None = None,
    ) -> Weights:
        """The trees of `base`, and those of all updates."""
        return forest.union([base, *self._updates], allocate)

    def finish_into(
        self,
        target: Target,
        base: Weights,
        step: Step,
        *,
        averaged: Collection[str] = (),
        perturb: Perturb | None = None,
    ) -> None:
        """Raises WeightsError: only models whose size stays can be written in place."""
        raise WeightsError("optimizer xgb_bagging collects boosted trees: `self.model` has to be an xgboost.Booster")
