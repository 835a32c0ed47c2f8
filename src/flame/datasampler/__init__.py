"""What a data sampler is: it says which of a worker's samples are trained on in a round.

The `sort` of a config's `datasampler` leads to it through `flame.extend`. It has two halves that tell each other
plain values, which come from a network. A half that has `state()` and `restore(state)` is kept in checkpoints.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

NAME = "datasampler"
"""The extra by which the halves talk."""


class Ends(Protocol):
    """What an aggregator's half sees of its channel."""

    def get_end_property(self, end: str, key: str) -> object:
        """What is known about a peer: `round_duration`, in seconds; None where everybody takes equally long."""


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
