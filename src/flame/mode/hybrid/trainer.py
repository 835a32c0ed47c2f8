"""The path under which programs know this role."""

from flame.mode.ringing import TAG_RING_ALLREDUCE
from flame.mode.ringing import HybridTrainer as Trainer
from flame.mode.training import TAG_FETCH, TAG_UPLOAD

__all__ = [
    "TAG_FETCH",
    "TAG_RING_ALLREDUCE",
    "TAG_UPLOAD",
    "Trainer",
]
