"""A peer on a channel, as selectors and transports written for Cisco's Flame see it."""

from __future__ import annotations

from asyncio import Queue
from collections import deque
from functools import cached_property
from typing import Any

KEY_END_STATE = "state"
VAL_END_STATE_RECVD = "recvd"
VAL_END_STATE_NONE = ""


class End:
    """What is remembered about a peer, and, for a transport, what goes to it and comes from it.

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

    # -- what a transport moves; made when it is first asked for ------------------------------------------------

    @cached_property
    def _rxq(self) -> Queue[Any]:
        return Queue()

    @cached_property
    def _txq(self) -> Queue[Any]:
        return Queue()

    @cached_property
    def _peeked(self) -> deque[Any]:
        return deque()

    def get_rxq(self) -> Queue[Any]:
        """What has come from the peer; one asyncio loop's."""
        return self._rxq

    def get_txq(self) -> Queue[Any]:
        """What is to go to the peer; one asyncio loop's."""
        return self._txq

    async def put(self, payload: bytes) -> None:
        """Put down what has come from the peer."""
        await self._rxq.put(payload)

    async def get(self) -> Any:
        """Wait for what has come first, and take it."""
        return self._peeked.popleft() if self._peeked else await self._rxq.get()

    async def peek(self) -> Any:
        """What has come first, left where it is; None if nothing has."""
        if not self._peeked and not self._rxq.empty():
            self._peeked.append(self._rxq.get_nowait())
        return self._peeked[0] if self._peeked else None

    def is_rxq_empty(self) -> bool:
        """Whether nothing has come that was not taken; what was peeked at is still there."""
        return not self._peeked and self._rxq.empty()

    def is_txq_empty(self) -> bool:
        """Whether nothing is to go to the peer."""
        return self._txq.empty()
