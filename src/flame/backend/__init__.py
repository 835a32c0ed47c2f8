"""How a message gets from one worker to another: the contract.

A backend knows where every end is and carries messages to it. Between workers of one host a message goes by reference;
to another host it goes as bytes. `inproc` is the first, `shm` is both.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from flame.backend.directory import Directory


class Sink(Protocol):
    """Where a worker's messages are put down."""

    def deliver(self, channel: str, source: str, message: object) -> None:
        """Take one message that `source` sent on `channel`. The message is not to be changed."""


class Backend(Protocol):
    """Carries messages, in the order in which they were sent between two ends."""

    @property
    def directory(self) -> Directory:
        """Who is where."""

    @property
    def pending(self) -> bool:
        """Whether something that was sent waits here until it is polled for."""

    @property
    def strangers(self) -> int:
        """How many processes are there, and have not said yet who is in them."""

    def attach(self, end: str, sink: Sink) -> None:
        """From now on deliver what is sent to `end` to that sink."""

    def send(self, channel: str, source: str, targets: Sequence[str], message: object) -> int:
        """Send one message to some ends; returns how many bytes it is. An end that has gone is passed over."""

    def poll(self, timeout_s: float | None) -> None:
        """Take in and give out what can be; wait at most so long for something to do."""

    def flush(self) -> None:
        """Return when everything that was sent has left this process."""

    def close(self) -> None:
        """Leave: peers learn that this host's ends have gone. Flushes first."""
