"""Making the selector that a config names."""

from __future__ import annotations

from collections.abc import Mapping
from random import Random
from typing import Any

from flame.common.own import made_with
from flame.extend import lookup
from flame.selector import Selector
from flame.selector.abstract import Adapted, is_own


def selector_of(sort: str, kwargs: Mapping[str, Any], generator: Random) -> Selector:
    """A selector; comments among its settings are left out.

    Args:
        sort: its name.
        kwargs: its settings.
        generator: the only source of chance that it may use; a program's own, in the form of Cisco's Flame, has none.

    Raises:
        ExtensionError: nobody knows a selector of that name.
        ConfigError: it does not take such settings.
    """
    factory, settings = lookup("selector", sort), {key: value for key, value in kwargs.items() if key != "//"}
    if is_own(factory):
        return Adapted(made_with("selector", sort, factory, settings))
    made: Selector = factory(generator=generator, **settings)
    return made
