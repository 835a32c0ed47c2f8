"""What peers have sent, until it is taken."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from typing import Any

import msgspec

from flame.channel.coding import Message, read_back, written
from flame.channel.packing import signed


class Came(msgspec.Struct, frozen=True, gc=False):
    """A message that has come.

    Attributes:
        number: how many have come before it, of all peers.
        at: when it came, in seconds since the epoch.
        message: what it says.
    """

    number: int
    at: float
    message: Message


class Inbox:
    """A queue for each peer; the numbers of what came tell in which order it did over all of them."""

    def __init__(self) -> None:
        self._boxes: dict[str, deque[Came]] = {}
        self._came = 0

    def put(self, source: str, message: Message, at: float | None = None) -> None:
        """Take in a message of a peer, which came now unless it is said when."""
        signed(message, source)
        self._came += 1
        box = self._boxes.get(source)
        if box is None:
            box = self._boxes[source] = deque()
        box.append(Came(self._came, time.time() if at is None else at, message))

    def holds(self, end: str) -> bool:
        """Whether something of a peer is here."""
        return bool(self._boxes.get(end))

    def next(self, end: str) -> Came | None:
        """A peer's oldest message, left where it is; None if there is none."""
        box = self._boxes.get(end)
        return box[0] if box else None

    def take(self, end: str) -> Came | None:
        """A peer's oldest message; None if there is none."""
        box = self._boxes.get(end)
        return box.popleft() if box else None

    def anybody(self) -> str | None:
        """A peer of which something is here; None if there is none."""
        return next((end for end, box in self._boxes.items() if box), None)

    def first(self) -> str | None:
        """The peer whose message came first, of all that are here; None if there are none."""
        return min((end for end, box in self._boxes.items() if box), key=self.number, default=None)

    def number(self, end: str) -> int:
        """The number of a peer's oldest message; 0, which is before all others, if there is none."""
        box = self._boxes.get(end)
        return box[0].number if box else 0

    def clear(self) -> None:
        """Throw everything away."""
        self._boxes.clear()

    def state(self) -> list[Any]:
        """What is here, in the order in which it came, as plain values.

        Raises:
            PeerLost: a message lies with a peer that has gone.
        """
        waiting = [(came, end) for end, box in self._boxes.items() for came in box]
        waiting.sort(key=lambda pair: pair[0].number)
        return [(end, came.at, *written(came.message)) for came, end in waiting]

    def restore(self, state: Sequence[Any]) -> None:
        """Take in again what `state` returned. Raises DecodeError if there is a message in it that is none."""
        for end, at, header, buffers in state:
            self.put(end, read_back(header, buffers), at)
