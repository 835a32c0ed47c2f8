"""Rounds whose answers are put side by side: a model that is split among those who hold different columns.

Whoever leads says which samples, every holder answers with what its part of the model makes of them, and gets back the
gradient of the loss by that. O. Gupta, R. Raskar: Distributed learning of deep neural network over multiple agents.
Journal of Network and Computer Applications, 2018. P. Vepakomma et al.: Split learning for health. arXiv:1812.00564.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from numpy.typing import NDArray

from flame.channel.channel import Channel
from flame.engine import aligning
from flame.engine.gate import WhenLost
from flame.engine.leading import Leading
from flame.engine.peers import in_order
from flame.engine.round import Round, Verdict
from flame.errors import PeerLost, RunError
from flame.weights.layout import Weights
from flame.wire.message import Order, Update

NAME = "vertical"
"""What the two halves say to each other is in the `extras` of their messages under this name."""

Array = NDArray[Any]

logger = logging.getLogger(__name__)


class Joining(Leading):
    """The half of a role that holds the labels.

    Attributes:
        ends: the holders, in the order in which their embeddings are put side by side.
        names: their names, in that order.
    """

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.ends: list[str] = []
        self.names: list[str] = []
        self._aligned: Sequence[bytes] = ()
        self._came: dict[str, Update] = {}
        self._exchanges = 0

    def state(self) -> dict[str, Any]:
        """Who the holders are, what is aligned, and how much was exchanged."""
        words = {"ends": self.ends, "names": self.names, "aligned": list(self._aligned)}
        return {**super().state(), **words, "exchanges": self._exchanges}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state` returned, with holders that go on too."""
        super().restore(state)
        if state:
            self.ends, self.names = list(state["ends"]), list(state["names"])
            self._aligned, self._exchanges = state["aligned"], state["exchanges"]

    def align(self, channel: Channel, name: str, own: aligning.Digests) -> aligning.Rows:
        """Find the samples that everybody has, and tell every holder which of its rows they are.

        Args:
            channel: where the holders are.
            name: who asks.
            own: the digests of the samples that have a label.

        Returns:
            Where those samples are among the asker's own, int64 of shape (aligned samples,).

        Raises:
            RunError: there are none, or a holder's ids are no ids.
        """
        self.ends = list(channel.all_ends())
        self._exchange(channel, {"step": "align"})
        told = {end: _ids_of(self._came[end], end) for end in self.ends}
        self.ends = in_order(self.ends, lambda end: told[end][0])
        self.names = [told[end][0] for end in self.ends]
        parties = {name: own, **{f"{told[end][0]} ({end[:12]})": told[end][1] for end in self.ends}}
        self._aligned = aligning.common(parties)
        for end in self.ends:
            self._place(channel, end)
        return aligning.positions(name, own, self._aligned)

    def join(self, channel: Channel, batch: aligning.Rows, epoch: int, *, training: bool) -> list[Array]:
        """What every holder makes of some samples.

        Args:
            channel: where the holders are.
            batch: the numbers of the samples among the aligned ones, int64 of shape (samples,).
            epoch: which one it is, from 1.
            training: whether the gradients will follow.

        Returns:
            One array of shape (samples, …) for each holder, each private and writable.

        Raises:
            RunError: a holder sent something else.
            PeerLost: a holder has gone, and the gate does not wait for it.
        """
        self._exchange(channel, {"step": "forward", "batch": batch, "epoch": epoch, "training": training})
        return [self._embedding(end, name, len(batch)) for end, name in zip(self.ends, self.names, strict=True)]

    def give_back(self, channel: Channel, gradients: Sequence[Array]) -> None:
        """Send every holder the gradient of the loss by the embedding that it sent last."""
        for end, gradient in zip(self.ends, gradients, strict=True):
            weights = Weights.pack({"gradient": gradient}, allocate=self._memory.allocate)
            channel.post([end], Order(self._exchanges, weights, extras={NAME: {"step": "backward"}}))

    def _exchange(self, channel: Channel, said: Mapping[str, Any]) -> None:
        """Say something to every holder, and wait for its answer."""
        self._exchanges += 1
        self._came.clear()
        order = self._open(channel, Order(self._exchanges, None, extras={NAME: said}), Round(0, self._gate))
        self._round.ask(self.ends)
        channel.post(self.ends, order)
        self.gather(channel)

    def _offer(self, end: str, update: Update) -> None:
        assert self._asked is not None  # an exchange is open
        channel, order = self._asked
        if self._aligned and update.weights is None and update.round == self._round.number:
            # Somebody new in the place of a holder that has gone: it has to be told its rows before it is asked again.
            if self._gate.when_lost is WhenLost.STOP:
                raise PeerLost(end, "it went, and another process is in its place; the job's gate stops the run then")
            logger.warning("another process is in the place of %s: its part of the model begins anew", end)
            self._came[end] = update
            self._place(channel, end)
            channel.post([end], order)
            return
        try:
            if update.weights is not None:
                _ = update.weights.data
        except PeerLost:
            self._gone(channel, end)
            return
        if self._round.offer(end, update.round, update.samples) in (Verdict.FOLDED, Verdict.EMPTY):
            self._came[end] = update

    def _place(self, channel: Channel, end: str) -> None:
        """Tell a holder, which has just sent its ids, which of its rows the aligned samples are."""
        name, ids = _ids_of(self._came[end], end)
        rows = aligning.positions(name, ids, self._aligned)
        channel.post([end], Order(self._exchanges, None, extras={NAME: {"step": "place", "rows": rows}}))

    def _embedding(self, end: str, name: str, samples: int) -> Array:
        weights = self._came[end].weights
        arrays = {} if weights is None else weights.arrays()
        found = arrays.get("embedding")
        if len(arrays) != 1 or found is None or found.ndim < 2 or len(found) != samples:
            shapes = {name: list(array.shape) for name, array in arrays.items()}
            raise RunError(f"{name} was asked for an embedding of {samples} samples; it sent {shapes}")
        return found.copy()


def _ids_of(update: Update, end: str) -> tuple[str, Any]:
    """A holder's name and the digests of its ids."""
    said = update.extras.get(NAME)
    if not isinstance(said, Mapping) or not isinstance(said.get("name"), str):
        raise RunError(f"ids were due from {end}; it sent something else")
    return said["name"] or end, said.get("ids")
