"""The path under which programs know this role."""

from flame.mode.ringing import TAG_RING_ALLREDUCE, Trainer

__all__ = [
    "TAG_RING_ALLREDUCE",
    "Trainer",
]
