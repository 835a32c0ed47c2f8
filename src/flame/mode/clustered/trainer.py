"""The role that trains whichever of several models fits its data best (IFCA).

A. Ghosh, J. Chung, D. Yin, K. Ramchandran: An Efficient Framework for Clustered Federated Learning. NeurIPS 2020.
https://arxiv.org/abs/2006.04088
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from random import Random
from typing import Any

from flame.config import Config
from flame.config import Gate as ConfiguredGate
from flame.config import Selector as ConfiguredSelector
from flame.engine.choosing import Choosing, Models
from flame.engine.parts import patience_of
from flame.errors import RecipeError, RunError
from flame.mode import training
from flame.mode.tasklet import Tasklet
from flame.mode.training import TAG_CHOOSE, TAG_FETCH, TAG_UPLOAD

__all__ = ["TAG_CHOOSE", "TAG_FETCH", "TAG_UPLOAD", "FromStar", "Trainer"]


class Trainer(training.Trainer):
    """A worker below several aggregators, each of which leads one model.

    In every round it is sent all of them, trains the one whose `loss` is least, and answers its aggregator alone. In
    the first round it takes any: whichever of untrained models has the least loss would have it for everybody, be
    trained by everybody, and stay the best of them. The metric `cluster` says which it was, counted from 0.

    A program that is started by itself waits for as many aggregators as `hyperparameters.clusters` says. One that has
    ended leaves its last model: as long as that is the best, the others are told that there is nothing for them.
    """

    def loss(self) -> float:
        """How badly `self.model` fits this worker's own samples; smaller is better.

        Unless a program says otherwise, it is the metric `loss` that `evaluate` reports with `update_metrics`, or the
        one that `hyperparameters.chooseBy` names.

        Raises:
            RecipeError: there is no such metric.
        """
        return self._evaluated()

    @classmethod
    def get_func_tags(cls) -> list[str]:
        """`choose`, `fetch`, `upload`, and the class's own."""
        return [TAG_CHOOSE, *super().get_func_tags()]

    @classmethod
    def waits_first(cls) -> bool:
        """It begins with orders, unless the program composes otherwise."""
        return cls.compose is Trainer.compose

    def internal_init(self) -> None:
        """Join the channels and make what the config asks for."""
        super().internal_init()
        self._choosing = Choosing(patience_of(self.config), self._promised())
        self._following = self._choosing
        self._models: Models = {}

    @classmethod
    def check_config(cls, config: Config) -> None:
        """Refuse settings by which some aggregators would not ask this worker, which waits for all of them.

        Raises:
            RecipeError: the selector or the gate is such a one, or a hyperparameter is not what it should be.
        """
        super().check_config(config)
        if str(config.privacy.sort) != "default":
            raise RecipeError("privacy.sort: which model a trainer chooses tells of its data, and would go unprotected")
        if config.selector != ConfiguredSelector():
            raise RecipeError("selector.sort: in a clustered federation every aggregator asks everybody: default")
        if config.gate.sort != ConfiguredGate().sort:
            raise RecipeError("gate.sort: in a clustered federation every aggregator waits for everybody: everyone")
        told = config.hyperparameters.to_dict()
        clusters, name = told.get("clusters", 1), told.get("chooseBy", "loss")
        if type(clusters) is not int or clusters < 1:
            raise RecipeError(f"hyperparameters.clusters is {clusters!r:.80}; give the number of aggregators")
        if not isinstance(name, str):
            raise RecipeError(f"hyperparameters.chooseBy is {name!r:.80}; give the name of a metric of `evaluate`")

    def get(self, tag: str) -> None:
        """Carry out `fetch` or `choose`; other tags are not for this role."""
        if tag == TAG_CHOOSE:
            self._choose()
        else:
            super().get(tag)

    def compose(self) -> None:
        """As a trainer; after `fetch`, which brings all models, it chooses one."""
        super().compose()
        with self.composer:
            choose = Tasklet("choose", self.get, TAG_CHOOSE)
            choose.set_continue_fn(cont_fn=lambda: self._choosing.order is None)
            self.composer.get_tasklet("fetch").insert_after(choose)

    def _state(self) -> dict[str, Any]:
        return {**super()._state(), "choosing": self._choosing.state()}

    def _restore(self, state: Mapping[str, Any]) -> None:
        super()._restore(state)
        self._choosing.restore(state["choosing"])

    def _promised(self) -> int:
        """How many aggregators are waited for, because it is not seen that all are there.

        Raises:
            RecipeError: nobody has said how many there will be, or they are not as many.
        """
        told: int | None = self.config.hyperparameters.to_dict().get("clusters")
        if self._surroundings.fiber is None:
            if told is None:
                raise RecipeError("hyperparameters.clusters is not there; say for how many aggregators a trainer waits")
            return told
        there = len(self._channel(TAG_FETCH).all_ends())
        if told not in (None, there):
            raise RecipeError(f"hyperparameters.clusters is {told}; the TAG makes {there} aggregators in this group")
        return 0

    def _fetch_weights(self, tag: str) -> None:
        self._models = self._choosing.fetch_each(self._channel(tag))
        self.fetch_success = True
        self._work_done = not self._models

    def _choose(self) -> None:
        models, begins = self._models, self._choosing.begins
        best = self._any(list(models)) if begins else self._best(models)
        order = self._choosing.choose(best)
        self._models = {}
        if order is None:  # nobody is there who would make use of what is learned
            self._load(models[best])
            self._choosing.answer(self._channel(TAG_UPLOAD), None, 0, {})
            return
        self._take(order)
        if begins and len(models) > 1:
            self._fit()  # a program that cannot tell is refused before it trains
        self.update_metrics({"cluster": self._choosing.leaders.index(best)})

    def _best(self, models: Models) -> str:
        """Whose model has the least loss; of several the first."""
        if len(models) == 1:
            return next(iter(models))
        losses = {}
        for end, weights in models.items():
            self._load(weights)
            losses[end] = self._fit()
        best = min(losses, key=lambda end: math.inf if math.isnan(losses[end]) else losses[end])
        if math.isnan(losses[best]):
            raise RunError(f"the loss of every one of {len(losses)} models is NaN on {self.config.name}")
        return best

    def _load(self, weights: Any) -> None:
        if weights is not None:
            self._held.adapter(self.model).load(weights)

    def _fit(self) -> float:
        """The loss of the model as it is."""
        return float(self.loss())

    def _evaluated(self) -> float:
        """What `evaluate` says of the model, of which nothing is kept."""
        name: str = self.config.hyperparameters.to_dict().get("chooseBy", "loss")
        kept, self.metrics = self.metrics, {}
        try:
            self.evaluate()
            found = self.metrics
        finally:
            self.metrics = kept
        if name not in found:
            raise RecipeError(
                f"a trainer chooses among models by the metric {name!r} (hyperparameters.chooseBy), and evaluate of"
                f" {type(self).__name__} reports {', '.join(found) or 'none'}: let it call"
                f" self.update_metrics({{{name!r}: …}}), smaller being better"
            )
        return float(found[name])

    def _any(self, ends: Sequence[str]) -> str:
        """Anybody, with the same chance."""
        seed = self._surroundings.seed
        owner = self.config.name or self.config.task_id
        return Random(None if seed is None else f"{seed}/{owner}/cluster").choice(ends)


class FromStar(Trainer):
    """What a program becomes that was written for a star: whatever it calls `loss` is a thing of its own."""

    def _fit(self) -> float:
        return self._evaluated()
