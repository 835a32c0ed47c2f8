"""What a channel does to the weights of a message on their way out, and what it notes on their way in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from flame.channel.coding import Message, Sealed
from flame.compression import Compressor
from flame.compression.packed import pack, packed
from flame.compression.zstd import require
from flame.extend import lookup
from flame.tag import Channel
from flame.weights.layout import Allocate, Weights, plain_memory
from flame.wire.message import Order


class Packing:
    """Packs what one worker sends on one channel; it remembers what a compressor has left out.

    Args:
        name: the compressor's.
        compressor: made for this channel.
        allocate: memory for what is packed.
    """

    def __init__(self, name: str, compressor: Compressor, allocate: Allocate) -> None:
        self._name, self._compressor, self._allocate = name, compressor, allocate

    def of(self, message: Message) -> Message:
        """The message with its weights packed, once for all who get it."""
        if isinstance(message, Sealed) or message.weights is None:
            return message
        if self._compressor.relative and isinstance(message, Order):
            return plain(message)  # a model is no difference: what was left out of it would be missing
        before = packed(message.weights)
        if before is not None and before.name == self._name and isinstance(message, Order):
            return message  # it came like this from above: packing it again would only lose more
        weights = pack(message.weights, self._name, self._compressor, self._allocate)
        return msgspec.structs.replace(message, weights=weights)

    def state(self) -> Mapping[str, Any]:
        """What the compressor has left out so far."""
        return self._compressor.state()

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state` returned."""
        self._compressor.restore(state)


def packing_of(spec: Channel, allocate: Allocate = plain_memory) -> Packing | None:
    """What packs the weights that a worker sends on a channel; None where they go as they are.

    Raises:
        ConfigError: a setting is wrong, or what compression needs is not installed.
        ExtensionError: nobody knows the compressor.
    """
    choice = spec.compression
    if choice is None:
        return None
    require(f"channel {spec.name}: compression")
    return Packing(choice.sort, lookup("compression", choice.sort)(**choice.kwargs), allocate)


def plain(message: Message) -> Message:
    """The message with its weights as they are: what came packed does not go on packed by itself."""
    if isinstance(message, Sealed) or message.weights is None or packed(message.weights) is None:
        return message
    return msgspec.structs.replace(message, weights=Weights(message.weights.layout, message.weights.data))


def signed(message: Message, source: str) -> None:
    """Note on packed weights who sent them: it is lost if they turn out to be nonsense when they are unpacked."""
    small = None if isinstance(message, Sealed) else packed(message.weights)
    if small is not None and small.sender is None:
        small.sender = source
