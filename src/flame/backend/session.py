"""What two processes have said to each other, whatever carries it: nothing is lost, doubled or out of order.

Connections come and go, and some lose, double or reorder what they carry. A session outlives them. Its frames are
numbered; what the other side has not confirmed is kept and said again. No I/O and no clock.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

F = TypeVar("F")

MOST_EARLY, MOST_EARLY_BYTES = 1024, 64 << 20
"""How many frames may be kept that came before one that is missing; others are dropped, and will be said again."""


class Session(Generic[F]):
    """One side of a conversation.

    Args:
        end: who is at the other side.
        number: what this side calls the session, chosen at random.
        size_of: how many bytes a frame takes.

    Attributes:
        theirs: what the other side calls it; empty until it has said so.
        open: whether both sides agree that this is the session: what was kept may be said now.
        heard: the number of the last frame before which none is missing.
        kept: how many frames wait to be confirmed.
    """

    def __init__(self, end: str, number: bytes, size_of: Callable[[F], int]) -> None:
        self.end = end
        self.number = number
        self._size_of = size_of
        self.theirs = b""
        self.open = False
        self.heard = 0
        self._said = 0
        self._kept: deque[tuple[int, F]] = deque()
        self._early: dict[int, F] = {}
        self._early_bytes = 0

    @property
    def kept(self) -> int:
        """How many frames wait to be confirmed."""
        return len(self._kept)

    def say(self, frame: F) -> int:
        """Number a frame and keep it until it is confirmed; returns its number."""
        self._said += 1
        self._kept.append((self._said, frame))
        return self._said

    def confirmed(self, number: int) -> bool:
        """The other side has heard everything up to a number; whether it can have."""
        if number > self._said:
            return False
        while self._kept and self._kept[0][0] <= number:
            self._kept.popleft()
        return True

    def again(self) -> Iterator[tuple[int, F]]:
        """Everything that is not confirmed, in order."""
        return iter(list(self._kept))

    def hear(self, number: int, frame: F) -> list[F]:
        """A frame has come; returns those that are in order now, which may be none or several."""
        if number <= self.heard or number in self._early:
            return []
        if number != self.heard + 1:
            nbytes = self._size_of(frame)
            if len(self._early) < MOST_EARLY and self._early_bytes + nbytes <= MOST_EARLY_BYTES:
                self._early[number] = frame
                self._early_bytes += nbytes
            return []
        ready = [frame]
        self.heard += 1
        while self._early and self.heard + 1 in self._early:
            self.heard += 1
            ready.append(self._early.pop(self.heard))
            self._early_bytes -= self._size_of(ready[-1])
        return ready
