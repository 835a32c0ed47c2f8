"""Drawing by weight.

P. S. Efraimidis, P. G. Spirakis: Weighted random sampling with a reservoir. Information Processing Letters, 2006.
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping


def drawn(weights: Mapping[str, float], size: int, generator: random.Random) -> list[str]:
    """So many of some ends, without replacement, each time with a chance in proportion to its weight.

    An end without weight is drawn only if no other is left. Costs O(n log n) for n ends.
    """
    keys = {end: _key(weight, generator) for end, weight in weights.items()}
    return sorted(keys, key=lambda end: keys[end], reverse=True)[:size]


def _key(weight: float, generator: random.Random) -> float:
    """The logarithm of u ** (1 / weight)."""
    chance = 1.0 - generator.random()
    return math.log(chance) / weight if weight > 0 else -math.inf
