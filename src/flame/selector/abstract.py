"""Selectors as they are written for Cisco's Flame, and how they choose here."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from typing import Any, TypeAlias

from flame.end import KEY_END_STATE, VAL_END_STATE_NONE, VAL_END_STATE_RECVD, End

END_PROPERTIES = "end_properties"
"""The property of a channel that holds what is known about each of its ends."""

SelectorReturnType: TypeAlias = dict[str, tuple[str, Any] | None]


class AbstractSelector(ABC):
    """Chooses among the peers of one channel.

    Args:
        kwargs: the `kwargs` of a config's selector.

    Attributes:
        selected_ends: for the selector's own use.
    """

    def __init__(self, **kwargs: Any) -> None:
        self.selected_ends: Any = set()

    @abstractmethod
    def select(self, ends: dict[str, End], channel_props: dict[str, Any]) -> SelectorReturnType:
        """The ids of the chosen ends, each with a property to set on it, as (key, value), or None."""


def is_own(factory: Any) -> bool:
    """Whether a factory makes selectors that are written for Cisco's Flame: they take their settings alone."""
    return isinstance(factory, type) and issubclass(factory, AbstractSelector)


class Adapted:
    """An `AbstractSelector` on a channel of ours.

    Attributes:
        ends: the peers, by id, with what is known about each.
    """

    def __init__(self, selector: AbstractSelector) -> None:
        self._selector = selector
        if hasattr(selector, "state") and hasattr(selector, "restore"):
            self.state, self.restore = selector.state, selector.restore  # without them no run can be resumed
        self.ends: dict[str, End] = {}

    def select(self, ends: Sequence[str], properties: Mapping[str, Any]) -> Sequence[str]:
        """The chosen ends that are there, in the order of `ends`."""
        known = properties.get(END_PROPERTIES, {})
        self.ends = {end: self.ends.get(end) or End(end, known.setdefault(end, {})) for end in ends}
        self._say_who_is_busy(properties.get("busy"))
        chosen = self._selector.select(dict(self.ends), dict(properties))
        for end, setting in chosen.items():
            if setting is not None and end in self.ends:
                self.ends[end].set_property(*setting)
        return [end for end in ends if end in chosen]

    def _say_who_is_busy(self, busy: Collection[str] | None) -> None:
        """In asynchronous rounds an end's state says whether its answer has come."""
        if busy is None:
            return
        for end, peer in self.ends.items():
            if end in busy:
                peer.set_property(KEY_END_STATE, VAL_END_STATE_NONE)
            elif KEY_END_STATE in peer.properties:
                peer.set_property(KEY_END_STATE, VAL_END_STATE_RECVD)
