"""The aggregator of one cluster, which is the usual one: who works on its model is the trainers' choice."""

from flame.mode.aggregating import TAG_AGGREGATE, TAG_DISTRIBUTE, TopAggregator

__all__ = [
    "TAG_AGGREGATE",
    "TAG_DISTRIBUTE",
    "TopAggregator",
]
