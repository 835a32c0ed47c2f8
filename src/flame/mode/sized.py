"""Roles that tell how many samples there are before a round begins, for algorithms that weigh a client by its share.

At the start of every round a trainer sends its size, and the aggregator waits for the sizes of all who are there. Who
joins between that and the order is asked all the same; its size then counts from the next round on.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from flame.channel.channel import Channel
from flame.channel.coding import Message, Sealed
from flame.config import Config
from flame.engine.leading import Leading
from flame.engine.parts import patience_of
from flame.errors import RecipeError, RunError
from flame.mode import aggregating, training
from flame.mode.message import MessageType
from flame.mode.role import quiet
from flame.optimizer.crowd import Crowd
from flame.optimizer.pull import Pull

TAG_UPLOAD_DATASET_SIZE = "uploadDatasetSize"
TAG_GET_DATASET_SIZE = "getDatasetSize"


class Trainer(training.Trainer):
    """A trainer that sends its size at the start of every round."""

    algorithm: ClassVar[str]
    regularizer: Pull

    @classmethod
    def get_func_tags(cls) -> list[str]:
        """`uploadDatasetSize`, `fetch`, `upload`, and the class's own."""
        return [TAG_UPLOAD_DATASET_SIZE, *super().get_func_tags()]

    @classmethod
    def check_config(cls, config: Config) -> None:
        """Refuse another algorithm. Raises RecipeError."""
        super().check_config(config)
        only(config, cls.algorithm)

    def compose(self) -> None:
        """As a trainer, with `upload_dataset_size` before `fetch`."""
        super().compose()
        self.composer.insert("fetch", quiet("upload_dataset_size", self.put, TAG_UPLOAD_DATASET_SIZE))

    def put(self, tag: str) -> None:
        """Carry out `uploadDatasetSize` or `upload`."""
        if tag == TAG_UPLOAD_DATASET_SIZE:
            self.send_dataset_size(tag)
        else:
            super().put(tag)

    def internal_init(self) -> None:
        """Join the channels and make what the config asks for."""
        super().internal_init()
        self._size_is_sent = False

    def _state(self) -> dict[str, Any]:
        return {**super()._state(), "size_is_sent": self._size_is_sent}

    def _restore(self, state: Mapping[str, Any]) -> None:
        super()._restore(state)
        self._size_is_sent = state["size_is_sent"]

    def _can_wait_again(self) -> bool:
        return self._size_is_sent

    def _fetch_weights(self, tag: str) -> None:
        super()._fetch_weights(tag)
        self._size_is_sent = False

    def send_dataset_size(self, tag: str) -> None:
        """Send the size to whoever is there, or comes first; `fetch` finds out if nobody does."""
        channel = self._channel(tag)
        self.regularizer.samples = self._samples
        if self._size_is_sent:
            return  # before the run was interrupted
        self._size_is_sent = True
        if channel.await_peer(patience_of(self.config)):
            for end in channel.all_ends()[:1]:
                channel.send(end, {MessageType.DATASET_SIZE: self._samples})


class TopAggregator(aggregating.TopAggregator):
    """An aggregator that knows all sizes before it distributes."""

    algorithm: ClassVar[str]

    def internal_init(self) -> None:
        """Join the channels and make what the config asks for."""
        super().internal_init()
        self._unused: dict[str, int] = {}

    @classmethod
    def get_func_tags(cls) -> list[str]:
        """`getDatasetSize`, `distribute`, `aggregate`, and the class's own."""
        return [TAG_GET_DATASET_SIZE, *super().get_func_tags()]

    @classmethod
    def check_config(cls, config: Config) -> None:
        """Refuse another algorithm. Raises RecipeError."""
        super().check_config(config)
        only(config, cls.algorithm)

    def compose(self) -> None:
        """As a top aggregator, with `get_dataset_size` before `distribute`."""
        super().compose()
        self.composer.insert("distribute", quiet("get_dataset_size", self.get, TAG_GET_DATASET_SIZE))

    def get(self, tag: str) -> None:
        """Carry out `getDatasetSize` or `aggregate`."""
        if tag == TAG_GET_DATASET_SIZE:
            self.get_dataset_size(tag)
        else:
            super().get(tag)

    def _state(self) -> dict[str, Any]:
        return {**super()._state(), "unused": self._unused}

    def _restore(self, state: Mapping[str, Any]) -> None:
        super()._restore(state)
        self._unused = state["unused"]

    def get_dataset_size(self, tag: str) -> None:
        """Wait for a size of everybody who is there; who was not asked since the last one has sent no other."""
        channel = self._channel(tag)
        self._await_peers(channel)
        ends = list(channel.all_ends())
        for end in ends:
            if end not in self._unused:
                self._hear(channel, end)
        self._unused = {end: size for end, size in self._unused.items() if end in set(ends)}
        step = self._algorithm.step
        assert isinstance(step, Crowd)  # `only` says so
        step.sized(self._unused)

    def _hear(self, channel: Channel, end: str) -> None:
        message = channel.take(end)
        while message is not None and not isinstance(message, Sealed):
            message = channel.take(end)  # an answer that came too late
        if message is not None:
            self._unused[end] = size_in(message, end)

    def _distribute_weights(self, tag: str) -> None:
        super()._distribute_weights(tag)
        for end in self._leading.round.ends:
            self._unused.pop(end, None)

    def _leads(self) -> Leading:
        leading = super()._leads()
        leading.aside = _is_size
        return leading


def only(config: Config, algorithm: str) -> None:
    """Refuse another optimizer than that of a role.

    Raises:
        RecipeError: the config names another.
    """
    if config.optimizer.sort != algorithm:
        raise RecipeError(
            f"optimizer.sort: the roles of flame.mode.horizontal.{algorithm} are for {algorithm},"
            f" not {config.optimizer.sort}"
        )


def size_in(message: Sealed, end: str) -> int:
    """The size that a peer has sent.

    Raises:
        RunError: it sent something else.
    """
    value: Any = message.open()
    size = value.get(MessageType.DATASET_SIZE) if isinstance(value, dict) else None
    if type(size) is not int or size < 0:
        raise RunError(f"a dataset size was due from {end}; it sent {value!r:.60}")
    return size


def _is_size(end: str, message: Message) -> bool:
    """Whether a message is the size of a peer that had joined after sizes were asked for."""
    return isinstance(message, Sealed) and size_in(message, end) >= 0
