"""The role that holds the labels: it puts the embeddings side by side, and sends back the gradients of the loss."""

from __future__ import annotations

import random
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flame.config import Config
from flame.engine.aligning import Rows, digests
from flame.engine.gate import Gate
from flame.engine.joining import Joining
from flame.errors import RunError, WeightsError
from flame.mode.aggregating import TAG_AGGREGATE, TAG_DISTRIBUTE, TopAggregator
from flame.mode.role import quiet
from flame.mode.tasklet import Loop, Tasklet
from flame.mode.vertical.settings import check_split, salt_of, split_gate

__all__ = ["TAG_AGGREGATE", "TAG_ALIGN_IDS", "TAG_DISTRIBUTE", "LabelHolder"]

TAG_ALIGN_IDS = "alignIds"
Array = NDArray[Any]


class LabelHolder(TopAggregator):
    """The party with the labels; subclass it and write `load_data`, `initialize`, `train_on` and `evaluate_on`.

    `load_data` sets `ids`, and `held_out` if some samples are only to be evaluated on. Then the samples that all
    parties have are found, and `initialize` makes the top of the model. A round is an epoch: every aligned sample that
    is not held out, in batches of `hyperparameters.batchSize`, in an order that follows from the seed.

    Attributes:
        ids: names the samples, in the order of the party's own rows.
        held_out: for each of them whether it is only evaluated on; None for none.
        holders: the holders' names, in the order of their embeddings; from `initialize` on.
        widths: the shape of one sample's embedding of each holder; from `initialize` on.
    """

    model: Any = None
    dataset: Any = None
    ids: Any = ()
    held_out: Any = None
    holders: Sequence[str] = ()
    widths: Sequence[tuple[int, ...]] = ()
    _leading: Joining

    @abstractmethod
    def train_on(self, rows: NDArray[np.int64], embeddings: list[Array]) -> Sequence[Any]:
        """Make a step of the top of the model.

        Args:
            rows: the samples, as numbers of this party's own rows, int64 of shape (samples,).
            embeddings: of each holder, in the order of `holders`, an array of shape (samples, …); private.

        Returns:
            For each holder the gradient of the loss by its embedding, as a numpy array or a torch tensor.
        """

    def evaluate_on(self, rows: NDArray[np.int64], embeddings: list[Array]) -> None:
        """Measure the model on the samples that are held out, after each round; called with all of them at once."""

    def evaluate(self) -> None:
        """Measure the model on what is held out."""
        if len(self._held_out):
            self.evaluate_on(self._own[self._held_out], self._embeddings)

    @classmethod
    def get_func_tags(cls) -> list[str]:
        """`alignIds`, `distribute`, `aggregate`, and the class's own."""
        return [TAG_ALIGN_IDS, *super().get_func_tags()]

    @classmethod
    def check_config(cls, config: Config) -> None:
        """Refuse settings that make no sense for a model that is split. Raises RecipeError."""
        super().check_config(config)
        check_split(config)

    def compose(self) -> None:
        """As a top aggregator; the samples are aligned before `initialize`, and a round is a loop over batches."""
        super().compose()
        with self.composer:
            self.composer.get_tasklet("load_data").insert_after(quiet("align", self._align))
            self.composer.get_tasklet("evaluate").insert_before(quiet("join_held_out", self._join_held_out))

    @classmethod
    def _closes(cls, config: Config) -> Gate:
        return split_gate(config)

    def _leads(self) -> Joining:
        return Joining(self._algorithm, self._surroundings.memory, self._gate, self.config.network.patience)

    def _answers(self) -> Tasklet:
        batches = Loop(loop_check_fn=lambda: not self._batches)
        return quiet("open_epoch", self._open_epoch) >> batches(
            quiet("distribute", self.put, TAG_DISTRIBUTE)
            >> Tasklet("train_on", self._train_on)
            >> quiet("give_back", self.get, TAG_AGGREGATE)
        )

    def _state(self) -> dict[str, Any]:
        aligned = {"own": self._own, "trained": self._trained, "held_out": self._held_out, "widths": list(self.widths)}
        return {**super()._state(), "aligned": aligned}

    def _go_on(self, leading: Mapping[str, Any], aligned: Mapping[str, Any]) -> None:
        """The samples were aligned before the run was interrupted, and the holders remember it."""
        self._leading.restore(leading)
        self.holders, self.widths = self._leading.names, aligned["widths"]
        self._own, self._trained, self._held_out = (aligned[name] for name in ("own", "trained", "held_out"))

    def _align(self) -> None:
        if self._resumed is not None:
            self._go_on(self._resumed["leading"], self._resumed["aligned"])
            return
        channel = self._channel(TAG_ALIGN_IDS)
        name = self.config.name or self.config.task_id
        own = digests(self.ids, salt_of(self.config), name)
        self._await_peers(channel)
        self._own = self._leading.align(channel, name, own)
        self.holders = self._leading.names
        held_out = np.zeros(len(own), bool) if self.held_out is None else np.asarray(self.held_out, bool)
        if held_out.shape != (len(own),):
            raise WeightsError(f"held_out is {list(held_out.shape)} for {len(own)} ids")
        aside = held_out[self._own]
        self._trained, self._held_out = np.flatnonzero(~aside), np.flatnonzero(aside)
        if not len(self._trained):
            raise RunError(f"all {len(self._own)} samples that everybody has are held out")
        few = self._trained[: self.config.hyperparameters.batch_size]
        first = self._leading.join(channel, few, self._round, training=False)
        self.widths = [array.shape[1:] for array in first]

    def _open_epoch(self) -> None:
        if not self._begun:
            self._begin_with_base_model()
            self._begun = True
        # From the seed alone: what the program draws in between changes nothing.
        seed = None if self.config.seed is None else f"{self.config.seed}/vertical/{self._round}"
        generator = np.random.default_rng(random.Random(seed).getrandbits(64))
        self._batches = self._cut(self._trained[generator.permutation(len(self._trained))])

    def _cut(self, samples: Rows) -> list[Rows]:
        size = self.config.hyperparameters.batch_size
        return [samples[start : start + size] for start in range(0, len(samples), size)]

    def _distribute_weights(self, tag: str) -> None:
        self._embeddings = self._leading.join(self._channel(tag), self._batches[0], self._round, training=True)

    def _train_on(self) -> None:
        rows = self._own[self._batches[0]]
        shapes = [array.shape for array in self._embeddings]
        gradients = [_plain(one) for one in self.train_on(rows, self._embeddings)]
        if [one.shape for one in gradients] != shapes:
            found = [list(one.shape) for one in gradients]
            raise WeightsError(f"train_on returned gradients of {found} for embeddings of {list(map(list, shapes))}")
        self._gradients = gradients

    def _aggregate_weights(self, tag: str) -> None:
        channel = self._channel(tag)
        self._leading.give_back(channel, self._gradients)
        self._batches.pop(0)
        if not self._batches and self._surroundings.events is not None:
            holders = len(self.holders)
            self._surroundings.events.round_closed(self._round, holders, holders, channel.sent_bytes)

    def _join_held_out(self) -> None:
        if not len(self._held_out):
            return
        channel = self._channel(TAG_DISTRIBUTE)
        parts = [self._leading.join(channel, batch, self._round, training=False) for batch in self._cut(self._held_out)]
        self._embeddings = [np.concatenate(some) for some in zip(*parts, strict=True)]


def _plain(values: Any) -> Array:
    return values.detach().cpu().numpy() if hasattr(values, "detach") else np.asarray(values)
