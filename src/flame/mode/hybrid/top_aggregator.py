"""The path under which programs know this role; any synchronous aggregator may stand above rings."""

from flame.mode.aggregating import TAG_AGGREGATE, TAG_DISTRIBUTE, TopAggregator

__all__ = [
    "TAG_AGGREGATE",
    "TAG_DISTRIBUTE",
    "TopAggregator",
]
