"""What roles say to each other: an `Order` goes down, an `Update` comes up, a `Value` is a user's own.

On the wire a record is a tuple: the name of its kind, then its fields in order. A record with another number
of fields, or with a field of another type, is refused. What an algorithm's two halves have to tell each other
travels in `extras`, under the algorithm's name; no record grows when an algorithm is added.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias, TypeVar

import msgspec

from flame.errors import DecodeError, EncodeError
from flame.weights.layout import Weights
from flame.wire import codec
from flame.wire.codec import Payload
from flame.wire.form import Keys


class Order(msgspec.Struct, frozen=True, gc=False):
    """From an aggregator to those below it.

    Attributes:
        round: the round this belongs to, from 1.
        weights: the model to begin from, shared and not to be written into; None if the order carries none.
        end: whether this was the last one and the receiver may go home.
        extras: plain values and weights by the name of the algorithm that they belong to.
    """

    round: int
    weights: Weights | None = None
    end: bool = False
    extras: Mapping[str, Any] = {}

    def to_payload(self, *, keys: Keys | None = None) -> Payload:
        """The order as bytes. Raises EncodeError for what may not be sent."""
        return _write("order", (self.round, self.weights, self.end, self.extras), keys)

    @classmethod
    def from_payload(cls, payload: Payload, *, keys: Keys | None = None) -> Order:
        """The order behind a payload. Raises DecodeError if there is no order in it."""
        return _one(cls, payload, keys)


class Update(msgspec.Struct, frozen=True, gc=False):
    """From a trainer, or from an aggregator on behalf of all below it, to the one above.

    Attributes:
        weights: what was learned (by convention the difference from the order's weights); None if nothing.
        samples: how many samples are behind it.
        round: the round of the order that it answers.
        extras: plain values and weights by the name of the algorithm that they belong to.
    """

    weights: Weights | None
    samples: int
    round: int
    extras: Mapping[str, Any] = {}

    def to_payload(self, *, keys: Keys | None = None) -> Payload:
        """The update as bytes. Raises EncodeError for what may not be sent."""
        return _write("update", (self.weights, self.samples, self.round, self.extras), keys)

    @classmethod
    def from_payload(cls, payload: Payload, *, keys: Keys | None = None) -> Update:
        """The update behind a payload. Raises DecodeError if there is no update in it."""
        return _one(cls, payload, keys)


class Value(msgspec.Struct, frozen=True):
    """Any plain value: what a user's own function sends.

    Attributes:
        value: see `codec` for what may be in it. On receipt it is the receiver's own, arrays included.
    """

    value: Any

    def to_payload(self, *, keys: Keys | None = None) -> Payload:
        """The value as bytes. Raises EncodeError for what may not be sent."""
        return _write("value", (self.value,), keys)

    @classmethod
    def from_payload(cls, payload: Payload, *, keys: Keys | None = None) -> Value:
        """The value behind a payload. Raises DecodeError if there is none in it."""
        return _one(cls, payload, keys)


Message: TypeAlias = Order | Update | Value
_M = TypeVar("_M", Order, Update, Value)

_KINDS: Mapping[str, type[Order] | type[Update] | type[Value]] = {
    "order": Order,
    "update": Update,
    "value": Value,
}

_TYPES: Mapping[str, tuple[type, ...]] = {
    "round": (int,),
    "samples": (int,),
    "end": (bool,),
    "weights": (Weights, type(None)),
    "extras": (dict,),
}
"""The exact types that a field may have. `value` may have any."""

_FIELDS = {kind: [(name, _TYPES.get(name)) for name in record.__struct_fields__] for kind, record in _KINDS.items()}


def read(payload: Payload, *, keys: Keys | None = None) -> Message:
    """The record behind a payload, of whatever kind it is.

    Raises:
        DecodeError: the bytes are not a message, or its fields are not those that its kind has.
    """
    parts = codec.decode(payload.header, payload.buffers, keys=keys)
    if type(parts) is not tuple or not parts or type(parts[0]) is not str or parts[0] not in _KINDS:
        raise DecodeError(f"a message of unknown kind; there are: {', '.join(_KINDS)}")
    kind, *values = parts
    fault = _fault(kind, values)
    if fault:
        raise DecodeError(fault)
    return _KINDS[kind](*values)


def _write(kind: str, values: Sequence[object], keys: Keys | None) -> Payload:
    fault = _fault(kind, values)
    if fault:
        raise EncodeError(fault)
    names = _KINDS[kind].__struct_fields__
    return codec.encode_record({"kind": kind, **dict(zip(names, values, strict=True))}, keys=keys)


def _fault(kind: str, values: Sequence[object]) -> str:
    """What is wrong with the fields of a record; "" if nothing is."""
    fields = _FIELDS[kind]
    if len(values) != len(fields):
        return f"{kind}: {len(values)} fields; there should be {len(fields)}"
    for (name, allowed), value in zip(fields, values, strict=True):
        if allowed and (type(value) not in allowed or (type(value) is int and value < 0)):
            return f"{kind}.{name}: {value!r:.40} may not stand here"
    return ""


def _one(kind: type[_M], payload: Payload, keys: Keys | None) -> _M:
    message = read(payload, keys=keys)
    if not isinstance(message, kind):
        raise DecodeError(f"{type(message).__name__} received where {kind.__name__} was due")
    return message
