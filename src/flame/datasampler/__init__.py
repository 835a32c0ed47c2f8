"""What a data sampler is: it says which of a worker's samples are trained on in a round.

The `sort` of a config's `datasampler` leads to it through `flame.extend`. It has two halves that tell each other
plain values, which come from a network. A half that has `state()` and `restore(state)` is kept in checkpoints.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from flame.datasampler.abstract import (
    AbstractAggregatorDataSampler,
    AbstractDataSampler,
    AbstractTrainerDataSampler,
)
from flame.datasampler.ends import Ends

__all__ = [
    "NAME",
    "AbstractAggregatorDataSampler",
    "AbstractDataSampler",
    "AbstractTrainerDataSampler",
    "AggregatorDataSampler",
    "DataSampler",
    "Ends",
    "TrainerDataSampler",
]

NAME = "datasampler"
"""The extra by which the halves talk."""


class TrainerDataSampler(Protocol):
    """The half of whoever trains."""

    def load_dataset(self, dataset: Any) -> Any:
        """The program's dataset, as the program is to go on with it."""

    def sample(self, dataset: Any, **kwargs: Any) -> Any:
        """The samples of this round."""

    def get_metadata(self) -> Mapping[str, Any]:
        """What the other half is told with an update."""

    def handle_metadata_from_aggregator(self, metadata: Mapping[str, Any]) -> None:
        """What the other half tells with an order."""


class AggregatorDataSampler(Protocol):
    """The half of whoever aggregates."""

    def get_metadata(self, round: int, ends: Sequence[str]) -> Mapping[str, Any]:
        """What the other half is told with the orders of a round."""

    def handle_metadata_from_trainer(self, metadata: Mapping[str, Any], end: str, channel: Ends) -> None:
        """What the other half tells with an update."""


class DataSampler(Protocol):
    """Both halves."""

    @property
    def trainer_data_sampler(self) -> TrainerDataSampler:
        """The half of whoever trains."""

    @property
    def aggregator_data_sampler(self) -> AggregatorDataSampler:
        """The half of whoever aggregates."""
