"""What releases of noisy sums have cost in privacy so far: (epsilon, delta) by way of RDP."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from flame.common.settings import check_number
from flame.errors import ConfigError
from flame.privacy import rdp

MOST_NOISE = 1e6
Mechanism = Callable[[float, float], list[float]]

MECHANISMS: dict[str, Mechanism] = {
    "everybody": lambda z, rate: rdp.gaussian(z),
    "poisson": rdp.poisson,
    "without-replacement": rdp.without_replacement,
}


@dataclass(frozen=True, slots=True)
class Release:
    """One kind of release.

    Attributes:
        z: the noise's standard deviation over the L2 sensitivity of what it is added to.
        rate: the probability with which one is in the sample.
        sampling: how the sample is drawn, one of `MECHANISMS`.
    """

    z: float
    rate: float = 1.0
    sampling: str = "everybody"


@lru_cache(maxsize=256)
def cost(release: Release) -> tuple[float, ...]:
    """The release's RDP at each of `rdp.ORDERS`."""
    return tuple(MECHANISMS[release.sampling](release.z, release.rate))


class Accountant:
    """Adds up releases.

    Attributes:
        delta: the probability with which epsilon may be exceeded.
        target: the epsilon that must not be exceeded; None for none.
        releases: what has been released, and how often.
    """

    def __init__(self, delta: float, target: float | None = None) -> None:
        self.delta, self.target = delta, target
        self.releases: Counter[Release] = Counter()

    def state(self) -> list[tuple[float, float, str, int]]:
        """What has been released, as plain values."""
        return [(each.z, each.rate, each.sampling, times) for each, times in self.releases.items()]

    def restore(self, state: Iterable[tuple[float, float, str, int]]) -> None:
        """Go on from what `state` returned."""
        self.releases = Counter({Release(z, rate, sampling): times for z, rate, sampling, times in state})

    @property
    def epsilon(self) -> float:
        """What has been spent; infinite if something went out without noise."""
        return self._epsilon(self.releases)

    def charge(self, release: Release, times: int = 1) -> None:
        """Something has been released."""
        self.releases[release] += times

    def after(self, release: Release, times: int = 1) -> float:
        """The epsilon that will have been spent after so many more releases."""
        return self._epsilon(self.releases + Counter({release: times}))

    def affords(self, release: Release, times: int = 1) -> bool:
        """Whether so many more releases stay within the target."""
        return self.target is None or self.after(release, times) <= self.target

    def check_plan(self, release: Release, times: int, what: str) -> None:
        """Refuse a plan that would spend more than the target.

        Args:
            release: what is released each time.
            times: how often.
            what: the plan in words, e.g. `20 rounds`.

        Raises:
            ConfigError: it would; the message says what would do instead.
        """
        if self.target is None or self.affords(release, times):
            return
        reached = self.after(release, times)
        raise ConfigError(
            "privacy.kwargs.target_epsilon",
            f"{what} would spend epsilon {reached:.4g} at delta {self.delta:g}, and {self.target:g} are given",
            self._instead(release, times),
        )

    def _instead(self, release: Release, times: int) -> str:
        """What would stay within the target: more noise, or fewer releases."""

        def fits(z: float) -> bool:
            return self.affords(Release(z, release.rate, release.sampling), times)

        high = max(release.z, 0.1)
        while high < MOST_NOISE and not fits(high):
            high *= 2
        low = high / 2
        for _ in range(10):
            middle = (low + high) / 2
            low, high = (low, middle) if fits(middle) else (middle, high)
        most = _most(lambda n: self.affords(release, n), times)
        noise = f"noise of {high:.4g} times the sensitivity instead of {release.z:.4g} would do"
        return f"{noise}, or {most} instead of {times}" if most else noise

    def _epsilon(self, releases: Counter[Release]) -> float:
        total = [0.0] * len(rdp.ORDERS)
        for release, times in releases.items():
            total = [so_far + times * one for so_far, one in zip(total, cost(release), strict=True)]
        return rdp.epsilon(total, self.delta)


def accountant_of(delta: Any, target_epsilon: Any) -> Accountant:
    """An accountant with the settings of a config.

    Raises:
        ConfigError: a setting is no such number.
    """
    check_number("privacy", "delta", delta, least=0, below=1, beyond=True)
    if target_epsilon is not None:
        check_number("privacy", "target_epsilon", target_epsilon, least=0, beyond=True)
    return Accountant(float(delta), target_epsilon)


def _most(fits: Callable[[int], bool], beyond: int) -> int:
    """The largest number below `beyond` that fits, of numbers that fit from 0 up to some point."""
    low, high = 0, beyond
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low
