"""What a mechanism cannot be combined with, whichever it is: whatever tells of the data past it."""

from __future__ import annotations

from flame.config import Config
from flame.errors import ConfigError, ExtensionError, RecipeError
from flame.extend import lookup

BLIND = {"default", "random", "poisson", "fedbuff"}
"""Selectors that choose without looking at what anybody sent; another one says so with a true attribute `blind`."""


def refuse_what_says_more(name: str, config: Config, talkative: str) -> None:
    """Refuse choices by which a trainer tells more than its update.

    Args:
        name: the mechanism's.
        config: the worker's.
        talkative: the name of an optimizer that has trainers send more than updates; "" for one that has not.

    Raises:
        RecipeError: there is one; it is named.
    """
    if talkative:
        raise RecipeError(
            f"privacy.sort: {name} protects updates, and optimizer {talkative} has trainers send more than that;"
            " choose one whose trainers send nothing else, such as fedavg, fedprox or fedadam"
        )
    if str(config.datasampler.sort) != "default":
        raise RecipeError(
            f"privacy.sort: {name} protects updates, and datasampler {config.datasampler.sort!s} has trainers send what"
            " it measured on their samples; leave it at default"
        )
    sort = str(config.selector.sort)
    if sort not in BLIND and not _blind(sort):
        raise RecipeError(
            f"privacy.sort: {name} protects updates, and selector {sort} may choose by what else trainers send;"
            f" choose one of {', '.join(sorted(BLIND))}"
        )


def refuse_rings(name: str, config: Config) -> None:
    """Refuse channels over which workers of one role talk with each other.

    Raises:
        RecipeError: there is one.
    """
    for channel in config.channels.values():
        first, second = channel.pair
        if first == second == config.role:
            raise RecipeError(
                f"privacy.sort: {name} protects what goes to an aggregator, and channel {channel.name} joins"
                f" {config.role}s with each other; what they say there would go as it is"
            )


def _blind(sort: str) -> bool:
    try:
        return bool(getattr(lookup("selector", sort), "blind", False))
    except (ExtensionError, ConfigError):
        return False
