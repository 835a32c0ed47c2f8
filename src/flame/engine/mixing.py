"""A worker's model becomes the weighted mean of its own and its neighbours': decentralised SGD (D-PSGD).

X. Lian, C. Zhang, H. Zhang, C.-J. Hsieh, W. Zhang, J. Liu: Can Decentralized Algorithms Outperform Centralized
Algorithms? NeurIPS 2017. https://arxiv.org/abs/1705.09056. Here a worker trains first and mixes then (adapt, then
combine: J. Chen, A. H. Sayed, 2012), so that on a complete graph a round is one of federated averaging.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

from flame.backend.pool import Pool
from flame.channel.channel import Channel
from flame.engine.fold import WeightedMean
from flame.engine.gate import Gate, WhenLost
from flame.errors import PeerLost, RunError
from flame.weights.layout import Weights
from flame.wire.message import Order

NAME = "gossip"
"""How many workers the sender counts is in the `extras` of an order under this name."""

logger = logging.getLogger(__name__)


class Mixing:
    """One worker among its neighbours.

    Args:
        channel: where they are.
        members: all workers, in the order that they agree on, this one too.
        weights: how much each neighbour's model weighs; the rest of 1 is the worker's own.
        memory: for the mean.
        gate: what follows when a neighbour goes: its weight falls to the worker's own model, or the run stops.

    Attributes:
        neighbours: those that are left, in order.
    """

    def __init__(
        self, channel: Channel, members: Sequence[str], weights: Mapping[str, float], memory: Pool, gate: Gate
    ) -> None:
        self._channel, self._members, self._weights = channel, members, weights
        self._memory, self._gate = memory, gate
        self._me = channel.get_backend_id()
        self.neighbours = [end for end in members if end in weights]

    def mix(self, round_: int, own: Weights) -> Weights:
        """Send the model to every neighbour, and return the mean of all.

        The sum is taken in the members' order. What a neighbour weighs that has gone is added to the worker's own: so
        the weights among those who are left still add up to 1 from both sides.

        Raises:
            RunError: a neighbour counts other workers, or sent something that is no model of this round.
            PeerLost: a neighbour has gone, and the gate stops the run then.
            WeightsError: a neighbour's model has another layout.
        """
        self._turn_away()
        self._channel.post(self.neighbours, Order(round_, own, extras={NAME: {"workers": len(self._members)}}))
        models = {end: model for end in self.neighbours if (model := self._of(end, round_)) is not None}
        self.neighbours = [end for end in self.neighbours if end in models]
        mine = 1.0 - sum(self._weights[end] for end in self.neighbours)
        fold = WeightedMean()
        for end in self._members:
            weight = mine if end == self._me else self._weights.get(end, 0.0)
            model = own if end == self._me else models.get(end)
            if model is not None and weight > 0:
                fold.add(model, 1, weighs=(weight, weight))
        return fold.mean(self._memory.allocate)

    def _of(self, end: str, round_: int) -> Weights | None:
        message = self._channel.take(end)
        if message is None:
            if self._gate.when_lost is WhenLost.STOP:
                raise PeerLost(end, f"it went in round {round_}, and the job's gate stops the run then")
            logger.warning("%s has gone in round %s; what its model weighed is added to the worker's own", end, round_)
            return None
        if not isinstance(message, Order) or message.round != round_ or message.weights is None:
            raise RunError(f"the model of {end} was due for round {round_}; it sent something else: {message!r:.200}")
        said = message.extras.get(NAME)
        counts = said.get("workers") if isinstance(said, Mapping) else None
        if counts != len(self._members):
            raise RunError(
                f"{end} counts {counts} workers, and here there are {len(self._members)}:"
                " hyperparameters.minPeers says for how many to wait, and no more may come"
            )
        return message.weights

    def _turn_away(self) -> None:
        """Whoever comes after the graph was made has no place in it, and is told so."""
        late = [end for end in self._channel.all_ends() if end not in self._members]
        self._channel.post(late, Order(0, None, True))
