"""No mechanism: updates go as they are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flame.common.settings import refuse_others
from flame.config import Config
from flame.privacy import Cohort, Perturb
from flame.weights.layout import Weights


class Default:
    """Protects nothing. It has no settings."""

    name = "default"
    stamp: dict[str, Any]

    def __init__(self, **others: Any) -> None:
        others.pop("noise", None)
        refuse_others("privacy", self.name, others)
        self.stamp = {}

    @property
    def epsilon(self) -> float | None:
        """None: nothing is counted."""
        return None

    @property
    def exhausted(self) -> bool:
        """Never: there is no budget."""
        return False

    @property
    def even_of_nobody(self) -> bool:
        """No: a round without answers changes nothing."""
        return False

    def check(self, config: Config, optimizer: Any, *, says_more: bool) -> None:
        """Goes with everything."""

    def check_between(self, config: Config, *, waits: bool) -> None:
        """Goes with everything."""

    def outgoing(self, update: Weights, samples: int) -> tuple[Weights | None, int]:
        """The update itself."""
        return update, samples

    def admit(self, end: str, extras: Mapping[str, Any]) -> None:
        """Takes everything."""

    def release(self, cohort: Cohort) -> Perturb | None:
        """None: the mean is taken as it is."""
        return None

    def affords(self, cohort: Cohort) -> bool:
        """Always."""
        return True

    def charge(self, cohort: Cohort) -> None:
        """Costs nothing."""

    def state(self) -> Mapping[str, Any]:
        """Keeps nothing."""
        return {}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Needs nothing."""

    def private(self, model: Any, optimizer: Any, loader: Any) -> tuple[Any, Any, Any]:
        """The same three."""
        return model, optimizer, loader
