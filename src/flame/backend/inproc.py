"""Messages between workers of one host: a reference changes hands, nothing is copied."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from flame.backend import Sink
from flame.backend.directory import Directory


class InProc:
    """The backend of a host that is alone: every end sits in it.

    Args:
        directory: who is where.
        size_of: how many bytes a message counts for, for the record of traffic.
    """

    def __init__(self, directory: Directory, size_of: Callable[[object], int]) -> None:
        self.directory = directory
        self._size_of = size_of
        self._sinks: dict[str, Sink] = {}

    def attach(self, end: str, sink: Sink) -> None:
        """Deliver what is sent to `end` to that sink."""
        self._sinks[end] = sink

    def send(self, channel: str, source: str, targets: Sequence[str], message: object) -> int:
        """Hand the message over; an end that has gone is passed over."""
        self.hand_over(channel, source, targets, message)
        return self._size_of(message) * len(targets)

    def hand_over(self, channel: str, source: str, targets: Sequence[str], message: object) -> None:
        """As `send`, for whoever counts the bytes itself."""
        sinks = self._sinks
        for target in targets:
            sink = sinks.get(target)
            if sink is not None:
                sink.deliver(channel, source, message)

    def holds(self, end: str) -> bool:
        """Whether an end sits in this host."""
        return end in self._sinks

    def detach(self, end: str) -> None:
        """Deliver nothing to `end` any more."""
        self._sinks.pop(end, None)

    def poll(self, timeout_s: float | None) -> None:
        """There is nobody outside."""
        if timeout_s is None:
            raise RuntimeError("a host that is alone waits for news from outside")

    @property
    def pending(self) -> bool:
        """Nothing ever waits."""
        return False

    @property
    def strangers(self) -> int:
        """Everybody is known."""
        return 0

    def flush(self) -> None:
        """Nothing is ever under way."""

    def close(self) -> None:
        """Nothing to leave behind."""
        self._sinks.clear()
