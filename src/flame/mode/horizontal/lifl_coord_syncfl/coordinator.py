"""The path under which programs know this role."""

from flame.mode.coordination import (
    TAG_COORDINATE_WITH_LEAF_AGG,
    TAG_COORDINATE_WITH_MID_AGG,
    TAG_COORDINATE_WITH_TOP_AGG,
    TAG_COORDINATE_WITH_TRAINER,
)
from flame.mode.coordination import DeepCoordinator as Coordinator

__all__ = [
    "TAG_COORDINATE_WITH_LEAF_AGG",
    "TAG_COORDINATE_WITH_MID_AGG",
    "TAG_COORDINATE_WITH_TOP_AGG",
    "TAG_COORDINATE_WITH_TRAINER",
    "Coordinator",
]
