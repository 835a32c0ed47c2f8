"""What one trainer has answered, as optimizers written for Cisco's Flame see it."""

from __future__ import annotations

from dataclasses import dataclass

from flame.common.typing import ModelWeights


@dataclass(slots=True)
class TrainResult:
    """One update.

    Attributes:
        weights: by how much the trainer has changed the model, in the framework's form.
        count: how many samples are behind it.
        version: the round of the model that it began from, in asynchronous rounds; otherwise 0.
    """

    weights: ModelWeights | None = None
    count: int = 0
    version: int = 0
