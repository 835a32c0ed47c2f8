"""How messages become bytes, as far as a backend has to know."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from flame.wire.codec import Payload


@dataclass(frozen=True, slots=True)
class Coding:
    """How messages become bytes: given from outside, because a backend does not know what a message is.

    Attributes:
        to_payload: a message as bytes.
        from_payload: the message behind bytes; raises DecodeError.
        size_of: how many bytes a message counts for.
        may_wait: whether a message's large buffers may stay with its sender until they are needed.
    """

    to_payload: Callable[[object], Payload]
    from_payload: Callable[[Payload], object]
    size_of: Callable[[object], int]
    may_wait: Callable[[object], bool]
