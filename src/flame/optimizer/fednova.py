"""FedNova: updates are normalised by the steps behind them, so that who takes more steps does not pull harder.

J. Wang, Q. Liu, H. Liang, G. Joshi, H. V. Poor: Tackling the Objective Inconsistency Problem in Heterogeneous Federated
Optimization. NeurIPS 2020. https://arxiv.org/abs/2007.07481

A client i with n_i of n samples, that has taken tau_i steps and moved by D_i, counts

    a_i = tau_i                                                      plain SGD
    a_i = (tau_i - rho*(1 - rho^tau_i)/(1 - rho)) / (1 - rho)        SGD with momentum rho

and the server steps by tau_eff * sum of (n_i/n) * D_i/a_i, where tau_eff = sum of (n_i/n) * a_i.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from flame.common.settings import check_number, refuse_others
from flame.optimizer import Said, Trained
from flame.optimizer.halves import Alone, BySamples, Floats, Plain, learned, number_said
from flame.weights.adapters import Adapter
from flame.weights.layout import Weights

STEPS = "steps"


class Normalised(Plain):
    """The server half: base plus tau_eff times the mean of the normalised updates."""

    repeatable = False

    def __init__(self) -> None:
        self._sum, self._samples, self._effective = 0.0, 0, 0.0

    def hear(self, end: str, samples: int, said: Said) -> None:
        """How many steps are behind an update. Raises RunError if it does not say so."""
        self._sum += samples * number_said("fednova", said, STEPS, above=0)
        self._samples += samples

    def gathered(self, ends: Sequence[str]) -> None:
        """Now tau_eff is known."""
        self._effective = self._sum / (self._samples or 1)
        self._sum, self._samples = 0.0, 0

    def block(self, segment: int, where: slice, base: Floats, mean: Floats) -> Floats:
        """Base plus tau_eff times mean, in place of base."""
        return np.add(base, np.multiply(mean, self._effective, out=mean), out=base)

    def relay(self) -> Said:
        """tau_eff of those below, whose mean is normalised already."""
        return {STEPS: self._effective}


class Counting(Alone):
    """The client half: counts how often `get_term` is asked for, which adds nothing to the loss."""

    def __init__(self, momentum: float) -> None:
        self._momentum = momentum
        self._steps = 0

    def get_term(self, **values: Any) -> float:
        """Zero; asked for once in each step, it counts them."""
        self._steps += 1
        return 0.0

    def finish(self, delta: Weights, trained: Trained, adapter: Adapter) -> Said:
        """Divide the update by a_i, which is said.

        Steps are as counted, or `epochs` times the batches in `samples` if nobody counted. What is not learned, such as
        running means, stays as it is.
        """
        epoch = math.ceil(trained.samples / (trained.batch_size or trained.samples or 1))
        steps = self._steps or max(1, trained.epochs * epoch)
        length = _length(steps, self._momentum)
        for array in learned(delta, adapter):
            array /= length
        return {STEPS: length}

    def update(self) -> None:
        """The round is over: count anew."""
        self._steps = 0


class FedNova(BySamples):
    """FedNova; `momentum` is that of the clients' own SGD."""

    name = "fednova"

    def __init__(self, momentum: Any = 0.0, **others: Any) -> None:
        refuse_others("optimizer", self.name, others, ("momentum",))
        check_number("optimizer", "momentum", momentum, least=0, below=1)
        self.step = Normalised()
        self.regularizer = Counting(momentum)


def _length(steps: int, momentum: float) -> float:
    """a_i: how much the gradients of so many steps of SGD weigh altogether."""
    return (steps - momentum * (1 - momentum**steps) / (1 - momentum)) / (1 - momentum)
