"""FedProx: plain averaging, and a term in the trainer's loss that keeps it near the model it was sent.

T. Li, A. K. Sahu, M. Zaheer, M. Sanjabi, A. Talwalkar, V. Smith: Federated Optimization in Heterogeneous
Networks. MLSys 2020. https://arxiv.org/abs/1812.06127
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from flame.common.settings import check_number, refuse_others
from flame.errors import ConfigError
from flame.optimizer import Said
from flame.optimizer.asked import Asked
from flame.optimizer.halves import BySamples, Plain
from flame.optimizer.pull import Pull
from flame.weights.adapters import Adapter
from flame.weights.layout import Weights


class Proximal(Pull):
    """The client half: (mu/2) * ||w - w_t||^2 over the trainable parameters."""

    def __init__(self, mu: float) -> None:
        super().__init__("fedprox")
        self.mu = mu
        self._sent: list[Any] | None = None

    def begin(self, said: Said, sent: Weights, adapter: Adapter) -> Weights:
        """Near what was sent is where to stay."""
        self.aim(adapter, square=float(self.mu), anchor=sent)
        return sent

    def get_term(self, *, curr_model: Any = None, w: Iterable[Any] = (), w_t: Iterable[Any] = (), **others: Any) -> Any:
        """The term, a scalar of the framework that the parameters belong to; 0.0 where there are none.

        Args:
            curr_model: the model being trained; or else `w` and `w_t`.
            w: the parameters being trained, e.g. `model.parameters()`.
            w_t: the parameters as they were sent, in the same order. They are copied at the first call of a round and
                not looked at again until the next one.
            others: ignored.
        """
        if curr_model is not None:
            return super().get_term(curr_model=curr_model)
        if self._sent is None:
            self._sent = [_frozen(parameter) for parameter in w_t]
        square = sum((((now - sent) ** 2).sum() for now, sent in zip(w, self._sent, strict=True)), 0.0)
        return self.mu / 2 * square

    def update(self) -> None:
        """The round is over: forget what was sent. It is no error if `get_term` was never called."""
        super().update()
        self._sent = None

    def state(self) -> Mapping[str, Any]:
        """Keeps nothing from round to round."""
        return {}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Needs nothing."""


class FedProx(BySamples, Asked):
    """FedProx; `mu` says how strongly a trainer is held back, and 0 makes it FedAvg."""

    name = "fedprox"

    def __init__(self, mu: Any = None, **others: Any) -> None:
        refuse_others("optimizer", self.name, others, ("mu",))
        if mu is None:
            raise ConfigError("optimizer.kwargs.mu", "fedprox needs it", "the paper tries 0.001, 0.01, 0.1 and 1")
        check_number("optimizer", "mu", mu, least=0)
        self.step = Plain()
        self.regularizer = Proximal(mu)


def _frozen(parameter: Any) -> Any:
    """A copy without a gradient; a tensor's is asked for first because `copy` is numpy's word alone."""
    return parameter.detach().clone() if hasattr(parameter, "detach") else parameter.copy()
