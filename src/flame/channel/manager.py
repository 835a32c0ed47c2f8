"""A worker's channels: which there are, and which one a function tag is bound to."""

from __future__ import annotations

import atexit
import random
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from flame.backend.directory import Seat
from flame.channel.channel import Channel, Wiring
from flame.channel.coding import Message
from flame.channel.packing import packing_of
from flame.channel.surroundings import Surroundings, around
from flame.config import Config
from flame.errors import ChannelError
from flame.selector import Selector
from flame.selector.making import selector_of

_GLANCE_S = 0.05
"""How long a worker that leaves looks out for those who are just coming."""


class ChannelManager:
    """Joins the channels that a worker's config lists, and finds them by name or by function tag.

    Args:
        config: the worker's own config: it can join the channels and groups that the TAG gave to its role, no others.
        surroundings: what is around the worker; found by itself if it is left out.
    """

    def __init__(self, config: Config, surroundings: Surroundings | None = None) -> None:
        self.surroundings = surroundings or around(config)
        self._config = config
        self._channels: dict[str, Channel] = {}
        self._early = self.surroundings.early
        self._closed = False
        self._tally: Callable[[str, int], None] | None = None
        if self.surroundings.sit is not None:
            atexit.register(self.cleanup)

    def join(self, name: str) -> bool:
        """Join a channel; True if it had been joined before.

        Raises:
            KeyError: the config has no channel of that name.
        """
        if name in self._channels:
            return True
        spec = self._config.channels[name]
        me, other = self._sides(spec.pair)
        group = spec.group_by.groupable_value(self._config.group_association.get(name))
        seat = Seat(name, group, me, self._config.task_id)
        around_me = self.surroundings
        backend = around_me.backend_of(spec)
        backend.attach(self._config.task_id, self)
        if around_me.sit is not None:
            around_me.sit(backend, seat, other)
        wiring = Wiring(backend, around_me.hub, around_me.readable)
        packing = packing_of(spec, around_me.memory.allocate)
        channel = Channel(
            seat, other, wiring, self._selector(name), self._config.job.job_id, packing, timed=around_me.fiber is None
        )
        channel.tally = self._tally
        self._channels[name] = channel
        channel.watch(self._wake)
        # Emptied in place: whoever gave the list would otherwise keep the first order for as long as it lives.
        early = self._early.copy()
        self._early.clear()
        for target, source, message in early:
            self.deliver(target, source, message)
        return False

    def join_all(self) -> None:
        """Join every channel of the config."""
        for name in self._config.channels:
            self.join(name)

    def leave(self, name: str) -> None:
        """Forget a channel, with whatever has not been received."""
        self._channels.pop(name, None)

    def get(self, name: str) -> Channel | None:
        """The channel of that name, if it has been joined."""
        return self._channels.get(name)

    def get_by_tag(self, tag: str) -> Channel | None:
        """The channel that a function tag is bound to, if it has been joined."""
        name = self._config.func_tag_map.get(tag)
        return None if name is None else self._channels.get(name)

    def is_joined(self, name: str) -> bool:
        """Whether the channel has been joined."""
        return name in self._channels

    @property
    def joined(self) -> list[Channel]:
        """Every channel that has been joined."""
        return list(self._channels.values())

    @property
    def moved(self) -> int:
        """How many messages this worker has sent, or taken, so far."""
        return sum(channel.moved for channel in self._channels.values())

    def count_with(self, tally: Callable[[str, int], None]) -> None:
        """Tell of every message how large it is: `tally("send", nbytes)`, or "broadcast", or "recv"."""
        self._tally = tally
        for channel in self._channels.values():
            channel.tally = tally

    def state(self) -> dict[str, Any]:
        """What must be kept of each channel to go on later; see `Channel.state`."""
        states = {name: channel.state() for name, channel in self._channels.items()}
        return {name: state for name, state in states.items() if state}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state` returned."""
        for name, channel in self._channels.items():
            channel.restore(state.get(name, {}))

    def cleanup(self) -> None:
        """Leave: everything that was sent is delivered first. Safe to call twice."""
        if not self._closed:
            self._closed = True
            atexit.unregister(self.cleanup)
            try:
                if self.surroundings.fiber is None:
                    self._tell_latecomers()
            finally:
                self.surroundings.close()

    def _tell_latecomers(self) -> None:
        """Who has joined since the last words were said would wait for others, in vain."""
        over = [channel for channel in self._channels.values() if channel.over]
        for number, channel in enumerate(over):
            with suppress(ChannelError):  # the way to these others is broken, and they cannot be told
                if not number:
                    channel.look(_GLANCE_S)
                channel.tell_latecomers()

    def deliver(self, channel: str, source: str, message: object) -> None:
        """Take in a message for this worker; the backend calls this."""
        joined = self._channels.get(channel)
        if joined is None:
            if channel in self._config.channels:
                self._early.append((channel, source, message))
            return
        assert isinstance(message, Message)  # the coding makes nothing else
        joined.put(source, message)
        if joined.awaited is None or joined.awaited == source:
            self._wake()

    def _wake(self) -> None:
        fiber = self.surroundings.fiber
        if fiber is not None:
            self.surroundings.hub.wake(fiber)

    def _sides(self, pair: tuple[str, str]) -> tuple[str, str]:
        first, second = pair
        return (first, second) if self._config.role == first else (second, first)

    def _selector(self, channel: str) -> Selector:
        seed = self.surroundings.seed
        generator = random.Random(
            None if seed is None else f"{seed}/{self._config.name or self._config.task_id}/{channel}"
        )
        return selector_of(str(self._config.selector.sort), self._config.selector.kwargs, generator)
