"""What a name in a config may choose, as programs register and ask for it."""

from __future__ import annotations

from typing import Any

from flame.extend import lookup, register


class Provider:
    """One kind of the table in `flame.extend`."""

    def __init__(self, kind: str) -> None:
        self._kind = kind

    def register(self, key: str, cls: Any) -> None:
        """Let a config's `sort` lead to a class."""
        register(self._kind, str(key), cls)

    def get(self, key: str, **kwargs: Any) -> Any:
        """A new one.

        Raises:
            ValueError: nobody registered that key.
        """
        return lookup(self._kind, str(key))(**kwargs)
