"""The registry that keeps nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flame.config import Config


class DummyRegistry:
    """Keeps nothing."""

    def __call__(self, config: Config) -> None:
        """Need nothing."""

    def setup_run(self) -> None:
        """Begin nothing."""

    def save_metrics(self, epoch: int, metrics: Mapping[str, Any]) -> None:
        """Keep nothing."""

    def save_params(self, hyperparameters: Any) -> None:
        """Keep nothing."""

    def save_model(self, name: str, model: Any) -> None:
        """Keep nothing."""

    def load_model(self, name: str, version: int) -> None:
        """There is nothing."""

    def cleanup(self) -> None:
        """End nothing."""
