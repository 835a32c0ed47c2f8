"""Factories by key, as programs know them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class ObjectFactory:
    """Makes objects by the key that their builder was registered under."""

    def __init__(self) -> None:
        self._builders: dict[Any, Callable[..., Any]] = {}

    def register(self, key: Any, builder: Callable[..., Any]) -> None:
        """Let a key lead to a builder."""
        self._builders[key] = builder

    def create(self, key: Any, **kwargs: Any) -> Any:
        """What the builder of a key makes.

        Raises:
            ValueError: no builder has that key.
        """
        if key not in self._builders:
            raise ValueError(key)
        return self._builders[key](**kwargs)
