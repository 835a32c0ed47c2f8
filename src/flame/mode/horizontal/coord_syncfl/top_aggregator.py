"""The path under which programs know this role."""

from flame.mode.aggregating import TAG_AGGREGATE, TAG_DISTRIBUTE
from flame.mode.coordinating import TAG_COORDINATE, TopAggregator

__all__ = [
    "TAG_AGGREGATE",
    "TAG_COORDINATE",
    "TAG_DISTRIBUTE",
    "TopAggregator",
]
