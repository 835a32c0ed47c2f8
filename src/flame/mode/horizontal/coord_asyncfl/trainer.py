"""The path under which programs know this role."""

from flame.mode.coordinating import TAG_COORDINATE
from flame.mode.coordinating import AsyncTrainer as Trainer
from flame.mode.training import TAG_FETCH, TAG_UPLOAD

__all__ = [
    "TAG_COORDINATE",
    "TAG_FETCH",
    "TAG_UPLOAD",
    "Trainer",
]
