"""The role that holds some columns: its part of the model turns them into an embedding, and learns by the gradient."""

from __future__ import annotations

import logging
from abc import abstractmethod
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flame.config import Config
from flame.engine.aligning import Rows, digests
from flame.engine.joining import NAME
from flame.errors import RunError, WeightsError
from flame.mode.keeping import keep
from flame.mode.training import TAG_FETCH, TAG_UPLOAD, Trainer
from flame.mode.vertical.settings import check_split, salt_of
from flame.weights.layout import Weights

__all__ = ["TAG_FETCH", "TAG_UPLOAD", "TAG_UPLOAD_IDS", "FeatureHolder"]

TAG_UPLOAD_IDS = "uploadIds"

logger = logging.getLogger(__name__)


class FeatureHolder(Trainer):
    """A party with columns of its own; subclass it and write `load_data`, `initialize`, `forward` and `backward`.

    `load_data` sets `ids`, one text or whole number for each sample; `initialize` makes the part of the model that
    works on this party's columns, and sets `model` to it if it is to be kept.

    Attributes:
        ids: names the samples, in the order of the party's own rows.
        training: whether the gradients of what `forward` is asked for will follow.
    """

    model: Any = None
    dataset_size: Any = 0
    ids: Any = ()
    training = False
    _keeps_model = True

    @abstractmethod
    def forward(self, rows: NDArray[np.int64]) -> Any:
        """The embedding of some samples.

        Args:
            rows: which, as numbers of this party's own rows, int64 of shape (samples,).

        Returns:
            Floats of shape (samples, …), as a numpy array or a torch tensor.
        """

    @abstractmethod
    def backward(self, gradient: NDArray[Any]) -> None:
        """Make a step.

        Args:
            gradient: of the loss by the embedding that `forward` returned last, of its shape and dtype; private.
        """

    def internal_init(self) -> None:
        """Join the channel."""
        super().internal_init()
        self._rows: Rows | None = None
        self._task: Mapping[str, Any] = {}
        self._embedding: NDArray[Any] | None = None

    @classmethod
    def get_func_tags(cls) -> list[str]:
        """`uploadIds`, `fetch`, `upload`, and the class's own."""
        return [TAG_UPLOAD_IDS, *super().get_func_tags()]

    @classmethod
    def check_config(cls, config: Config) -> None:
        """Refuse settings that make no sense for a model that is split. Raises RecipeError."""
        super().check_config(config)
        check_split(config)

    def _state(self) -> dict[str, Any]:
        return {**super()._state(), "rows": self._rows}

    def _restore(self, state: Mapping[str, Any]) -> None:
        super()._restore(state)
        self._rows = state["rows"]

    def train(self) -> None:
        """Do what the label holder has asked for."""
        step = self._task.get("step")
        if self._rows is None or self._work_done:
            return
        if step == "forward":
            self._forward(self._rows)
        elif step == "backward":
            self._backward()

    def _fetch_weights(self, tag: str) -> None:
        order = self._following.fetch(self._channel(tag))
        self.fetch_success = True
        self._work_done = order is None or order.end
        if self._work_done or order is None:
            self._finish(asked=order is None)
            return
        said = order.extras.get(NAME)
        if not isinstance(said, Mapping):
            raise RunError("the label holder sent something else than what to do with which samples")
        self._task = said
        if said.get("step") == "place":
            self._rows = _numbers(said.get("rows"), len(self.ids))
        elif said.get("step") == "forward":
            self._round = int(said.get("epoch", self._round))

    def _send_weights(self, tag: str) -> None:
        step = self._task.get("step")
        if self._rows is None:
            owner = self.config.name or self.config.task_id
            ids = digests(self.ids, salt_of(self.config), owner)
            said = {NAME: {"name": self.config.name, "ids": ids}}
            self._following.answer(self._channel(tag), None, len(ids), said)
        elif step == "forward" and self._embedding is not None:
            weights = Weights.pack({"embedding": self._embedding}, allocate=self._surroundings.memory.allocate)
            self._following.answer(self._channel(tag), weights, len(self._embedding), {})

    def _forward(self, placed: Rows) -> None:
        batch = _numbers(self._task.get("batch"), len(placed))
        self.training = bool(self._task.get("training"))
        self._embedding = embedding = _floats(self.forward(placed[batch]), "forward returned")
        if embedding.ndim < 2 or len(embedding) != len(batch):
            raise WeightsError(f"forward returned {list(embedding.shape)} for {len(batch)} samples, not [samples, …]")
        if not np.isfinite(embedding).all():
            raise WeightsError(f"forward returned NaN or infinity in epoch {self._round}")

    def _backward(self) -> None:
        order, embedding = self._following.order, self._embedding
        weights = None if order is None else order.weights
        if weights is None or embedding is None:
            raise RunError("the label holder sent a gradient without numbers, or for nothing")
        gradient = np.array(weights.arrays().get("gradient"))
        if gradient.shape != embedding.shape:
            raise RunError(f"a gradient of {list(gradient.shape)} came for an embedding of {list(embedding.shape)}")
        self.backward(gradient.astype(embedding.dtype, copy=False))

    def _finish(self, *, asked: bool) -> None:
        """The training is over: keep this party's part of the model."""
        if self._rows is None and not asked:
            raise RunError(
                "the training ended before this holder's samples were aligned: hyperparameters.minPeers"
                " says for how many holders the label holder waits"
            )
        keep(self.model, self._held, self.config, self.registry_client, self._surroundings)


def _numbers(given: Any, below: int) -> Rows:
    """Row numbers that somebody sent.

    Raises:
        RunError: they are none, or there are no such rows.
    """
    if not isinstance(given, np.ndarray) or given.dtype != np.int64 or given.ndim != 1:
        raise RunError("the label holder sent something else than row numbers")
    if len(given) and (given.min() < 0 or given.max() >= below):
        raise RunError(f"the label holder asked for rows {given.min()} to {given.max()} of {below}")
    return given


def _floats(values: Any, what: str) -> NDArray[Any]:
    """A numpy or torch array of floats, as a numpy array.

    Raises:
        WeightsError: it is none.
    """
    plain = values.detach().cpu().numpy() if hasattr(values, "detach") else np.asarray(values)
    if plain.dtype.kind != "f":
        raise WeightsError(f"{what} {plain.dtype.name}, not floats")
    return plain
