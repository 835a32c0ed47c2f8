"""The data on which an aggregator's analysis runs."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any


class Dataset:
    """Samples and labels, either given or taken from the first batch of a loader.

    Args:
        x: the samples.
        y: the labels, in the order of the samples.
        dataloader: yields batches whose first two items are samples and labels; one batch is drawn, once, so
            that samples and labels belong together even when the loader shuffles.

    Raises:
        ValueError: nothing was given, or the loader is empty.
    """

    __slots__ = ("x", "y")

    def __init__(self, x: Any = None, y: Any = None, dataloader: Iterable[Any] | None = None) -> None:
        if x is None and y is None and dataloader is None:
            raise ValueError("x, y and dataloader are None")
        if dataloader is not None:
            batch = next(iter(dataloader), None)
            if batch is None:
                raise ValueError("dataloader yields no batch")
            x, y = batch[0], batch[1]
        self.x, self.y = x, y

    def get(self) -> tuple[Any, Any]:
        """The samples and the labels."""
        return self.x, self.y
