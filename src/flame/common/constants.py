"""Constants that programs import."""

from __future__ import annotations

from enum import Enum, IntEnum

DATA_FOLDER_PATH = "/flame/data"
MQTT_TOPIC_PREFIX = "/flame"
MSG_LEN_FIELD_SIZE = 4
DEFAULT_RUN_ASYNC_WAIT_TIME = 10
EMPTY_PAYLOAD = b""
UNIX_SOCKET_PATH = "/tmp/flame.sock"
"""Nothing of Flame is there, as nothing of upstream was: workers of one machine meet in a folder of their own."""
PROP_ROUND_START_TIME = "round_start_time"
PROP_ROUND_END_TIME = "round_end_time"


class CommType(IntEnum):
    """Whether a message goes to every end of a channel or to one."""

    BROADCAST = 0
    UNICAST = 1


class DeviceType(Enum):
    """Where tensors live."""

    CPU = 1
    GPU = 2


class TrainState(Enum):
    """At which point of a round an algorithm is asked to remember something."""

    PRE = "pre"
    DURING = "during"
    POST = "post"
