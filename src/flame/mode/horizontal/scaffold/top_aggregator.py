"""The aggregator of SCAFFOLD: it knows all sizes before it distributes."""

from flame.mode import sized
from flame.mode.aggregating import TAG_AGGREGATE, TAG_DISTRIBUTE
from flame.mode.sized import TAG_GET_DATASET_SIZE

TAG_GET_DATATSET_SIZE = TAG_GET_DATASET_SIZE

__all__ = ["TAG_AGGREGATE", "TAG_DISTRIBUTE", "TAG_GET_DATATSET_SIZE", "TopAggregator"]


class TopAggregator(sized.TopAggregator):
    """An aggregator."""

    algorithm = "scaffold"
