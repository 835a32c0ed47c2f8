"""What a config may say where nobody leads, and what it may not; and what of a round goes to the others."""

from __future__ import annotations

import logging
from collections.abc import Callable

from flame.channel.channel import Channel
from flame.channel.surroundings import Surroundings
from flame.config import Config
from flame.engine.gate import Gate, WhenLost
from flame.engine.parts import gate_of
from flame.errors import RecipeError, RunError
from flame.mode.training import CHECKED
from flame.weights.layout import Weights
from flame.wire.message import Order

logger = logging.getLogger(__name__)

ALONE = ("fedavg", "fedprox")
"""The optimizers that have no half for an aggregator, and none that waits for its word."""


def check_equals(config: Config) -> None:
    """Refuse what needs somebody who leads, because nobody would act on it.

    Raises:
        RecipeError: an optimizer with a half for an aggregator, a mechanism of privacy, a selector, `topk`, or a gate
            that waits or counts.
    """
    sort = str(config.optimizer.sort)
    if sort not in ALONE:
        raise RecipeError(f"optimizer.sort: {sort} needs an aggregator, and here there is none: {' or '.join(ALONE)}")
    for setting, chosen in (("privacy", config.privacy.sort), ("datasampler", config.datasampler.sort)):
        if str(chosen) != "default":
            raise RecipeError(f"{setting}.sort: {chosen} is for updates to an aggregator; here whole models travel")
    if str(config.selector.sort) != "default":
        raise RecipeError(f"selector.sort: {config.selector.sort} chooses for an aggregator, and here there is none")
    gate = gate_of(config)
    if str(config.gate.sort) != "everyone" or gate.when_lost is WhenLost.WAIT or gate.at_least:
        raise RecipeError("gate: where nobody leads it is everyone, with whenLost continue or stop and no atLeast")
    for name, channel in config.channels.items():
        if channel.compression is not None and str(channel.compression.sort) == "topk":
            raise RecipeError(f"channels.{name}.compression: topk packs differences; whole models travel here")


def equals_gate(config: Config) -> Gate:
    """What follows when somebody goes."""
    return gate_of(config)


def names_of(around: Surroundings) -> Callable[[str], str]:
    """How workers are named, so that all agree: as the run names them, or by their ids where they run one by one."""
    return around.readable if around.fiber is not None else lambda end: end


def await_others(channel: Channel, config: Config, around: Surroundings) -> None:
    """Wait until `hyperparameters.minPeers` workers are there, this one included; needless within a run.

    Raises:
        RunError: they are not, for as long as the job may run.
    """
    if around.fiber is not None:
        return
    at_least = max(1, (config.hyperparameters.min_peers or 2) - 1)
    limit_s = config.max_run_time or None
    if channel.await_join(limit_s, at_least):
        raise RunError(f"{len(channel.all_ends())} of {at_least} others came to {channel.name()} within {limit_s} s")


def fit_to_send(own: Weights, order: Order | None, name: str) -> Weights:
    """The model that a worker has trained; or, if it would poison the others', the one that it began the round from."""
    bad = own.not_finite() if own.layout.size <= CHECKED else []
    if not bad or order is None or order.weights is None:
        return own
    logger.warning("%s sends what it began round %s from: %s is not finite", name, order.round, ", ".join(bad))
    return order.weights
