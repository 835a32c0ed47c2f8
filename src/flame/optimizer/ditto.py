"""Ditto: beside the model that all share, everybody trains one of its own that stays near it.

T. Li, S. Hu, A. Beirami, V. Smith: Ditto: Fair and Robust Federated Learning Through Personalization. ICML 2021.
https://arxiv.org/abs/2012.04221

The shared model is FedAvg's. A client's own model v minimises its loss + (lambda/2)*||v - x||^2, where x is the shared
model as it was sent, from where it came to in the round before: at first from x.

```python
def train(self):
    self.fit()                                          # the shared model, as without Ditto
    with self.regularizer.personal(self.model):         # now the model is this trainer's own
        self.fit(term=self.regularizer.get_term)        # adds term(curr_model=self.model) to the loss of every step
```
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from flame.common.settings import check_number, refuse_others
from flame.errors import ConfigError, RunError
from flame.optimizer import Said, Trained
from flame.optimizer.halves import BySamples, Plain
from flame.optimizer.pull import Pull
from flame.weights.adapters import Adapter
from flame.weights.layout import Weights


class Personal(Pull):
    """The client half: keeps the trainer's own model, and holds it near the shared one."""

    silent = True

    def __init__(self, strength: float) -> None:
        super().__init__("ditto")
        self._strength = strength
        self._own: Weights | None = None
        self._sent: Weights | None = None

    def begin(self, said: Said, sent: Weights, adapter: Adapter) -> Weights:
        """What is near is what was sent."""
        self._sent = sent
        self._own = self._own or sent
        self.aim(adapter)
        return sent

    @contextmanager
    def personal(self, model: Any) -> Iterator[Any]:
        """Within it the model has the trainer's own weights, and `get_term` its term; outside, that is zero.

        Args:
            model: the trainer's model.

        Raises:
            RunError: no order has come yet, or it is another model.
        """
        adapter, steps = self._adapter, self.steps
        if adapter is None or self._own is None or adapter.model is not model:
            raise RunError("ditto: there is a personal model from the first order on, in the trainer's own model")
        shared = adapter.snapshot()
        adapter.load(self._own)
        self.aim(adapter, square=self._strength, anchor=self._sent)
        try:
            yield model
            self._own = adapter.snapshot()
        finally:
            adapter.load(shared)
            steps += self.steps
            self.aim(adapter)
            self.steps = steps

    def finish(self, delta: Weights, trained: Trained, adapter: Adapter) -> Said:
        """Says nothing. Raises RunError if the program has not trained a model of its own."""
        if not self.steps:
            raise RunError(
                "ditto: the program has not trained its own model in this round; train again in `with"
                " self.regularizer.personal(self.model):`, with self.regularizer.get_term(curr_model=self.model) added"
                " to the loss of every step"
            )
        return {}

    def update(self) -> None:
        """The round is over."""
        adapter = self._adapter
        super().update()
        self._adapter = adapter

    def state(self) -> Mapping[str, Any]:
        """What it keeps, `own`: the trainer's own model; {} before the first round."""
        return {} if self._own is None else {"own": self._own}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state` returned."""
        self._own = state.get("own")


class Ditto(BySamples):
    """Ditto; `lambda` says how near a trainer's own model stays to the shared one."""

    name = "ditto"

    def __init__(self, **settings: Any) -> None:
        strength = settings.pop("lambda", None)
        refuse_others("optimizer", self.name, settings, ("lambda",))
        if strength is None:
            raise ConfigError("optimizer.kwargs.lambda", "ditto needs it", "the paper tries 0.05 to 2")
        check_number("optimizer", "lambda", strength, least=0)
        self.step = Plain()
        self.regularizer = Personal(strength)
