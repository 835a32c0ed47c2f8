"""Where models and metrics are kept: the contract."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from flame.config import Config


class Registry(Protocol):
    """One worker's registry."""

    def __call__(self, config: Config) -> None:
        """Take the worker's config."""

    def setup_run(self) -> None:
        """Begin a run."""

    def save_metrics(self, epoch: int, metrics: Mapping[str, Any]) -> None:
        """Keep what was measured in a round, counted from 0."""

    def save_params(self, hyperparameters: Any) -> None:
        """Keep the hyperparameters."""

    def save_model(self, name: str, model: Any) -> None:
        """Keep a model as the next version of that name."""

    def load_model(self, name: str, version: int) -> Any:
        """A model that was kept."""

    def cleanup(self) -> None:
        """End the run."""
