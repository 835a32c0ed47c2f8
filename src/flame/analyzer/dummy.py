"""The analyzer that finds nothing."""

from __future__ import annotations

from typing import Any

from flame.analyzer import AbstractAnalyzer


class DummyAnalyzer(AbstractAnalyzer):
    """Finds nothing."""

    def run(self, model: Any, dataset: Any) -> None:
        """Look away."""
