"""Models that are `xgboost.Booster`: the only file that names XGBoost.

Boosted trees are not averaged, they are collected: the difference from a base is the trees that have been grown
since. Give the job the optimizer `xgb_bagging`, which knows this; every other one refuses them.
"""

from __future__ import annotations

import json
from typing import Any

import xgboost

from flame.errors import WeightsError
from flame.weights import forest
from flame.weights.layout import Allocate, Layout, Weights, plain_memory


def adapt(model: Any) -> BoosterAdapter | None:
    """The adapter of a Booster; None for anything else.

    Raises:
        WeightsError: it is one of XGBoost's estimators, whose `fit` begins anew.
    """
    if isinstance(model, xgboost.XGBModel):
        raise WeightsError(f"a {type(model).__name__} begins anew at every fit: let `self.model` be an xgboost.Booster")
    return BoosterAdapter(model) if isinstance(model, xgboost.Booster) else None


class BoosterAdapter:
    """A Booster, seen as flat weights of a size that grows; see `flame.weights.adapters.Adapter`."""

    averaged: frozenset[str] = frozenset()

    def __init__(self, model: xgboost.Booster) -> None:
        self.model = model

    @property
    def layout(self) -> Layout:
        """The layout of the trees as they are now."""
        return self.snapshot().layout

    def snapshot(self, allocate: Allocate = plain_memory) -> Weights:
        """All trees, as XGBoost's JSON."""
        return self._since(0, allocate)

    def load(self, weights: Weights) -> None:
        """Have these trees and no others; how further ones are grown stays as the program said.

        Raises:
            WeightsError: these are no trees that could safely be loaded.
        """
        rounds, document = forest.checked(weights)
        if rounds:
            grows = _config(self.model)
            self.model.load_model(bytearray(document))
            if grows:
                self.model.load_config(_grown_as(grows, self.model.save_config()))
        elif _rounds(self.model):
            self.model.reset()

    def target(self) -> None:
        """None: it is loaded as a whole."""

    def delta(self, base: Weights, allocate: Allocate = plain_memory) -> Weights:
        """The trees that have been grown on top of `base`."""
        had, _ = forest.unpacked(base)
        if _rounds(self.model) < had:
            raise WeightsError(f"the booster has {_rounds(self.model)} rounds; it was sent {had}, to go on from")
        return self._since(had, allocate)

    def as_dict(self, weights: Weights) -> bytes:
        """The JSON of the trees, as `load_model` takes it in a bytearray; empty where there are none."""
        return forest.unpacked(weights)[1]

    def _since(self, had: int, allocate: Allocate) -> Weights:
        rounds = _rounds(self.model)
        if rounds == had:
            return forest.packed(0, b"", allocate)
        grown = self.model[had:] if had else self.model
        return forest.packed(rounds - had, grown.save_raw("json"), allocate)


def _config(model: xgboost.Booster) -> str:
    """The settings of a Booster; "" while it has seen neither data nor trees, when XGBoost keeps them anyway."""
    try:
        return str(model.save_config())
    except xgboost.core.XGBoostError:
        return ""


def _grown_as(before: str, now: str) -> str:
    """The settings of before for the trees of now: at loading, XGBoost forgets depth and rate."""
    kept, loaded = json.loads(before), json.loads(now)
    kept["learner"]["learner_model_param"] = loaded["learner"]["learner_model_param"]
    trees = loaded["learner"]["gradient_booster"]["gbtree_model_param"]
    kept["learner"]["gradient_booster"]["gbtree_model_param"] = trees
    return json.dumps(kept)


def _rounds(model: xgboost.Booster) -> int:
    """How many rounds have been boosted; XGBoost has no answer while it has seen neither data nor trees."""
    try:
        return int(model.num_boosted_rounds())
    except xgboost.core.XGBoostError:
        return 0
