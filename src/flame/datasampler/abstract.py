"""Data samplers as they are written for Cisco's Flame."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

from flame.datasampler.ends import Ends


class AbstractTrainerDataSampler(ABC):
    """The half of whoever trains."""

    @abstractmethod
    def load_dataset(self, dataset: Any) -> Any:
        """The program's dataset, as the program is to go on with it."""

    @abstractmethod
    def sample(self, dataset: Any, **kwargs: Any) -> Any:
        """The samples of this round."""

    @abstractmethod
    def get_metadata(self) -> Mapping[str, Any]:
        """What the other half is told with an update: plain values."""

    @abstractmethod
    def handle_metadata_from_aggregator(self, metadata: Mapping[str, Any]) -> None:
        """What the other half tells with an order."""


class AbstractAggregatorDataSampler(ABC):
    """The half of whoever aggregates."""

    @abstractmethod
    def get_metadata(self, round: int, ends: Sequence[str]) -> Mapping[str, Any]:
        """What the other half is told with the orders of a round: plain values."""

    @abstractmethod
    def handle_metadata_from_trainer(self, metadata: Mapping[str, Any], end: str, channel: Ends) -> None:
        """What the other half tells with an update."""


class AbstractDataSampler(ABC):
    """Both halves; the constructor of a subclass makes them.

    Attributes:
        trainer_data_sampler: the half of whoever trains.
        aggregator_data_sampler: the half of whoever aggregates.
    """

    AbstractTrainerDataSampler = AbstractTrainerDataSampler
    AbstractAggregatorDataSampler = AbstractAggregatorDataSampler

    trainer_data_sampler: Any
    aggregator_data_sampler: Any
