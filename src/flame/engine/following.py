"""A round as seen from below: take the order, hand the model over, send back what it has become."""

from __future__ import annotations

from typing import Any

from flame.channel.channel import Channel
from flame.errors import PeerLost, RunError
from flame.weights import adapters
from flame.weights.layout import Weights
from flame.wire.message import Order, Update


class Following:
    """The half of a role that has somebody above it.

    Args:
        patience_s: how long to wait for somebody to join above.
    """

    def __init__(self, patience_s: float) -> None:
        self._patience_s = patience_s
        self._leader: str | None = None
        self.order: Order | None = None

    @property
    def leader(self) -> str | None:
        """Whose order was fetched last."""
        return self._leader

    def fetch(self, channel: Channel) -> Order | None:
        """The next order; None if there is nothing to do here: nobody came in time, or the training was over.

        A peer above that is cut off is waited for: it may ask again once it can.

        Raises:
            PeerLost: the peer above went without an end of training.
            RunError: it sent something that is no order.
        """
        if not channel.await_peer(self._patience_s):
            return None
        end = channel.unread() or _speaks(channel) or self._leader
        if end is None:
            return None
        message = channel.take(end)
        while message is None:
            if channel.empty() and not channel.await_return(end, self._patience_s):
                raise PeerLost(end, "it left before it ended the training")
            end = _speaks(channel) or end
            message = channel.take(end)
        if not isinstance(message, Order):
            raise RunError(f"an order was due from {end}; it sent a {type(message).__name__}")
        self.order = message
        self._leader = end
        return message

    def answer(self, channel: Channel, weights: Weights | None, samples: int, extras: dict[str, Any]) -> None:
        """Send an update to whoever's order was fetched last, and let go of it.

        A peer that has gone is no error here: the next `fetch` says so.
        """
        assert self.order is not None  # roles fetch before they answer
        if self._leader is not None and channel.has(self._leader):
            channel.post([self._leader], Update(weights, samples, self.order.round, extras))
        self.order = None


def _speaks(channel: Channel) -> str | None:
    """Whoever of those above says something first; None if nobody is there."""
    ends = channel.all_ends()
    return channel.first_of(ends) if len(ends) > 1 else next(iter(ends), None)


class Held:
    """A user's model, seen as weights; follows the role when it replaces the model."""

    def __init__(self) -> None:
        self._adapter: adapters.Adapter | None = None

    def __bool__(self) -> bool:
        """Whether a model was ever asked for."""
        return self._adapter is not None

    def adapter(self, model: Any) -> adapters.Adapter:
        """The adapter of a model.

        Raises:
            WeightsError: the model has no weights that could be sent.
        """
        if self._adapter is None or self._adapter.model is not model:
            self._adapter = adapters.of(model)
        return self._adapter
