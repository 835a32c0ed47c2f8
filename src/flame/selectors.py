"""The path under which programs know `selector_provider`."""

from __future__ import annotations

import random
from typing import Any

from flame.common.provider import Provider

__all__ = ["selector_provider"]


class _Selectors(Provider):
    def get(self, key: str, **kwargs: Any) -> Any:
        """A new selector, with a source of chance of its own if none is given."""
        return super().get(key, **{"generator": random.Random(), **kwargs})


selector_provider = _Selectors("selector")
