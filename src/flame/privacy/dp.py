"""Client-level differential privacy: clipped updates, and Gaussian noise on each of them or on a round's sum.

An update u, a vector of all floating-point numbers of a model, becomes u * min(1, C / |u|). Noise of standard
deviation s is then added

- `at: trainer` (local): by every trainer to its own update. Nobody but the trainer has to be trusted. Epsilon is the
  trainer's: whatever data it has, compared to whatever other data, so that the sensitivity is 2C. Updates count by
  their samples, whose number is not protected.
- `at: server` (central): once, at the top, to the sum of a round's updates, which is then divided by how many there
  are. The aggregators are trusted with clipped updates, and see no number of samples: every update counts as one.
  Epsilon is of a trainer whose updates are replaced by zeros, to whoever gets the models; the sensitivity is C. A tree
  of aggregators adds clipped updates up, and its top adds the noise.

The local form is that of Cisco's Flame. The central one: H. B. McMahan, D. Ramage, K. Talwar, L. Zhang: Learning
Differentially Private Recurrent Language Models. ICLR 2018. https://arxiv.org/abs/1710.06963; trainers replaced by
zeros as in P. Kairouz et al.: Practical and Private (Deep) Learning Without Sampling or Shuffling. ICML 2021.
https://arxiv.org/abs/2103.00039

Integers (counters) are never noised: with noise, they are sent as zeros, which leaves the federation's as they are.
Running statistics of a batch normalisation are data like any other, clipped and noised with the rest; a running
variance may become negative, so group or layer normalisation is the better choice.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flame.common.settings import check_number, refuse_others
from flame.config import Config
from flame.errors import ConfigError, RecipeError, RunError
from flame.privacy import Cohort, Perturb
from flame.privacy.accountant import Accountant, Release, accountant_of
from flame.privacy.clip import blur, clip, hide_integers
from flame.privacy.combine import refuse_what_says_more
from flame.privacy.default import Default
from flame.privacy.noise import Noise, Stream
from flame.weights.layout import Weights

logger = logging.getLogger(__name__)

SETTINGS = ("clip_threshold", "noise_factor", "noise_multiplier", "at", "delta", "target_epsilon")
PLACES = ("trainer", "server")
MOST_STALENESS = 1_000


class _Clipping(Default):
    """What both have in common."""

    name = "dp"
    sensitivity_of_bound: float

    def __init__(self, bound: float, std: float, accountant: Accountant, noise: Noise) -> None:
        self.stamp = {}
        self._bound, self._std, self._accountant, self._noise = bound, std, accountant, noise
        self._z = std / (self.sensitivity_of_bound * bound)

    def check(self, config: Config, optimizer: Any, *, says_more: bool) -> None:
        """Refuse what would tell more than is accounted for, and a plan beyond the budget."""
        refuse_what_says_more(self.name, config, optimizer.name if says_more else "")

    def state(self) -> Mapping[str, Any]:
        """What has been spent, and how many streams of noise were drawn."""
        return {"spent": self._accountant.state(), "noise": self._noise.count}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state` returned."""
        self._accountant.restore(state["spent"])
        self._noise.skip(state["noise"])

    def _clipped(self, update: Weights) -> bool:
        """Clip an update in place; whether that could be done."""
        before = clip(update, self._bound)
        if math.isfinite(before):
            return True
        logger.warning("an update with norm %s cannot be clipped and is not sent", before)
        return False


class Local(_Clipping):
    """Every trainer adds noise to its own update."""

    sensitivity_of_bound = 2.0

    def __init__(self, bound: float, std: float, accountant: Accountant, noise: Noise) -> None:
        super().__init__(bound, std, accountant, noise)
        self._release = Release(self._z)

    @property
    def epsilon(self) -> float | None:
        """What this trainer's updates have cost; None if it has sent none."""
        return self._accountant.epsilon if self._accountant.releases else None

    @property
    def exhausted(self) -> bool:
        """Never ends a run: a trainer without a budget answers without an update."""
        return False

    def check(self, config: Config, optimizer: Any, *, says_more: bool) -> None:
        """Refuse what would tell more than is accounted for, and a plan beyond the budget."""
        super().check(config, optimizer, says_more=says_more)
        # Whom a selector leaves out for a round spends nothing in it; then only the first round is certain.
        everybody = str(config.selector.sort) == "default"
        rounds = config.hyperparameters.rounds if everybody else 1
        self._accountant.check_plan(self._release, rounds, f"{rounds} round{'s' * (rounds > 1)} of a trainer")

    def outgoing(self, update: Weights, samples: int) -> tuple[Weights | None, int]:
        """The clipped and noisy update, and the samples as they are."""
        if not self._accountant.affords(self._release):
            logger.warning(
                "the privacy budget is spent (epsilon %.4g of %s): no more updates are sent",
                self._accountant.epsilon,
                self._accountant.target,
            )
            return None, 0
        if not self._clipped(update):
            return None, 0
        if self._std:
            blur(update, self._noise.stream(), self._std)
        self._accountant.charge(self._release)
        return update, samples


class Central(_Clipping):
    """Trainers clip; the top adds noise to the sum."""

    sensitivity_of_bound = 1.0

    def __init__(self, bound: float, std: float, accountant: Accountant, noise: Noise) -> None:
        super().__init__(bound, std, accountant, noise)
        self.stamp = {"dp": {"clip": bound}}
        self._sampling = "everybody"
        self._rate = 1.0
        self._spent = False
        self._stream: Stream | None = None

    @property
    def epsilon(self) -> float | None:
        """What the models released by this worker have cost; None if it has released none."""
        return self._accountant.epsilon if self._accountant.releases else None

    @property
    def exhausted(self) -> bool:
        """Whether the budget allows no further round."""
        return self._spent

    def check(self, config: Config, optimizer: Any, *, says_more: bool) -> None:
        """Refuse what would make the sensitivity another one, and a plan beyond the budget."""
        super().check(config, optimizer, says_more=says_more)
        for channel in config.channels.values():
            if channel.compression is not None:
                raise RecipeError(
                    f"privacy at the server: channel {channel.name} compresses ({channel.compression.sort}), and what"
                    " is unpacked may be larger than what was clipped; leave it out, or add noise at the trainers"
                )
        if any(optimizer.weigh(1, staleness, {})[0] > 1 for staleness in range(MOST_STALENESS)):
            raise RecipeError(
                f"privacy at the server: optimizer {optimizer.name} lets an update count for more than one, and the"
                " noise is for updates that count for one at most"
            )
        self._sampled(config)
        rounds = config.hyperparameters.rounds
        planned = Release(self._z, self._rate, self._sampling)
        self._accountant.check_plan(planned, rounds, f"{rounds} round{'s' * (rounds > 1)}")

    def check_between(self, config: Config, *, waits: bool) -> None:
        """Refuse an aggregator in between that samples, or that may fold several updates of one trainer."""
        if not waits:
            raise RecipeError(
                "privacy at the server: an asynchronous aggregator below the top may take several updates of one"
                " trainer into one sum; make the tiers below the top synchronous, or add noise at the trainers"
            )
        if str(config.selector.sort) != "default":
            raise RecipeError(
                f"privacy at the server: in a tree, everybody is asked; selector.sort is {config.selector.sort!s},"
                " and the sampling that it makes of trainers cannot be accounted for"
            )

    def outgoing(self, update: Weights, samples: int) -> tuple[Weights | None, int]:
        """The clipped update; it counts as one, however many samples are behind it."""
        if samples <= 0 or not self._clipped(update):
            return None, 0
        if self._std:
            hide_integers(update)
        return update, 1

    def admit(self, end: str, extras: Mapping[str, Any]) -> None:
        """Refuse an update that was not clipped to this worker's threshold."""
        if extras.get("dp") != self.stamp["dp"]:
            raise RunError(
                f"an update of {end} was not clipped to {self._bound:g}: give all workers of the job the same privacy"
                f" settings (it says {extras.get('dp')!r})"
            )

    def release(self, cohort: Cohort) -> Perturb | None:
        """The noise of a round's mean, the same if it is asked for again before it is charged."""
        if not self._std and self._sampling != "poisson":
            return None
        if self._stream is None:
            self._stream = self._noise.stream()
        stream = self._stream
        expected = self._expected(cohort)
        factor, std = cohort.total / expected, self._std / expected

        def perturb(segment: int, where: slice, mean: NDArray[np.float64]) -> None:
            if factor != 1.0:
                np.multiply(mean, factor, out=mean)
            if std:
                stream.add(segment, where, mean, std)

        return perturb

    def state(self) -> Mapping[str, Any]:
        """The same, and whether the budget is spent."""
        return {**super().state(), "over": self._spent}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state` returned."""
        super().restore(state)
        self._spent = state["over"]

    @property
    def even_of_nobody(self) -> bool:
        """With independent sampling, that nobody was in the sample must not show."""
        return self._sampling == "poisson"

    def affords(self, cohort: Cohort) -> bool:
        """Whether the budget allows it; if not, the budget is spent from now on."""
        fits = self._accountant.affords(self._of(cohort))
        self._spent = self._spent or not fits
        return fits

    def charge(self, cohort: Cohort) -> None:
        """One more model has been released."""
        release = self._of(cohort)
        self._accountant.charge(release)
        self._spent = not self._accountant.affords(release)
        self._stream = None

    def _of(self, cohort: Cohort) -> Release:
        """What such a cohort's mean costs.

        Raises:
            RecipeError: aggregators were sampled, each with several trainers.
        """
        if self._sampling != "everybody" and cohort.samples > cohort.folded:
            raise RecipeError(
                "privacy at the server: the selector chooses among aggregators, each with several trainers, and such a"
                " sampling cannot be accounted for; ask everybody (selector.sort: default)"
            )
        rate = cohort.asked / cohort.there if self._sampling == "without-replacement" and cohort.there else self._rate
        return Release(self._z / max(1, cohort.most), rate, self._sampling)

    def _expected(self, cohort: Cohort) -> float:
        """What the sum is divided by: with independent sampling a number that does not tell how many there were."""
        return self._rate * cohort.there if self._sampling == "poisson" else cohort.total

    def _sampled(self, config: Config) -> None:
        """How the selector samples, and at which rate; the one of a fixed number is known only in a round."""
        sort, kwargs = str(config.selector.sort), config.selector.kwargs
        if sort == "poisson":
            self._sampling, self._rate = "poisson", float(kwargs.get("rate", 1.0))
        elif sort == "random":
            at_least = config.hyperparameters.min_peers or 0
            chosen = kwargs.get("k", 0)
            self._sampling = "without-replacement"
            self._rate = min(1.0, max(1, chosen) / at_least) if at_least else 1.0


def dp(
    *,
    noise: Noise | None = None,
    clip_threshold: Any = None,
    noise_factor: Any = None,
    noise_multiplier: Any = None,
    at: Any = "trainer",
    delta: Any = 1e-5,
    target_epsilon: Any = None,
    **others: Any,
) -> Local | Central:
    """Clipped updates with Gaussian noise, added by every trainer, or once at the top.

    Args:
        noise: the source of randomness.
        clip_threshold: C, the largest L2 norm of an update; infinite for no clipping.
        noise_factor: s, the standard deviation of the noise: on each update, or on the sum of a round's.
        noise_multiplier: s / C; one of the two is given.
        at: `trainer` or `server`.
        delta: the probability with which epsilon may be exceeded.
        target_epsilon: the epsilon that is not exceeded; none for no budget.
        **others: none are known.

    Raises:
        ConfigError: a setting that there is not, one that is missing, or a value that it cannot have.
    """
    refuse_others("privacy", "dp", others, SETTINGS)
    bound = _bound(clip_threshold)
    std = _std(bound, noise_factor, noise_multiplier)
    if at not in PLACES:
        raise ConfigError("privacy.kwargs.at", f"is {at!r}", f"choose one of {', '.join(PLACES)}")
    made = Local if at == "trainer" else Central
    return made(bound, std, accountant_of(delta, target_epsilon), noise or Noise())


def _bound(given: Any) -> float:
    if given is None:
        raise ConfigError("privacy.kwargs.clip_threshold", "dp needs it", "the largest L2 norm of an update, e.g. 1.0")
    if given != math.inf:
        check_number("privacy", "clip_threshold", given, least=0, beyond=True)
    return float(given)


def _std(bound: float, factor: Any, multiplier: Any) -> float:
    if (factor is None) == (multiplier is None):
        reason = "dp needs it, or noise_multiplier" if factor is None else "is given beside noise_multiplier"
        raise ConfigError("privacy.kwargs.noise_factor", reason, "give one: noise_multiplier is noise_factor / C")
    name, value = ("noise_factor", factor) if multiplier is None else ("noise_multiplier", multiplier)
    check_number("privacy", name, value, least=0)
    if multiplier is not None and multiplier and math.isinf(bound):
        raise ConfigError("privacy.kwargs.noise_multiplier", "needs a finite clip_threshold", "or give noise_factor")
    return float(value) if multiplier is None else (float(value) * bound if value else 0.0)
