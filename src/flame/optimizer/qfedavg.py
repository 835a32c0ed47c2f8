"""q-FedAvg: who has a high loss counts for more, so that a model serves all alike.

T. Li, M. Sanjabi, A. Beirami, V. Smith: Fair Resource Allocation in Federated Learning. ICLR 2020.
https://arxiv.org/abs/1905.10497

With F_k the loss of client k, d_k its update and L the inverse of its learning rate:

    x = x + (sum of F_k^q * L*d_k) / (sum of h_k)        h_k = q * F_k^(q-1) * L^2*||d_k||^2 + L*F_k^q

The loss is the paper's if it is that of the model that was received, before training. Clients say h_k and send
F_k^q * L/h_k * d_k, so that the server need not know a client's loss.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from flame.common.settings import check_number, refuse_others
from flame.errors import ConfigError, RunError
from flame.optimizer import Said, Trained
from flame.optimizer.halves import Plain, Silent, learned, number_said
from flame.weights.adapters import Adapter
from flame.weights.layout import Weights

SHARE = "share"
LEAST_LOSS = 1e-10
"""A loss of zero has no power below zero."""


class Shares(Plain):
    """The server half; it listens only for what a middle aggregator has to pass on."""

    repeatable = False

    def __init__(self) -> None:
        self._share = 0.0

    def hear(self, end: str, samples: int, said: Said) -> None:
        """Its share. Raises RunError if it does not say it."""
        self._share += number_said("qfedavg", said, SHARE, above=0)

    def relay(self) -> Said:
        """The share of all below."""
        share, self._share = self._share, 0.0
        return {SHARE: share}

    def close(self) -> None:
        """The round is over."""
        self._share = 0.0


class Fair(Silent):
    """The client half: weighs its own update by its loss."""

    def __init__(self, q: float, lipschitz: float) -> None:
        self._q, self._lipschitz = q, lipschitz

    def finish(self, delta: Weights, trained: Trained, adapter: Adapter) -> Said:
        """Scale what was learned; says h_k.

        Raises:
            RunError: the program has not measured `loss`, or it is negative or not finite.
        """
        loss = trained.metrics.get("loss")
        if loss is None or not 0 <= loss < math.inf:
            raise RunError(
                f"qfedavg: the metric loss is {loss}; in `train`, call self.update_metrics({{'loss': …}})"
                " with the loss of the model that was received, 0 or more"
            )
        loss, arrays = max(LEAST_LOSS, float(loss)), learned(delta, adapter)
        factor = self._lipschitz * loss**self._q
        square = self._lipschitz**2 * float(sum(np.square(array, dtype=np.float64).sum() for array in arrays))
        share = self._q * loss ** (self._q - 1) * square + factor
        for array in arrays:
            array *= factor / share
        return {SHARE: share}


class QFedAvg:
    """q-FedAvg; `q` says how fair, 0 being the plain mean over clients, and `eta` is the clients' learning rate."""

    name = "qfedavg"
    synchronous = False

    def __init__(self, q: Any = None, eta: Any = None, **others: Any) -> None:
        refuse_others("optimizer", self.name, others, ("q", "eta"))
        for name, value, why in (("q", q, "the paper tries 0.1 to 5"), ("eta", eta, "the clients' learning rate")):
            if value is None:
                raise ConfigError(f"optimizer.kwargs.{name}", "qfedavg needs it", why)
        check_number("optimizer", "q", q, least=0)
        check_number("optimizer", "eta", eta, least=0, beyond=True)
        self.step = Shares()
        self.regularizer = Fair(q, 1 / eta)

    def weigh(self, samples: int, staleness: int, said: Said) -> tuple[float, float]:
        """By its h_k; samples do not count. Raises RunError if it does not say it."""
        share = number_said(self.name, said, SHARE, above=0)
        return share, share
