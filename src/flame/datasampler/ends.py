"""What a data sampler may look at."""

from __future__ import annotations

from typing import Protocol


class Ends(Protocol):
    """What an aggregator's half sees of its channel."""

    def get_end_property(self, end: str, key: str) -> object:
        """What is known about a peer: `round_duration`, in seconds; None where everybody takes equally long."""
