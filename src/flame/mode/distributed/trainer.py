"""The role that trains among equals, which average their models in a ring."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flame.channel.channel import Channel
from flame.config import Config
from flame.engine.agreement import Local
from flame.engine.convening import merging
from flame.engine.parts import patience_of
from flame.errors import RecipeError, RunError
from flame.mode import training
from flame.mode.composer import Composer
from flame.mode.equals import check_equals
from flame.mode.keeping import keep
from flame.mode.ringing import TAG_RING_ALLREDUCE, Ringing
from flame.mode.role import quiet
from flame.mode.tasklet import Loop, Tasklet
from flame.weights.layout import Weights
from flame.wire.message import Order

__all__ = ["TAG_RING_ALLREDUCE", "Trainer"]

LOOK_AROUND_S = 1.0
"""How long a trainer that sees nobody looks around before it begins alone."""


class Trainer(Ringing, training.Trainer):
    """A worker of a federation without an aggregator; write `load_data`, `initialize`, `train` and `evaluate`.

    The program sets `config`, `model` and `dataset_size` (how many samples weigh in when models are averaged). Before
    the first round all begin from the model of the one with the lowest id; who comes later, from the others' model.

    Attributes:
        regularizer: the client half of the job's optimizer; `get_term(...)` gives what to add to the loss.
    """

    _shares = staticmethod(merging)
    _counts_from = 1

    _keeps_model = True

    @classmethod
    def get_func_tags(cls) -> list[str]:
        """`ring_allreduce`, and the class's own."""
        return [TAG_RING_ALLREDUCE, *cls.functions()]

    def internal_init(self) -> None:
        """Join the channels and make what the config asks for."""
        super().internal_init()
        self.is_committer, self.total_count = False, 0
        self._turned, self._in_ring, self._fresh = None, False, True
        self._rounds = self.config.hyperparameters.rounds

    @classmethod
    def check_config(cls, config: Config) -> None:
        """Refuse settings that a ring cannot work with, before anything runs. Raises RecipeError."""
        super().check_config(config)
        check_equals(config)
        if config.gate.kwargs.get("whenLost", "continue") != "continue":
            raise RecipeError("gate.kwargs.whenLost: a ring goes on without whoever goes; it is continue")

    @property
    def ring_weights(self) -> Any:
        """The same as `weights`."""
        return self.weights

    def meet(self) -> None:
        """Before the first round: begin from what the others have, or together.

        Raises:
            RunError: fewer than `hyperparameters.minPeers`, this one included, came for as long as the job may run.
        """
        if not self._fresh:
            return
        self._fresh = False
        channel = self._channel(TAG_RING_ALLREDUCE)
        self._await_others(channel)
        adapter = self._held.adapter(self.model)
        self._begin_with_base_model()
        self._sit_down(channel)
        self._bring(Local(adapter.snapshot(self._surroundings.memory.allocate), 0, 0, fresh=True))
        Ringing._ring_allreduce(self, TAG_RING_ALLREDUCE)  # not yet a round, in which a program has its say
        assert self._turned is not None  # the ring is closed
        self._begin_from_it()
        self._round = self._turned.round + 1
        self._work_done = self._round > self._rounds

    def put(self, tag: str) -> None:
        """Carry out `ring_allreduce`; other tags are not for this role."""
        if tag == TAG_RING_ALLREDUCE:
            self._turn()
            self._closed_round()
            self._begin_from_it()

    def _begin_from_it(self) -> None:
        """The next round's training begins from the ring's model: an algorithm's client half is told."""
        if self._turned is not None:
            self._begin(self._turned.model)

    def _begin(self, model: Weights) -> None:
        self._received, self._following.order = None, Order(self._round, model)
        self._begun = self.regularizer.begin({}, model, self._held.adapter(self.model))

    def get(self, tag: str) -> None:
        """Nothing: a ring is turned by `put`."""

    def increment_round(self) -> None:
        """Go on to the next round, or be done."""
        self._round += 1
        self._work_done = self._round > self._rounds

    def save_params(self) -> None:
        """Record the hyperparameters, once for the ring."""
        if self.is_committer:
            self.registry_client.save_params(self.config.hyperparameters)

    def save_model(self) -> None:
        """Record the final model, once for the ring."""
        if self.is_committer:
            keep(self.model, self._held, self.config, self.registry_client, self._surroundings)

    def compose(self) -> None:
        """Set up, then train, agree, turn the ring and evaluate in every round."""
        with Composer() as composer:
            self.composer = composer
            loop = Loop(loop_check_fn=lambda: self._work_done)
            (
                quiet("init_cm", self.init_cm)
                >> quiet("internal_init", self.internal_init)
                >> Tasklet("load_data", self.load_data)
                >> Tasklet("initialize", self.initialize)
                >> loop(
                    quiet("meet", self.meet)
                    >> Tasklet("train", self.train)
                    >> quiet("member_check", self.member_check)
                    >> quiet("ring_allreduce", self.put, TAG_RING_ALLREDUCE)
                    >> Tasklet("evaluate", self.evaluate)
                    >> quiet("save_metrics", self.save_metrics)
                    >> quiet("inc_round", self.increment_round)
                )
                >> quiet("save_params", self.save_params)
                >> quiet("save_model", self.save_model)
            )

    def _restore(self, state: Mapping[str, Any]) -> None:
        super()._restore(state)
        self._begin(state["model"])
        self._fresh = False

    def _rounds_passed(self) -> int:
        return self._round - 1

    def _closed_round(self) -> None:
        outcome = self._turned
        self.regularizer.update()
        if outcome is None:
            return  # the program turns no ring in this round
        self._round = outcome.round
        events = self._surroundings.events
        if events is not None and outcome.first:
            sent = self._channel(TAG_RING_ALLREDUCE).sent_bytes
            events.round_closed(self._round, len(outcome.members), outcome.counted, sent)

    def _await_others(self, channel: Channel) -> None:
        at_least = (self.config.hyperparameters.min_peers or 1) - 1
        limit_s = None if self._surroundings.fiber is not None else patience_of(self.config)
        if at_least and channel.await_join(limit_s, at_least):
            there = len(channel.all_ends())
            raise RunError(
                f"{there} of the {at_least} others needed are there on {channel.name()}, after {limit_s:g} s in which"
                " the first round waited for more"
            )
        if limit_s is not None:
            channel.look_around(LOOK_AROUND_S, self.config.network.patience)

    def _begin_with_base_model(self) -> None:
        """Put the registered model that the config names, if it names one, into the program's model."""
        base = self.config.base_model
        if base is not None and base.name and base.version > 0:
            weights = self.registry_client.load_model(base.name, base.version)
            if weights is not None:
                self._held.adapter(self.model).load(weights)
