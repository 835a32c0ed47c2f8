"""The roles that average in rings: trainers without an aggregator, and trainers of which each group answers as one."""

from __future__ import annotations

import logging
import os
from typing import Any

from flame.channel.channel import Channel
from flame.common.custom_abcmeta import abstract_attribute
from flame.config import Config
from flame.engine.agreement import Local, Outcome
from flame.engine.circle import Circle
from flame.engine.convening import Shares, in_rounds, merging
from flame.engine.following import Held
from flame.engine.parts import optimizer_of, patience_of, registry_of
from flame.errors import RecipeError, RunError
from flame.mode import training
from flame.mode.composer import Composer
from flame.mode.equals import check_equals
from flame.mode.keeping import keep
from flame.mode.role import Role, quiet
from flame.mode.tasklet import Loop, Tasklet
from flame.mode.training import CHECKED, TAG_FETCH, TAG_UPLOAD
from flame.optimizer.halves import Alone

logger = logging.getLogger(__name__)

TAG_RING_ALLREDUCE = "ring_allreduce"

LOOK_AROUND_S = 1.0
"""How long a trainer that sees nobody looks around before it begins alone."""


class Ringing(Role):
    """What roles that turn rings have in common.

    Attributes:
        is_committer: whether this worker speaks for its ring: the one with the lowest id of those who turned it last.
        total_count: how many samples are behind the ring's last mean.
    """

    model: Any
    dataset_size: Any
    is_committer: bool
    total_count: int
    _held: Held
    _shares: Shares
    _circle: Circle
    _turned: Outcome | None

    @classmethod
    def get_func_tags(cls) -> list[str]:
        """`ring_allreduce`, and what the class has besides."""
        return [TAG_RING_ALLREDUCE, *super().get_func_tags()]

    @classmethod
    def check_config(cls, config: Config) -> None:
        """Refuse settings that a ring cannot work with, before anything runs. Raises RecipeError."""
        super().check_config(config)
        name = config.func_tag_map.get(TAG_RING_ALLREDUCE)
        if name is None:
            raise RecipeError(f"role {config.role} turns rings, but no channel's funcTags give it {TAG_RING_ALLREDUCE}")
        spec = config.channels[name]
        if spec.pair[0] != spec.pair[1]:
            raise RecipeError(
                f"channel {name}: a ring is among workers of one role, not between {' and '.join(spec.pair)}"
            )
        if spec.compression is not None:
            raise RecipeError(f"channel {name}: compression: what goes round in a ring is summed, and not compressed")
        for setting, chosen in (("privacy", config.privacy.sort), ("datasampler", config.datasampler.sort)):
            if str(chosen) != "default":
                raise RecipeError(f"{setting}.sort: {chosen!s} talks to an aggregator, which a ring has none of")
        if str(config.optimizer.sort) == "fedbuff":
            raise RecipeError("optimizer.sort: fedbuff asks whoever is idle; a ring is of all who are asked at once")
        if not isinstance(optimizer_of(config).regularizer, Alone):
            sort = config.optimizer.sort
            raise RecipeError(
                f"optimizer.sort: the halves of {sort} talk to each other, and a ring carries models only"
            )

    def member_check(self) -> None:
        """Agree with the others of the group on who is in this round's ring."""
        adapter = self._held.adapter(self.model)
        model = adapter.snapshot(self._surroundings.memory.allocate)
        samples = max(0, int(self.dataset_size or 0))
        bad = model.not_finite() if model.layout.size <= CHECKED else []
        if bad:
            name, tensors = self.config.name, ", ".join(bad)
            logger.warning("%s does not count in round %s: %s is not finite", name, self._round, tensors)
            samples = 0
        self._turned = None
        self._circle.bring(Local(model, self._round, samples))
        plan = self._circle.agreed()
        self._in_ring = plan is not None and len(plan.members) > 1

    def can_ring_allreduce(self) -> bool:
        """Whether there is anybody to turn this round's ring with."""
        return self._in_ring

    def _ring_allreduce(self, tag: str) -> None:
        """Turn the ring, as often as it takes until everybody who is left has the mean; then it is the model."""
        outcome = self._circle.closed()
        self._turned = outcome
        self.is_committer, self.total_count = outcome.first, outcome.samples
        if outcome.counted:
            self._held.adapter(self.model).load(outcome.model)

    def _sit_down(self, channel: Channel) -> None:
        """Meet the others of the ring."""
        around = self._surroundings
        hosted = around.fiber is not None
        self._circle = Circle(
            channel,
            self._shares,
            token=0 if hosted else int.from_bytes(os.urandom(5)) << 24,
            allocate=around.memory.allocate,
            silence_s=None if hosted else self.config.network.silence,
            seated=hosted,
        )


class Trainer(Ringing):
    """A worker of a federation without an aggregator; write `load_data`, `initialize`, `train` and `evaluate`.

    The program sets `config`, `model` and `dataset_size` (how many samples weigh in when models are averaged). Before
    the first round all begin from the model of the one with the lowest id; who comes later, from the others' model.

    Attributes:
        regularizer: the client half of the job's optimizer; `get_term(...)` gives what to add to the loss.
    """

    _shares = staticmethod(merging)

    @abstract_attribute
    def model(self) -> Any:
        """The model that is trained."""

    @abstract_attribute
    def dataset_size(self) -> Any:
        """How many samples this worker trains on."""

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.model, self.dataset_size = None, 0

    def internal_init(self) -> None:
        """Join the channels and make what the config asks for."""
        super().internal_init()
        self.registry_client = registry_of(self.config)
        self.regularizer = optimizer_of(self.config).regularizer
        self.is_committer, self.total_count = False, 0
        self._held, self._turned, self._in_ring, self._fresh = Held(), None, False, True
        self._rounds = self.config.hyperparameters.rounds

    @classmethod
    def check_config(cls, config: Config) -> None:
        """Refuse settings that a ring cannot work with, before anything runs. Raises RecipeError."""
        super().check_config(config)
        check_equals(config)
        if config.gate.kwargs.get("whenLost", "continue") != "continue":
            raise RecipeError("gate.kwargs.whenLost: a ring goes on without whoever goes; it is continue")

    @property
    def weights(self) -> Any:
        """The model that this round began from, in the model's own form, as a private copy; None before any."""
        return None if self._turned is None else self._held.adapter(self.model).as_dict(self._turned.model)

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
        self._circle.bring(Local(adapter.snapshot(self._surroundings.memory.allocate), 0, 0, fresh=True))
        self._ring_allreduce(TAG_RING_ALLREDUCE)
        assert self._turned is not None  # the ring is closed
        self._round = self._turned.round + 1
        self._work_done = self._round > self._rounds

    def put(self, tag: str) -> None:
        """Carry out `ring_allreduce`; other tags are not for this role."""
        if tag == TAG_RING_ALLREDUCE:
            self._ring_allreduce(tag)
            self._closed_round()

    def get(self, tag: str) -> None:
        """Nothing: a ring is turned by `put`."""

    def increment_round(self) -> None:
        """Go on to the next round, or be done."""
        self._round += 1
        self._work_done = self._round > self._rounds

    def save_metrics(self) -> None:
        """Hand this round's metrics on and start afresh."""
        if self._timed is not None:
            self.registry_client.save_metrics(self._round, {**(self.metrics or {}), **self.mc.get()})
            self.mc.clear()
        super().save_metrics()

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

    def _closed_round(self) -> None:
        outcome = self._turned
        assert outcome is not None  # the ring is closed
        self._round = outcome.round
        self.regularizer.update()
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


class HybridTrainer(Ringing, training.Trainer):
    """A trainer of a group that turns a ring in every round, and answers the aggregator above as one."""

    _shares = staticmethod(in_rounds)

    def init_cm(self) -> None:
        """Join the channels, except the ring's: there it is waited for once it has something to do."""
        self._ring_joined = False
        super().init_cm()

    def internal_init(self) -> None:
        """Join the channels and make what the config asks for."""
        super().internal_init()
        self.is_committer, self.total_count = False, 0
        self._turned, self._in_ring = None, False

    @classmethod
    def check_config(cls, config: Config) -> None:
        """Refuse settings that such a group cannot work with, before anything runs. Raises RecipeError."""
        super().check_config(config)
        if str(config.selector.sort) != "default":
            raise RecipeError(f"selector.sort: {config.selector.sort} leaves some of a group out; a ring waits for all")

    @classmethod
    def waits_first(cls) -> bool:
        """It begins with an order, unless the program composes otherwise."""
        return cls.compose is HybridTrainer.compose

    def put(self, tag: str) -> None:
        """Carry out `upload` or `ring_allreduce`; other tags are not for this role."""
        if tag == TAG_RING_ALLREDUCE:
            self._ring_allreduce(tag)
        else:
            super().put(tag)

    def save_params(self) -> None:
        """Record the hyperparameters, once for the group."""
        if self.is_committer:
            self.registry_client.save_params(self.config.hyperparameters)

    def save_model(self) -> None:
        """Record the group's last model, under its group's name."""
        if self.is_committer and self.model is not None:
            group, job = self._channel(TAG_RING_ALLREDUCE).groupby(), self.config.job
            self.registry_client.save_model(f"{job.name}-{job.job_id}-{group}", self.model)

    def compose(self) -> None:
        """Set up, then fetch, train, agree, turn the ring, evaluate and upload until the end comes from above."""
        with Composer() as composer:
            self.composer = composer
            fetch = quiet("fetch", self.get, TAG_FETCH)
            fetch.set_continue_fn(cont_fn=lambda: not self.fetch_success)
            loop = Loop(loop_check_fn=lambda: self._work_done)
            (
                quiet("init_cm", self.init_cm)
                >> quiet("internal_init", self.internal_init)
                >> Tasklet("load_data", self.load_data)
                >> Tasklet("initialize", self.initialize)
                >> loop(
                    fetch
                    >> Tasklet("train", self.train)
                    >> quiet("member_check", self.member_check)
                    >> quiet("ring_allreduce", self.put, TAG_RING_ALLREDUCE)
                    >> Tasklet("evaluate", self.evaluate)
                    >> quiet("save_metrics", self.save_metrics)
                    >> quiet("upload", self.put, TAG_UPLOAD)
                )
                >> quiet("save_params", self.save_params)
                >> quiet("save_model", self.save_model)
            )

    def _channels_at_first(self) -> list[str]:
        ring = self.config.func_tag_map.get(TAG_RING_ALLREDUCE)
        return [name for name in super()._channels_at_first() if name != ring]

    def _fetch_weights(self, tag: str) -> None:
        above: Channel = self._channel(tag)
        if self._ring_joined and self._surroundings.fiber is None:
            # Others may turn a ring meanwhile that this one is not in; in a host, everybody is in every one.
            self._circle.rest(lambda: above.unread() or above.empty(), lambda: f"an order on {above.name()}")
        super()._fetch_weights(tag)
        if not self._work_done and not self._ring_joined:
            self._ring_joined = True
            self.cm.join(self.config.func_tag_map[TAG_RING_ALLREDUCE])
            self._sit_down(self._channel(TAG_RING_ALLREDUCE))

    @property
    def _samples(self) -> int:
        return self.total_count

    def _send_weights(self, tag: str) -> None:
        if self.is_committer:
            super()._send_weights(tag)
            return
        self.regularizer.update()
        self._following.answer(self._channel(tag), None, 0, {})
        self._received = self._begun = None
