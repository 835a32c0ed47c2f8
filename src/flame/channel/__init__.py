"""Channels: a group of peers, and messages to and from each of them.

`Channel` and `End` are what programs written for Cisco's Flame know under this path; the constants too.
"""

from flame.channel.channel import (
    KEY_CH_SELECT_REQUESTER,
    KEY_CH_STATE,
    VAL_CH_STATE_RECV,
    VAL_CH_STATE_SEND,
    Channel,
)

__all__ = [
    "KEY_CH_SELECT_REQUESTER",
    "KEY_CH_STATE",
    "VAL_CH_STATE_RECV",
    "VAL_CH_STATE_SEND",
    "Channel",
]
