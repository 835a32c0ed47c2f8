"""The roles of FedGFT: between order and training, everybody learns how biased the model is over all clients.

G. Wang, A. Payani, M. Lee, R. Kompella: Mitigating Group Bias in Federated Learning: Beyond Local Fairness. TMLR 2024.
https://arxiv.org/abs/2305.09931
"""

from __future__ import annotations

import logging
from typing import Any

from flame.channel.coding import Sealed
from flame.config import Config
from flame.errors import PeerLost, RunError
from flame.mode import aggregating, training
from flame.mode.message import MessageType
from flame.mode.role import quiet
from flame.mode.sized import only
from flame.mode.tasklet import Tasklet
from flame.optimizer.fedgft import FedGFT, Unbiased

logger = logging.getLogger(__name__)

TAG_FETCH_BIAS, TAG_UPLOAD_BIAS = "fetchBias", "uploadBias"
TAG_AGGREGATE_BIAS, TAG_DISTRIBUTE_BIAS = "aggregateBias", "distributeBias"


class Trainer(training.Trainer):
    """A trainer whose `train_loader` gives batches of (data, target, group); groups and targets are 0 and 1."""

    regularizer: Unbiased
    train_loader: Any

    @classmethod
    def get_func_tags(cls) -> list[str]:
        """`fetchBias`, `uploadBias`, `fetch`, `upload`, and the class's own."""
        return [TAG_FETCH_BIAS, TAG_UPLOAD_BIAS, *super().get_func_tags()]

    @classmethod
    def check_config(cls, config: Config) -> None:
        """Refuse another algorithm. Raises RecipeError."""
        super().check_config(config)
        only(config, "fedgft")

    def compose(self) -> None:
        """As a trainer, with `pre_process`, `upload_bias` and `fetch_bias` between `fetch` and `train`."""
        super().compose()
        self.composer.insert("train", Tasklet("pre_process", self.pre_process))
        self.composer.insert("train", quiet("upload_bias", self.put, TAG_UPLOAD_BIAS))
        self.composer.insert("train", quiet("fetch_bias", self.get, TAG_FETCH_BIAS))

    def pre_process(self) -> None:
        """Measure the bias of the model that was received on this worker's samples."""
        self.regularizer.update_local_bias_params(self.model, self.train_loader)
        self.update_metrics({"local_bias": abs(self.regularizer.get_local_bias())})

    def put(self, tag: str) -> None:
        """Carry out `uploadBias` or `upload`."""
        if tag != TAG_UPLOAD_BIAS:
            super().put(tag)
            return
        said = {MessageType.BIAS: self.regularizer.bias.to_plain(), MessageType.DATASET_SIZE: self._samples}
        if self._following.leader is not None:
            self._channel(tag).send(self._following.leader, said)

    def get(self, tag: str) -> None:
        """Carry out `fetchBias` or `fetch`."""
        if tag != TAG_FETCH_BIAS:
            super().get(tag)
            return
        leader = self._following.leader
        value, _ = self._channel(tag).recv(leader)
        if value is None:
            raise PeerLost(leader or "the aggregator", "it went before it had said how biased the model is")
        self.regularizer.update_bias(_said(value, leader, MessageType.BIAS))


class TopAggregator(aggregating.TopAggregator):
    """An aggregator that gathers biases from those that it has asked, and gives them the mean."""

    optimizer: FedGFT

    def internal_init(self) -> None:
        """Join the channels and make what the config asks for."""
        super().internal_init()
        self._biased: list[str] = []

    @classmethod
    def get_func_tags(cls) -> list[str]:
        """`aggregateBias`, `distributeBias`, `distribute`, `aggregate`, and the class's own."""
        return [TAG_AGGREGATE_BIAS, TAG_DISTRIBUTE_BIAS, *super().get_func_tags()]

    @classmethod
    def check_config(cls, config: Config) -> None:
        """Refuse another algorithm. Raises RecipeError."""
        super().check_config(config)
        only(config, "fedgft")

    def compose(self) -> None:
        """As a top aggregator, with `get_bias`, `pre_process` and `put_bias` between `distribute` and `aggregate`."""
        super().compose()
        self.composer.insert("aggregate", quiet("get_bias", self.get, TAG_AGGREGATE_BIAS))
        self.composer.insert("aggregate", Tasklet("pre_process", self.pre_process))
        self.composer.insert("aggregate", quiet("put_bias", self.put, TAG_DISTRIBUTE_BIAS))

    def pre_process(self) -> None:
        """Measure how biased the model is over all."""
        self.update_metrics({"bias": abs(self.optimizer.get_bias())})

    def get(self, tag: str) -> None:
        """Carry out `aggregateBias` or `aggregate`."""
        if tag == TAG_AGGREGATE_BIAS:
            self._aggregate_bias(tag)
        else:
            super().get(tag)

    def put(self, tag: str) -> None:
        """Carry out `distributeBias` or `distribute`."""
        if tag == TAG_DISTRIBUTE_BIAS:
            for end in self._biased:
                self._channel(tag).send(end, {MessageType.BIAS: self.optimizer.bias.to_plain()})
        else:
            super().put(tag)

    def _aggregate_bias(self, tag: str) -> None:
        channel, sizes, biases = self._channel(tag), {}, {}
        for end in self._leading.round.ends:
            message = channel.take(end)
            while message is not None and not isinstance(message, Sealed):
                message = channel.take(end)  # an answer that came too late
            if message is None:
                logger.warning("%s has gone before it said how biased the model is in round %s", end, self._round)
                self._leading.round.lost(end)
                continue
            value = message.open()
            sizes[end], biases[end] = _said(value, end, MessageType.DATASET_SIZE), _said(value, end, MessageType.BIAS)
        self._biased = list(biases)
        self.optimizer.update_bias(sizes, biases)


def _said(value: Any, end: str | None, what: MessageType) -> Any:
    """One thing in a message of a peer.

    Raises:
        RunError: it is not there.
    """
    if not isinstance(value, dict) or what not in value:
        raise RunError(f"{what.name} was due from {end}; it sent {value!r:.60}")
    return value[what]
