"""The role whose model travels: take it over, train it, hand it to the next."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flame.channel.coding import read_back, written
from flame.config import Config
from flame.engine.cycle import Cycle
from flame.mode import training
from flame.mode.equals import await_others, check_equals, equals_gate, fit_to_send, names_of
from flame.mode.keeping import keep
from flame.weights.layout import Weights
from flame.wire.message import Order

__all__ = ["TAG_HAND_OVER", "Trainer"]

TAG_HAND_OVER = "handOver"


class Trainer(training.Trainer):
    """A worker of a cycle; subclass it and write `load_data`, `initialize`, `train` and `evaluate`.

    The model that the run begins with is that of the first in order. With `hyperparameters.shuffle`, each round's
    order is another one, which follows from the seed.
    """

    @classmethod
    def get_func_tags(cls) -> list[str]:
        """`handOver`, and the class's own."""
        return [TAG_HAND_OVER, *cls.functions()]

    @classmethod
    def waits_first(cls) -> bool:
        """The first one begins by itself, and nobody knows yet who that is."""
        return False

    @classmethod
    def check_config(cls, config: Config) -> None:
        """Refuse what needs somebody who leads. Raises RecipeError."""
        super().check_config(config)
        check_equals(config)

    def internal_init(self) -> None:
        """Join the channel."""
        super().internal_init()
        config, names = self.config, names_of(self._surroundings)
        seed = config.job.job_id if config.seed is None else config.seed
        shuffle = f"{seed}" if config.hyperparameters.to_dict().get("shuffle") else None
        channel = self._channel(TAG_HAND_OVER)
        self._cycle = Cycle(channel, names, config.hyperparameters.rounds, equals_gate(config), shuffle)
        self._next: Order | None = None
        self._started = False

    _ends_within = True
    _keeps_model = True

    def _state(self) -> dict[str, Any]:
        order = None if self._next is None else written(self._next)
        return {**super()._state(), "cycle": self._cycle.state(), "next": order, "started": self._started}

    def _restore(self, state: Mapping[str, Any]) -> None:
        super()._restore(state)
        self._cycle.restore(state["cycle"])
        order = None if state["next"] is None else read_back(*state["next"])
        self._next, self._started = order if isinstance(order, Order) else None, state["started"]

    def _fetch_weights(self, tag: str) -> None:
        around, cycle = self._surroundings, self._cycle
        if not self._started:
            self._started = True
            await_others(self._channel(TAG_HAND_OVER), self.config, around)
            self._next = cycle.begin(self._snapshot, ask=around.fiber is None)
        order = self._next or cycle.receive(self._snapshot)
        self._next = None
        self.fetch_success = True
        self._following.order = order
        self._take(order)
        self._work_done = order.end
        if order.end and cycle.keeps(order):
            keep(self.model, self._held, self.config, self.registry_client, around)

    def _send_weights(self, tag: str) -> None:
        self.regularizer.update()
        cycle, round_, events = self._cycle, self._cycle.step.round, self._surroundings.events
        self._next = cycle.hand_on(fit_to_send(self._snapshot(), self._following.order, self.config.name))
        if events is not None and (cycle.step.round > round_ or (self._next is not None and self._next.end)):
            members = len(cycle.members)
            events.round_closed(round_, members, members, self._channel(TAG_HAND_OVER).sent_bytes)

    def _snapshot(self) -> Weights:
        return self._held.adapter(self.model).snapshot(self._surroundings.memory.allocate)
