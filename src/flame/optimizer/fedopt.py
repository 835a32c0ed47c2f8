"""FedAdagrad, FedAdam and FedYogi: the server takes an adaptive step along the mean of the updates.

S. Reddi, Z. Charles, M. Zaheer, Z. Garrett, K. Rush, J. Konečný, S. Kumar, H. B. McMahan: Adaptive Federated
Optimization. ICLR 2021. https://arxiv.org/abs/2003.00295

With a = base + mean, the result of plain averaging: in the first round x = a. In every later one

    d = a - x        m = beta_1*m + (1 - beta_1)*d        v = (one of the three below)
    x = x + eta * m / (sqrt(v) + tau)

    fedadagrad  v + d^2
    fedadam     beta_2*v + (1 - beta_2)*d^2
    fedyogi     v - (1 - beta_2)*d^2 * sign(v - d^2)

from m = v = 0 and without correction of the bias. x, m and v are kept in float64 at the server: six times the
memory of a float32 model. Integers in a model follow plain averaging.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from flame.common.settings import check_number, refuse_others
from flame.optimizer.asked import Asked
from flame.optimizer.halves import BySamples, Floats, Mute, Silent
from flame.optimizer.kept import Kept
from flame.weights.layout import Layout

Moment = Callable[[Floats, Floats, float], None]
LETTERS = ("x", "m", "v")


def adagrad(v: Floats, square: Floats, beta_2: float) -> None:
    """The second moment of fedadagrad, in place; `square` is d^2 and may be overwritten."""
    np.add(v, square, out=v)


def adam(v: Floats, square: Floats, beta_2: float) -> None:
    """The second moment of fedadam, in place; `square` is d^2 and may be overwritten."""
    np.multiply(v, beta_2, out=v)
    np.multiply(square, 1 - beta_2, out=square)
    np.add(v, square, out=v)


def yogi(v: Floats, square: Floats, beta_2: float) -> None:
    """The second moment of fedyogi, in place; `square` is d^2 and may be overwritten."""
    sign = np.sign(v - square)
    np.multiply(square, 1 - beta_2, out=square)
    np.multiply(square, sign, out=square)
    np.subtract(v, square, out=v)


class Adaptive(Mute):
    """The server half: x, m and v for every floating-point element, made in the first round."""

    repeatable = False

    def __init__(self, moment: Moment, *, beta_1: float, beta_2: float, eta: float, tau: float) -> None:
        self._moment = moment
        self._beta_1, self._beta_2, self._eta, self._tau = beta_1, beta_2, eta, tau
        self._kept = Kept(*LETTERS)
        self._first = True

    def open(self, layout: Layout) -> None:
        """Make the state for a layout; later rounds must have as many elements.

        Raises:
            ConfigError: the state was kept for a model of another size.
        """
        self._kept.open(layout)

    def block(self, segment: int, where: slice, base: Floats, mean: Floats) -> Floats:
        """The next x of a block."""
        x, m, v = (self._kept.part(letter, segment, where) for letter in LETTERS)
        d = np.add(base, mean, out=mean)
        if self._first:
            np.copyto(x, d)
            return d
        np.subtract(d, x, out=d)
        np.multiply(m, self._beta_1, out=m)
        np.add(m, np.multiply(d, 1 - self._beta_1, out=base), out=m)
        self._moment(v, np.multiply(d, d, out=base), self._beta_2)
        np.add(np.sqrt(v, out=d), self._tau, out=d)
        np.divide(np.multiply(m, self._eta, out=base), d, out=base)
        np.add(x, base, out=x)
        return x

    def close(self) -> None:
        """From now on x is known."""
        self._first = False

    def state(self) -> dict[str, Floats]:
        """x, m and v as float64 arrays over all floating-point elements; {} before the first round."""
        return {} if self._first else self._kept.state()

    def restore(self, state: Mapping[str, Floats]) -> None:
        """Go on from x, m and v, which are copied.

        Raises:
            ConfigError: they are not the three arrays of one length.
        """
        self._kept.restore(state)
        self._first = not state


class _FedOpt(BySamples, Asked):
    """What the three have in common: four settings, and no term in the loss."""

    name: str
    moment: Moment

    def __init__(self, beta_1: Any = 0.9, beta_2: Any = 0.99, eta: Any = 1e-2, tau: Any = 1e-3, **others: Any) -> None:
        refuse_others("optimizer", self.name, others, ("beta_1", "beta_2", "eta", "tau"))
        check_number("optimizer", "beta_1", beta_1, least=0, below=1)
        check_number("optimizer", "beta_2", beta_2, least=0, below=1)
        check_number("optimizer", "eta", eta, least=0, beyond=True)
        check_number("optimizer", "tau", tau, least=0, beyond=True)
        self.step = Adaptive(type(self).moment, beta_1=beta_1, beta_2=beta_2, eta=eta, tau=tau)
        self.regularizer = Silent()


class FedAdaGrad(_FedOpt):
    """FedAdagrad: the second moment only grows."""

    name = "fedadagrad"
    moment = staticmethod(adagrad)


class FedAdam(_FedOpt):
    """FedAdam: the second moment is a moving mean."""

    name = "fedadam"
    moment = staticmethod(adam)


class FedYogi(_FedOpt):
    """FedYogi: the second moment moves by at most a share of d^2."""

    name = "fedyogi"
    moment = staticmethod(yogi)
