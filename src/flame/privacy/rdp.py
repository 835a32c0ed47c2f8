"""Rényi differential privacy of the Gaussian mechanism, with and without sampling.

A mechanism is (alpha, rho)-RDP when the Rényi divergence of order alpha between its outputs on neighbouring inputs is
at most rho. RDP adds up over releases, order by order, and is turned into (epsilon, delta) once, at the end.

All noise multipliers `z` are the standard deviation of the noise over the L2 sensitivity of what it is added to.

- Gaussian: I. Mironov: Rényi Differential Privacy. CSF 2017. https://arxiv.org/abs/1702.07476
- Poisson sampling: I. Mironov, K. Talwar, L. Zhang: Rényi Differential Privacy of the Sampled Gaussian Mechanism. 2019.
  https://arxiv.org/abs/1908.10530
- Sampling without replacement: Y.-X. Wang, B. Balle, S. Kasiviswanathan: Subsampled Rényi Differential Privacy and
  Analytical Moments Accountant. AISTATS 2019, theorem 9. https://arxiv.org/abs/1808.00087
- To (epsilon, delta): C. Canonne, G. Kamath, T. Steinke: The Discrete Gaussian for Differential Privacy. NeurIPS 2020,
  proposition 12, https://arxiv.org/abs/2004.00010; B. Balle, G. Barthe, M. Gaboardi, J. Hsu, T. Sato: Hypothesis
  Testing Interpretations and Rényi Differential Privacy. AISTATS 2020.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np

ORDERS: tuple[float, ...] = (*(1 + x / 10 for x in range(1, 100)), *range(11, 64), 80, 96, 128, 192, 256, 512)
"""The orders at which RDP is kept; epsilon is the least over them."""

SMALL = -40.0
"""Terms of a series are left out once they are below e^SMALL of its sum."""
MOST_TERMS = 100_000
_LOG_FACTORIALS = np.cumsum(np.log(np.maximum(1.0, np.arange(1 + max(ORDERS)))))


def gaussian(z: float, orders: Sequence[float] = ORDERS) -> list[float]:
    """RDP of one release of everybody's data: alpha / (2 z^2); infinite without noise."""
    return [math.inf if z <= 0 else order / (2 * z * z) for order in orders]


def poisson(z: float, rate: float, orders: Sequence[float] = ORDERS) -> list[float]:
    """RDP of one release of a sample in which everybody is with probability `rate`, independently of the others.

    Neighbours: with and without one.
    """
    if rate <= 0:
        return [0.0] * len(orders)
    if rate >= 1 or z <= 0:
        return gaussian(z, orders)
    # A moment is never below 1; where it is nearly 1 its logarithm may be rounded to below 0.
    return [max(0.0, _moment(z, rate, order)) / (order - 1) for order in orders]


def without_replacement(z: float, rate: float, orders: Sequence[float] = ORDERS) -> list[float]:
    """RDP of one release of a sample of a fixed size, a share `rate` of all; each such sample is equally likely.

    Neighbours: one's part replaced by zero. In the theorem a sample with one is also compared to samples with somebody
    else in its place, which lie twice the sensitivity apart. Whether sampled or not, it is no worse than being in every
    sample.
    """
    if rate <= 0:
        return [0.0] * len(orders)
    plain = gaussian(z, orders)
    if rate >= 1 or z <= 0:
        return plain
    bounds = _replaced(z / 2, rate, math.ceil(max(orders)))
    # RDP grows with the order: what holds for the next whole order holds for this one.
    return [min(one, bounds[max(2, math.ceil(order))]) for one, order in zip(plain, orders, strict=True)]


def epsilon(rdp: Sequence[float], delta: float, orders: Sequence[float] = ORDERS) -> float:
    """The least epsilon for which some RDP means (epsilon, delta)-differential privacy; infinite if none is known."""
    if not any(rdp):
        return 0.0
    found = (
        rho + math.log1p(-1 / order) - (math.log(delta) + math.log(order)) / (order - 1)
        for rho, order in zip(rdp, orders, strict=True)
    )
    return max(0.0, min(found))


def _moment(z: float, rate: float, order: float) -> float:
    """Log of the order-th moment of the sampled Gaussian's likelihood ratio."""
    if float(order).is_integer():
        return _whole_moment(z, rate, int(order))
    return _fractional_moment(z, rate, order)


def _whole_moment(z: float, rate: float, order: int) -> float:
    """The sum over k of C(order, k) (1-q)^(order-k) q^k exp((k^2-k) / 2z^2)."""
    k = np.arange(order + 1.0)
    logs = _LOG_FACTORIALS[order] - _LOG_FACTORIALS[: order + 1] - _LOG_FACTORIALS[order::-1]
    logs = logs + k * math.log(rate) + (order - k) * math.log1p(-rate) + (k * k - k) / (2 * z * z)
    most = float(logs.max())
    return most + math.log(float(np.exp(logs - most).sum()))


def _fractional_moment(z: float, rate: float, order: float) -> float:
    """The two series of section 3.3, cut where the densities cross; their terms alternate in sign from `order` on."""
    cross = z * z * math.log(1 / rate - 1) + 0.5
    width = math.sqrt(2) * z
    total, sign = -math.inf, 1.0
    coefficient, positive = 0.0, True  # log |C(order, i)|, and whether it is positive
    for i in range(MOST_TERMS):
        rest = order - i
        below = i * math.log(rate) + rest * math.log1p(-rate) + (i * i - i) / (2 * z * z)
        below += _log_erfc((i - cross) / width) - math.log(2)
        above = rest * math.log(rate) + i * math.log1p(-rate) + (rest * rest - rest) / (2 * z * z)
        above += _log_erfc((cross - rest) / width) - math.log(2)
        most = max(below, above)
        term = coefficient + most + math.log1p(math.exp(min(below, above) - most))
        total, sign = _log_add(total, sign, term, 1.0 if positive else -1.0)
        if i > order and term < total + SMALL:
            break
        coefficient += math.log(abs(rest)) - math.log(i + 1)
        positive = positive == (rest > 0)
    return total


def _replaced(z: float, rate: float, highest: int) -> list[float]:
    """The theorem's bound for every whole order up to `highest`; the first two are of no use."""
    of = [0.0, 0.0, *(order / (2 * z * z) for order in range(2, highest + 1))]
    second = math.log(min(4 * math.expm1(of[2]), 2 * math.exp(of[2]))) if of[2] < 700 else of[2] + math.log(2)
    factors = [-math.inf, -math.inf, second, *(math.log(2) + (j - 1) * of[j] for j in range(3, highest + 1))]
    bounds = [0.0, 0.0]
    for order in range(2, highest + 1):
        terms = (j * math.log(rate) + _log_choose(order, j) + factors[j] for j in range(2, order + 1))
        bounds.append(_log_sum((0.0, _log_sum(terms))) / (order - 1))
    return bounds


def _log_choose(n: int, k: int) -> float:
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)


def _log_sum(logs: Iterable[float]) -> float:
    """Log of a sum of exponentials."""
    terms = list(logs)
    most = max(terms)
    if math.isinf(most):
        return most
    return most + math.log(math.fsum(math.exp(term - most) for term in terms))


def _log_add(a: float, sign_a: float, b: float, sign_b: float) -> tuple[float, float]:
    """Log |x + y| and the sum's sign, of x = sign_a e^a and y = sign_b e^b."""
    if a < b:
        a, sign_a, b, sign_b = b, sign_b, a, sign_a
    if b == -math.inf:
        return a, sign_a
    ratio = math.exp(b - a)
    if sign_a == sign_b:
        return a + math.log1p(ratio), sign_a
    return (a + math.log1p(-ratio) if ratio < 1 else -math.inf), sign_a


def _log_erfc(x: float) -> float:
    """Log of the complementary error function, also where that is smaller than any float."""
    if x < 20:
        return math.log(math.erfc(x))
    # The asymptotic series; from 20 on these terms are exact to a double's last digits.
    square = 1 / (x * x)
    series = 1 - square / 2 * (1 - 3 * square / 2 * (1 - 5 * square / 2))
    return -x * x - math.log(x * math.sqrt(math.pi)) + math.log(series)
