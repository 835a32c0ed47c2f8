"""All samples are trained on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from flame.common.settings import refuse_others
from flame.datasampler import Ends


class _Silent:
    """Either half: there is nothing to say."""

    def state(self) -> Mapping[str, Any]:
        """Nothing."""
        return {}

    def restore(self, state: Mapping[str, Any]) -> None:
        """There is nothing to go on from."""

    def load_dataset(self, dataset: Any) -> Any:
        """The same dataset."""
        return dataset

    def sample(self, dataset: Any, **kwargs: Any) -> Any:
        """The whole dataset."""
        return dataset

    def get_metadata(self, round: int = 0, ends: Sequence[str] = ()) -> Mapping[str, Any]:
        """Nothing."""
        return {}

    def handle_metadata_from_aggregator(self, metadata: Mapping[str, Any]) -> None:
        """Does not listen."""

    def handle_metadata_from_trainer(self, metadata: Mapping[str, Any], end: str, channel: Ends) -> None:
        """Does not listen."""


class Default:
    """Leaves datasets as they are."""

    def __init__(self, **others: Any) -> None:
        refuse_others("datasampler", "default", others)
        self.trainer_data_sampler = _Silent()
        self.aggregator_data_sampler = _Silent()
