"""The path under which programs know this role."""

from flame.mode.coordination import (
    TAG_COORDINATE_WITH_MID_AGG,
    TAG_COORDINATE_WITH_TOP_AGG,
    TAG_COORDINATE_WITH_TRAINER,
)
from flame.mode.coordination import AsyncCoordinator as Coordinator
from flame.mode.horizontal.coord_asyncfl.channels import (
    CHANNEL_MID_TO_TOP_AGG,
    CHANNEL_MID_TO_TRAINER,
    CHANNEL_MID_TO_TRAINNER,
    CHANNEL_TOP_TO_MID_AGG,
    CHANNEL_TRAINER_TO_MID,
    CHANNEL_TRAINNER_TO_MID,
)

__all__ = [
    "CHANNEL_MID_TO_TOP_AGG",
    "CHANNEL_MID_TO_TRAINER",
    "CHANNEL_MID_TO_TRAINNER",
    "CHANNEL_TOP_TO_MID_AGG",
    "CHANNEL_TRAINER_TO_MID",
    "CHANNEL_TRAINNER_TO_MID",
    "TAG_COORDINATE_WITH_MID_AGG",
    "TAG_COORDINATE_WITH_TOP_AGG",
    "TAG_COORDINATE_WITH_TRAINER",
    "Coordinator",
]
