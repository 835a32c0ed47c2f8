"""The path under which programs know this role; any synchronous aggregator may stand above rings."""

from flame.mode.aggregating import TAG_AGGREGATE, TAG_DISTRIBUTE, TopAggregator
from flame.mode.ringing import GROUP_UNIDENTIFIED

__all__ = [
    "GROUP_UNIDENTIFIED",
    "TAG_AGGREGATE",
    "TAG_DISTRIBUTE",
    "TopAggregator",
]
