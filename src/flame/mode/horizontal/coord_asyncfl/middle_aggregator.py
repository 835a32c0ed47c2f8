"""The path under which programs know this role."""

from flame.mode.aggregating import TAG_AGGREGATE, TAG_DISTRIBUTE, WAIT_TIME_FOR_TRAINER
from flame.mode.coordinating import TAG_COORDINATE
from flame.mode.coordinating import AsyncMiddleAggregator as MiddleAggregator
from flame.mode.horizontal.coord_asyncfl.channels import (
    CHANNEL_MID_TO_TOP_AGG,
    CHANNEL_MID_TO_TRAINER,
    CHANNEL_MID_TO_TRAINNER,
)
from flame.mode.training import TAG_FETCH, TAG_UPLOAD

__all__ = [
    "CHANNEL_MID_TO_TOP_AGG",
    "CHANNEL_MID_TO_TRAINER",
    "CHANNEL_MID_TO_TRAINNER",
    "TAG_AGGREGATE",
    "TAG_COORDINATE",
    "TAG_DISTRIBUTE",
    "TAG_FETCH",
    "TAG_UPLOAD",
    "WAIT_TIME_FOR_TRAINER",
    "MiddleAggregator",
]
