"""Analyzers: plug-ins that look at the model of every round, and what they find goes into the metrics."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import Any

from flame.plugin import Plugin


class AbstractAnalyzer(Plugin):
    """Looks at the model and the data that the aggregator evaluates on."""

    def callback(self) -> Callable[..., Any]:
        """`run`."""
        return self.run

    @abstractmethod
    def run(self, model: Any, dataset: Any) -> dict[str, Any] | None:
        """What to add to the round's metrics; None for nothing."""
