"""When is a round's answer enough?"""

from __future__ import annotations

from collections.abc import Callable

Gate = Callable[[int, int], bool]
"""From how many have answered or gone, and how many were asked, to whether that is enough."""


def everyone(settled: int, asked: int) -> bool:
    """Enough when everybody who was asked has answered or gone."""
    return settled >= asked
