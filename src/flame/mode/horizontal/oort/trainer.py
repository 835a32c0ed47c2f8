"""The path under which programs know this role."""

from flame.mode.guided import Trainer
from flame.mode.training import TAG_FETCH, TAG_UPLOAD

__all__ = [
    "TAG_FETCH",
    "TAG_UPLOAD",
    "Trainer",
]
