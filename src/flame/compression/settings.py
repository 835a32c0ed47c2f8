"""Checks of the settings that a channel gives to a compressor."""

from __future__ import annotations

from collections.abc import Collection

from flame.errors import ConfigError


def refuse_others(sort: str, others: Collection[str], known: Collection[str]) -> None:
    """Refuse settings that a compressor does not have.

    Raises:
        ConfigError: there is one; it names those that there are.
    """
    for name in others:
        has = f"its settings are {', '.join(known)}" if known else "it has no settings"
        raise ConfigError(f"compression.kwargs.{name}", f"{sort} has no such setting", has)
