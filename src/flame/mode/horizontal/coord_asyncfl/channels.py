"""What asynchronous roles ask a coordinator about, as programs written for Cisco's Flame name it.

Upstream's roles say one of these in every request. Here the coordinator says who works with whom when it changes, and
is not asked; the names are for programs that print or compare them. Their values are spelt as upstream spells them.
"""

CHANNEL_TOP_TO_MID_AGG = "channel_top_to_mid_agg"
CHANNEL_MID_TO_TOP_AGG = "channel_mid_to_top_agg"
CHANNEL_MID_TO_TRAINNER = CHANNEL_MID_TO_TRAINER = "channel_mid_to_trainner"
CHANNEL_TRAINNER_TO_MID = CHANNEL_TRAINER_TO_MID = "channel_trainner_to_mid"

__all__ = [
    "CHANNEL_MID_TO_TOP_AGG",
    "CHANNEL_MID_TO_TRAINER",
    "CHANNEL_MID_TO_TRAINNER",
    "CHANNEL_TOP_TO_MID_AGG",
    "CHANNEL_TRAINER_TO_MID",
    "CHANNEL_TRAINNER_TO_MID",
]
