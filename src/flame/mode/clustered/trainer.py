"""The role that trains whichever of several models fits its data best (IFCA).

A. Ghosh, J. Chung, D. Yin, K. Ramchandran: An Efficient Framework for Clustered Federated Learning. NeurIPS 2020.
https://arxiv.org/abs/2006.04088
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from random import Random
from typing import Any

from flame.config import Config
from flame.config import Gate as ConfiguredGate
from flame.config import Selector as ConfiguredSelector
from flame.engine.choosing import Choosing
from flame.engine.parts import patience_of
from flame.errors import RecipeError, RunError
from flame.mode import training
from flame.mode.training import TAG_FETCH, TAG_UPLOAD
from flame.wire.message import Order

__all__ = ["TAG_FETCH", "TAG_UPLOAD", "Trainer"]


class Trainer(training.Trainer):
    """A worker below several aggregators, each of which leads one model.

    In every round it is sent all of them, trains the one whose `loss` is least, and answers its aggregator alone. In
    the first round it takes any: whichever of untrained models has the least loss would have it for everybody, be
    trained by everybody, and stay the best of them. The metric `cluster` says which it was, counted from 0.
    """

    @abstractmethod
    def loss(self) -> float:
        """How badly `self.model` fits this worker's own samples; smaller is better."""

    def internal_init(self) -> None:
        """Join the channels and make what the config asks for."""
        super().internal_init()
        self._choosing = Choosing(patience_of(self.config))
        self._following = self._choosing
        self._first = True

    @classmethod
    def check_config(cls, config: Config) -> None:
        """Refuse settings by which some aggregators would not ask this worker, which waits for all of them.

        Raises:
            RecipeError: the selector or the gate is such a one.
        """
        super().check_config(config)
        if str(config.privacy.sort) != "default":
            raise RecipeError("privacy.sort: which model a trainer chooses tells of its data, and would go unprotected")
        if config.selector != ConfiguredSelector():
            raise RecipeError("selector.sort: in a clustered federation every aggregator asks everybody: default")
        if config.gate.sort != ConfiguredGate().sort:
            raise RecipeError("gate.sort: in a clustered federation every aggregator waits for everybody: everyone")

    def _state(self) -> dict[str, Any]:
        return {**super()._state(), "choosing": self._choosing.state(), "first": self._first}

    def _restore(self, state: Mapping[str, Any]) -> None:
        super()._restore(state)
        self._choosing.restore(state["choosing"])
        self._first = state["first"]

    def _fetch_weights(self, tag: str) -> None:
        orders = self._choosing.fetch_each(self._channel(tag))
        self.fetch_success = True
        self._work_done = not orders
        if not orders:
            return
        best = self._any(list(orders)) if self._first else self._best(orders)
        self._first = False
        self._take(self._choosing.choose(best))
        self.update_metrics({"cluster": self._choosing.leaders.index(best)})

    def _best(self, orders: Mapping[str, Order]) -> str:
        """Whose model has the least loss; of several the first."""
        losses = {}
        for end, order in orders.items():
            if order.weights is not None:
                self._held.adapter(self.model).load(order.weights)
            losses[end] = float(self.loss())
        best = min(losses, key=lambda end: math.inf if math.isnan(losses[end]) else losses[end])
        if math.isnan(losses[best]):
            raise RunError(f"the loss of every one of {len(losses)} models is NaN on {self.config.name}")
        return best

    def _any(self, ends: Sequence[str]) -> str:
        """Anybody, with the same chance."""
        seed = self._surroundings.seed
        owner = self.config.name or self.config.task_id
        return Random(None if seed is None else f"{seed}/{owner}/cluster").choice(ends)
