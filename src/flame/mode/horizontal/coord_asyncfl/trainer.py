"""The path under which programs know this role."""

from flame.mode.coordinating import TAG_COORDINATE
from flame.mode.coordinating import AsyncTrainer as Trainer
from flame.mode.horizontal.coord_asyncfl.channels import (
    CHANNEL_TRAINER_TO_MID,
    CHANNEL_TRAINNER_TO_MID,
)
from flame.mode.training import TAG_FETCH, TAG_UPLOAD

__all__ = [
    "CHANNEL_TRAINER_TO_MID",
    "CHANNEL_TRAINNER_TO_MID",
    "TAG_COORDINATE",
    "TAG_FETCH",
    "TAG_UPLOAD",
    "Trainer",
]
