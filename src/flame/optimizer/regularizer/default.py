"""The base of client halves that are written for Cisco's Flame; by itself it adds nothing to the loss."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flame.common.constants import TrainState
from flame.common.own import own_state, put_back
from flame.optimizer import Said, Trained
from flame.optimizer.halves import Silent
from flame.weights.adapters import Adapter
from flame.weights.layout import Weights


class Regularizer(Silent):
    """Override what is needed; a constructor of a subclass need not call this one's.

    In every round `save_state(TrainState.PRE, glob_model=model)` comes first, with the model that was received; the
    program's `train` asks for `get_term(...)`; then come `save_state(TrainState.POST, loc_model=model)`, with the model
    that was trained, and `update()`. All attributes but functions are kept in checkpoints.
    """

    silent = True

    def begin(self, said: Said, sent: Weights, adapter: Adapter) -> Weights:
        """An order has come: see the model that was sent, if this half looks at it."""
        if type(self).save_state is not Regularizer.save_state:
            adapter.load(sent)
            self.save_state(TrainState.PRE, glob_model=adapter.model)
        return sent

    def finish(self, delta: Weights, trained: Trained, adapter: Adapter) -> Said:
        """Training is over: see the model that came of it. Says nothing."""
        self.save_state(TrainState.POST, loc_model=adapter.model)
        return {}

    def state(self) -> Mapping[str, Any]:
        """Its attributes."""
        return own_state(self)

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state` returned."""
        put_back(self, state)
