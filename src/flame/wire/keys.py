"""The keys that a message between roles may have besides strings, as programs know them.

An algorithm's two halves talk under a key of their own in a message's extras; nothing is added here for it.
"""

from __future__ import annotations

from enum import IntEnum


class MessageType(IntEnum):
    """What a value in a message is; the number is what goes over the wire."""

    WEIGHTS = 1
    EOT = 2
    DATASET_SIZE = 3
    ROUND = 4
    MEMBER_DIGEST = 5
    RING_WEIGHTS = 6
    NEW_TRAINER = 7
    IS_COMMITTER = 8
    MODEL_VERSION = 9
    STAT_UTILITY = 10
    COORDINATED_ENDS = 11
    DATASAMPLER_METADATA = 12
    META_INFO_REQ = 13
    META_INFO_RES = 14
    ALPHA_ADPT = 15
    REQ_COORDINATED_ENDS = 16
    RES_COORDINATED_ENDS = 17
    HYBRID_METADATA = 18
    BIAS = 19
    CONTROL_WEIGHTS = 20
    CLIENT_WEIGHT = 21
