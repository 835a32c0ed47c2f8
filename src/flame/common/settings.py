"""Checks of the settings that a config gives to what it has chosen."""

from __future__ import annotations

import math
from collections.abc import Collection
from typing import Any

from flame.errors import ConfigError


def refuse_others(kind: str, sort: str, others: Collection[str], known: Collection[str] = ()) -> None:
    """Refuse settings that a choice, such as the optimizer `fedavg`, does not have.

    Raises:
        ConfigError: there is one; it names those that there are.
    """
    for name in others:
        has = f"its settings are {', '.join(known)}" if known else "it has no settings"
        raise ConfigError(f"{kind}.kwargs.{name}", f"{sort} has no such setting", has)


def check_number(
    kind: str, name: str, value: Any, *, least: float, below: float = math.inf, beyond: bool = False
) -> None:
    """Refuse a setting that is not a number in the range [least, below).

    Args:
        kind: what was chosen, e.g. `optimizer`.
        name: the setting.
        value: what was given.
        least: the smallest value.
        below: every value is smaller than this.
        beyond: `least` itself is too small.

    Raises:
        ConfigError: it is not.
    """
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not least <= value < below or (beyond and value == least):
        upper = "" if below == math.inf else f" and below {below:g}"
        raise ConfigError(
            f"{kind}.kwargs.{name}",
            f"a number {'above' if beyond else 'of at least'} {least:g}{upper} is needed, not {value!r}",
        )
