"""The base of registries as they are written for Cisco's Flame."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

from flame.config import Config


class AbstractRegistryClient(ABC):
    """One worker's registry; see `flame.registry.Registry` for what is asked of it."""

    @abstractmethod
    def __call__(self, config: Config) -> None:
        """Take the worker's config."""

    @abstractmethod
    def setup_run(self) -> None:
        """Begin a run."""

    @abstractmethod
    def save_metrics(self, epoch: int, metrics: Mapping[str, Any] | None) -> None:
        """Keep what was measured in a round, counted from 0."""

    @abstractmethod
    def save_params(self, hyperparameters: Any) -> None:
        """Keep the hyperparameters."""

    @abstractmethod
    def save_model(self, name: str, model: Any) -> None:
        """Keep a model as the next version of that name."""

    @abstractmethod
    def load_model(self, name: str, version: int) -> Any:
        """A model that was kept."""

    def cleanup(self) -> None:  # noqa: B027  (registries of programs need not have one)
        """End the run."""
