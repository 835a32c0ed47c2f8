"""The path under which programs know `selector_provider`."""

from __future__ import annotations

import random
from typing import Any

from flame.common.provider import Provider
from flame.extend import lookup
from flame.selector.abstract import is_own

__all__ = ["selector_provider"]


class _Selectors(Provider):
    def get(self, key: str, **kwargs: Any) -> Any:
        """A new selector, with a source of chance of its own if none is given."""
        own = is_own(lookup("selector", str(key)))
        return super().get(key, **kwargs if own else {"generator": random.Random(), **kwargs})


selector_provider = _Selectors("selector")
