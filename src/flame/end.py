"""A peer on a channel, as selectors written for Cisco's Flame see it."""

from __future__ import annotations

from typing import Any

KEY_END_STATE = "state"
VAL_END_STATE_RECVD = "recvd"
VAL_END_STATE_NONE = ""


class End:
    """What is remembered about a peer.

    Args:
        end_id: the peer's id.
        properties: what is known about it; kept by the channel.
    """

    def __init__(self, end_id: str, properties: dict[str, object] | None = None) -> None:
        self._id = end_id
        self.properties: dict[str, Any] = {} if properties is None else properties

    def id(self) -> str:
        """The peer's id."""
        return self._id

    def set_property(self, key: str, value: object) -> None:
        """Remember something."""
        self.properties[key] = value

    def get_property(self, key: str) -> Any:
        """What is remembered; None if nothing is."""
        return self.properties.get(key)

    def reset_property(self, key: str) -> None:
        """Forget something."""
        self.properties.pop(key, None)

    def cleanup_properties(self) -> None:
        """Forget everything."""
        self.properties.clear()
