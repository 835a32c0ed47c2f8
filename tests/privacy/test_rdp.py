"""The accountant: closed forms, what must be monotone, and opacus's own."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest

from flame.errors import ConfigError
from flame.privacy import rdp
from flame.privacy.accountant import Accountant, Release

NOISE = (0.5, 0.9, 2.0, 6.0)
RATES = (0.001, 0.05, 0.6)
DELTA = 1e-5


def spent(release: Release, times: int, delta: float = DELTA) -> float:
    accountant = Accountant(delta)
    accountant.charge(release, times)
    return accountant.epsilon


def test_without_sampling_it_is_the_gaussians_closed_form() -> None:
    assert rdp.gaussian(2.0, [2, 3.5]) == [2 / 8, 3.5 / 8]
    assert rdp.poisson(2.0, 1.0) == rdp.gaussian(2.0) == rdp.without_replacement(2.0, 1.0)


def test_order_two_of_poisson_sampling_is_its_closed_form() -> None:
    """E[(1 - q + q e^(...))^2] = 1 + q^2 (e^(1/z^2) - 1)."""
    for z in NOISE:
        for q in RATES:
            (found,) = rdp.poisson(z, q, [2])
            assert found == pytest.approx(math.log1p(q * q * math.expm1(1 / z**2)), rel=1e-6)


@pytest.mark.parametrize("order", [1.5, 2.7, 4.0, 9.3])
def test_a_moment_is_the_integral_that_it_stands_for(order: float) -> None:
    """By the trapezoidal rule, over all of the densities that a double can tell from 0."""
    z, q = 1.1, 0.2
    x = np.linspace(-40, 40, 400_001)
    ratio = 1 - q + q * np.exp((2 * x - 1) / (2 * z * z))
    density = np.exp(-x * x / (2 * z * z)) / (z * math.sqrt(2 * math.pi))
    moment = float(np.sum(density * ratio**order) * (x[1] - x[0]))
    (found,) = rdp.poisson(z, q, [order])
    assert found == pytest.approx(math.log(moment) / (order - 1), rel=1e-9)


def test_it_agrees_with_opacus_over_a_grid() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        analysis = pytest.importorskip("opacus.accountants.analysis.rdp")
        orders = [*rdp.ORDERS[::8], 12, 20, 33, 60, 128, 512]
        for z in NOISE:
            for q in (*RATES, 1.0):
                theirs = analysis.compute_rdp(q=q, noise_multiplier=z, steps=1, orders=orders)
                ours = rdp.poisson(z, q, orders)
                for steps in (1, 30, 1000):
                    for delta in (1e-7, 1e-5, 1e-3):
                        total = [steps * one for one in theirs]
                        expected, _ = analysis.get_privacy_spent(orders=orders, rdp=total, delta=delta)
                        mine = rdp.epsilon([steps * one for one in ours], delta, orders)
                        assert mine == pytest.approx(max(0.0, expected), rel=1e-3), (z, q, steps, delta)


@pytest.mark.parametrize("sampling", ["poisson", "without-replacement"])
def test_epsilon_only_grows_and_falls_with_noise_and_with_sampling(sampling: str) -> None:
    over_steps = [spent(Release(1.0, 0.1, sampling), steps) for steps in (1, 2, 5, 50, 500)]
    over_noise = [spent(Release(z, 0.1, sampling), 10) for z in NOISE]
    over_rates = [spent(Release(2.0, q, sampling), 10) for q in (*RATES, 1.0)]
    assert over_steps == sorted(over_steps) and over_steps[0] < over_steps[-1]
    assert over_noise == sorted(over_noise, reverse=True)
    assert over_rates == sorted(over_rates)


def test_a_sample_of_fixed_size_hides_less_than_an_independent_one_and_more_than_none() -> None:
    for z in (2.0, 4.0, 8.0):
        poisson, fixed, all_ = (
            spent(Release(z, 0.05, sampling), 100) for sampling in ("poisson", "without-replacement", "everybody")
        )
        assert poisson < fixed < all_ / 2


def test_epsilon_covers_the_gaussian_mechanisms_exact_curve() -> None:
    """Balle, Wang 2018, theorem 8: delta as a function of epsilon, of one release without sampling."""

    def normal(x: float) -> float:
        return math.erfc(-x / math.sqrt(2)) / 2

    for z in NOISE:
        epsilon = spent(Release(z), 1)
        exact = normal(1 / (2 * z) - epsilon * z) - math.exp(epsilon) * normal(-1 / (2 * z) - epsilon * z)
        assert 0 < exact <= DELTA  # a bound, and within reason
        assert exact > DELTA / 100


def test_no_noise_is_no_privacy_and_nothing_released_costs_nothing() -> None:
    assert spent(Release(0.0), 1) == math.inf
    assert spent(Release(0.0, 0.1, "poisson"), 1) == math.inf
    assert Accountant(DELTA).epsilon == 0.0
    assert spent(Release(1.0, 0.0, "poisson"), 5) == 0.0


def test_a_plan_beyond_the_budget_is_refused_with_what_would_do() -> None:
    accountant = Accountant(DELTA, 4.0)
    accountant.check_plan(Release(5.0), 10, "10 rounds")
    with pytest.raises(ConfigError, match=r"100 rounds would spend epsilon 10\.\d+ .* 4 are given") as refused:
        accountant.check_plan(Release(5.0), 100, "100 rounds")
    words = refused.value.fix.replace(",", "").split()
    z, most = float(words[2]), int(words[-4])
    assert accountant.affords(Release(z * 1.001), 100) and not accountant.affords(Release(z * 0.98), 100)
    assert accountant.affords(Release(5.0), most) and not accountant.affords(Release(5.0), most + 1)
