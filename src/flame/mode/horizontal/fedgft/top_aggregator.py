"""The path under which programs know this role."""

from flame.mode.aggregating import TAG_AGGREGATE, TAG_DISTRIBUTE
from flame.mode.biased import TAG_AGGREGATE_BIAS, TAG_DISTRIBUTE_BIAS, TopAggregator

__all__ = ["TAG_AGGREGATE", "TAG_AGGREGATE_BIAS", "TAG_DISTRIBUTE", "TAG_DISTRIBUTE_BIAS", "TopAggregator"]
