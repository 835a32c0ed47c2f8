"""The path under which programs know this role."""

from flame.mode.aggregating import TAG_AGGREGATE, TAG_DISTRIBUTE
from flame.mode.coordinating import TAG_COORDINATE
from flame.mode.coordinating import AsyncTopAggregator as TopAggregator
from flame.mode.horizontal.coord_asyncfl.channels import (
    CHANNEL_TOP_TO_MID_AGG,
)

__all__ = [
    "CHANNEL_TOP_TO_MID_AGG",
    "TAG_AGGREGATE",
    "TAG_COORDINATE",
    "TAG_DISTRIBUTE",
    "TopAggregator",
]
