"""Roles that take their peers from a coordinator; everything else is the one engine's.

Of a channel, only who was assigned is there. A synchronous role hears the coordinator's word once a round, before it
fetches or distributes; an asynchronous one looks for it whenever it asks somebody.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from random import Random
from typing import Any, ClassVar

from flame.channel.channel import Channel
from flame.config import Config
from flame.engine.coordination import Assigned, Desk
from flame.engine.following import Following
from flame.engine.parts import patience_of
from flame.errors import RecipeError, RunError
from flame.extend import lookup
from flame.mode import aggregating, asynchronous, training
from flame.mode.aggregating import TAG_DISTRIBUTE
from flame.mode.composer import CloneComposer, Composer
from flame.mode.role import Role, quiet
from flame.mode.tasklet import Tasklet
from flame.selector import Selector
from flame.wire.message import Update

TAG_COORDINATE = "coordinate"


class Coordinated(Role):
    """What every role that a coordinator assigns has."""

    in_rounds: ClassVar[bool] = True
    """Whether it waits for the coordinator's word in every round."""

    _following: Following

    def internal_init(self) -> None:
        """Join the channels, and know where to hear of assignments."""
        super().internal_init()
        patience_s = patience_of(self.config)
        self._desk = Desk(self._channel(TAG_COORDINATE), patience_s, self.config.network.patience)
        if "_following" in vars(self):
            self._following = Assigned(self._desk, patience_s)

    @classmethod
    def get_func_tags(cls) -> list[str]:
        """`coordinate`, and the class's own."""
        return [TAG_COORDINATE, *super().get_func_tags()]

    @classmethod
    def check_config(cls, config: Config) -> None:
        """Refuse settings that this role cannot work with, before anything runs. Raises RecipeError."""
        super().check_config(config)
        for tag, name in config.func_tag_map.items():
            groups = config.channels[name].group_by.value if name in config.channels else ()
            if tag != TAG_COORDINATE and len(groups) > 1:
                raise RecipeError(
                    f"channels.{name}.groupBy has {len(groups)} groups: where a coordinator decides who works with"
                    " whom, everybody is in one"
                )

    def _state(self) -> dict[str, Any]:
        return {**super()._state(), "desk": self._desk.state()}

    def _restore(self, state: Mapping[str, Any]) -> None:
        self._desk.restore(state["desk"])
        super()._restore(state)

    def _liveness_check(self) -> None:
        """Wait until the coordinator is there."""
        self._desk.arrive()

    def _hear(self, ready: Update | None = None) -> None:
        """Wait for the coordinator's word about the next round."""
        self._work_done = not self._desk.next(ready)


def _before(composer: Composer, alias: str, *tasklets: Tasklet) -> None:
    anchor = composer.get_tasklet(alias)
    for tasklet in tasklets:
        anchor.insert_before(tasklet)


class Trainer(Coordinated, training.Trainer):
    """A trainer that hears from the coordinator in every round with whom it works."""

    checks_liveness: ClassVar[bool] = False

    @classmethod
    def waits_first(cls) -> bool:
        """It begins with the coordinator's word, unless the program composes otherwise."""
        return cls.compose is Trainer.compose

    def compose(self) -> None:
        """A trainer's chain, with `get_aggregator` before `fetch`."""
        super().compose()
        with CloneComposer(self.composer) as composer:
            if self.checks_liveness:
                _before(composer, "fetch", quiet("liveness_check", self._liveness_check))
            _before(composer, "fetch", quiet("get_aggregator", self._get_aggregator))

    def _get_aggregator(self) -> None:
        """Wait until an aggregator is assigned to this trainer, or the training is over."""
        self._hear()

    def _unordered(self) -> None:
        """The aggregator has gone, or the round is over: the coordinator is asked anew."""
        self.fetch_success = False


class LifelineTrainer(Trainer):
    """The same, after a look whether the coordinator is there."""

    checks_liveness = True


class TopAggregator(Coordinated, aggregating.TopAggregator):
    """The worker that leads a federation, and hears from the coordinator in every round with whom it works."""

    def compose(self) -> None:
        """A top aggregator's chain with `get_coord_ends` before `distribute`; the coordinator ends the training."""
        super().compose()
        with CloneComposer(self.composer) as composer:
            _before(composer, "distribute", quiet("get_coord_ends", self.get_coordinated_ends))
        self.composer.remove_tasklet("inform_end_of_training")

    def get_coordinated_ends(self) -> None:
        """Tell the coordinator that this round may begin, and wait until somebody is assigned."""
        self._hear(ready=Update(None, 0, self._round))
        _refuse_to_end_alone(self._desk)

    def increment_round(self) -> None:
        """Go on to the next round, or be done and tell the coordinator so."""
        super().increment_round()
        if self._work_done:
            self._desk.finish(self._round)

    def inform_end_of_training(self) -> None:
        """Tell the coordinator, which tells everybody else."""
        self._desk.finish(self._round)

    def _await_peers(self, channel: Channel) -> None:
        self._desk.await_assigned(channel)


class MiddleAggregator(Coordinated, aggregating.MiddleAggregator):
    """A middle aggregator that hears from the coordinator in every round with whom it works.

    Attributes:
        no_trainer: whether nobody was assigned to it in this round.
    """

    hears: ClassVar[tuple[str, str]] = ("get_trainers", "handle_no_trainer")
    checks_liveness: ClassVar[bool] = False

    def internal_init(self) -> None:
        """Join the channels and make what the config asks for."""
        super().internal_init()
        self.no_trainer = False

    @classmethod
    def waits_first(cls) -> bool:
        """It begins with the coordinator's word, unless the program composes otherwise."""
        return cls.compose is MiddleAggregator.compose

    def compose(self) -> None:
        """A middle aggregator's chain, with `get_trainers` and `handle_no_trainer` before `fetch`."""
        super().compose()
        get, handle = self.hears
        with CloneComposer(self.composer) as composer:
            if self.checks_liveness:
                _before(composer, "fetch", quiet("liveness_check", self._liveness_check))
            handled = quiet(handle, self._handle_no_trainer)
            handled.set_continue_fn(cont_fn=lambda: self.no_trainer)
            _before(composer, "fetch", quiet(get, self._get_trainers), handled)

    def inform_end_of_training(self) -> None:
        """Nothing: the coordinator tells everybody."""

    def _get_trainers(self) -> None:
        """Wait until the coordinator says who is below in the next round, or that the training is over."""
        self._hear()

    def _handle_no_trainer(self) -> None:
        """Without anybody below, there is nothing to do in this round."""
        self.no_trainer = not self._desk.assignment.below

    def _unordered(self) -> None:
        """The round is over, for others or for all: the coordinator is asked anew."""
        self.fetch_success = False

    def _nobody_is_there(self, channel: Channel) -> bool:
        self._desk.await_assigned(channel)
        return False


class UpperAggregator(MiddleAggregator):
    """A middle aggregator above leaf aggregators."""

    hears = ("get_leaf_aggs", "handle_no_leaf_agg")
    checks_liveness = True


class LeafAggregator(MiddleAggregator):
    """A middle aggregator above trainers and below other middle aggregators."""

    checks_liveness = True


class _Asynchronous(Coordinated):
    """What asynchronous aggregators that a coordinator assigns have in common."""

    in_rounds = False
    _selector: Selector | None = None

    @classmethod
    def check_config(cls, config: Config) -> None:
        """Refuse settings that this role cannot work with, before anything runs. Raises RecipeError."""
        super().check_config(config)
        if str(config.selector.sort) not in ("default", "fedbuff"):
            raise RecipeError(
                f"selector.sort: {config.selector.sort} chooses for a round; asynchronously, fedbuff does"
            )

    def _restore(self, state: Mapping[str, Any]) -> None:
        """The selector that was made for the coordinator's word is there before its state is put back."""
        self._desk.restore(state["desk"])
        if self._desk.heard:
            self._assign(self._channel(TAG_DISTRIBUTE))
        super()._restore(state)

    def _assign(self, channel: Channel) -> bool:
        """Take in what the coordinator has said; whether the training is over.

        Raises:
            PeerLost: the coordinator has gone.
        """
        over, assignment = self._desk.check(), self._desk.assignment
        if self._selector is None and self._desk.heard:
            self._selector = _at_a_time(self.config, self._surroundings.seed, channel.name(), assignment.most)
        channel.assign(assignment.below, self._selector)
        return over

    def _await_somebody(self, channel: Channel, limit_s: float | None, *, or_nobody: bool = False) -> bool:
        """Wait until somebody who was assigned is there, unless some are still busy.

        Args:
            channel: where.
            limit_s: for so long; None as long as it takes.
            or_nobody: whether it is enough that the coordinator assigns nobody.

        Returns:
            Whether it came about in time.
        """

        def settled() -> bool:
            nobody = or_nobody and self._desk.heard and not self._desk.assignment.below
            return self._assign(channel) or not channel.empty() or nobody

        self._desk.arrive()
        self._assign(channel)
        if _busy(channel):
            return True
        return channel.wait(settled, f"who is assigned to join on {channel.name()}", limit_s)


class AsyncTrainer(Coordinated, training.Trainer):
    """A trainer whom any middle aggregator may ask, and whom the coordinator tells that the training is over."""

    in_rounds = False

    def _unordered(self) -> None:
        """There is no order because the training is over, or else the coordinator has gone."""
        self._work_done = self.fetch_success = self._desk.check()


class AsyncTopAggregator(_Asynchronous, asynchronous.TopAggregator):
    """The asynchronous top of a coordinated federation."""

    def inform_end_of_training(self) -> None:
        """Tell the coordinator, which tells everybody else."""
        self._desk.finish(self._round)

    def _await_peers(self, channel: Channel) -> None:
        around = self._surroundings
        limit_s = around.patience_s if self._begun else around.patience_s and patience_of(self.config)
        if not self._await_somebody(channel, limit_s):
            raise RunError(f"the coordinator assigned nobody who is there on {channel.name()}, for {limit_s:g} s")
        _refuse_to_end_alone(self._desk)


class AsyncMiddleAggregator(_Asynchronous, asynchronous.MiddleAggregator):
    """An asynchronous middle aggregator of a coordinated federation."""

    def inform_end_of_training(self) -> None:
        """Nothing: the coordinator tells everybody."""

    def _unordered(self) -> None:
        """There is no order because the training is over, or else the coordinator has gone."""
        self._work_done = self.fetch_success = self._desk.check()

    def _nobody_is_there(self, channel: Channel) -> bool:
        self._await_somebody(channel, self._surroundings.patience_s, or_nobody=True)
        self._work_done = self._desk.over
        return not _busy(channel) and channel.empty()

    def _aggregate_weights(self, tag: str) -> None:
        """Fold an answer, unless the training ends before there is one."""
        channel = self._channel(tag)
        busy: Collection[str] = channel.properties.get("busy") or ()

        def heard() -> bool:
            answered = any(not channel.has(end) or not channel.is_rxq_empty(end) for end in busy)
            return answered or self._desk.moved_on()

        if busy and not self._leading.met:
            channel.wait(heard, f"an answer of any of {len(busy)} on {channel.name()}")
            self._work_done = self._desk.check()
        if not self._work_done:
            super()._aggregate_weights(tag)


def _busy(channel: Channel) -> bool:
    """Whether somebody who was asked has not answered."""
    return bool(channel.properties.get("busy"))


def _refuse_to_end_alone(desk: Desk) -> None:
    """A top whose coordinator never came has not trained anything.

    Raises:
        RunError: so it is.
    """
    if desk.over and not desk.heard:
        raise RunError("no coordinator came for as long as the job may run")


def _at_a_time(config: Config, seed: int | None, channel: str, most: int | None) -> Selector | None:
    """What chooses who is asked next: so many at a time as the coordinator says, or else the config; or all."""
    if most is None and str(config.selector.sort) == "default":
        return None
    chance = Random(None if seed is None else f"{seed}/{config.name or config.task_id}/{channel}")
    kwargs: dict[str, Any] = {"c": most} if most is not None else dict(config.selector.kwargs)
    kwargs.pop("//", None)
    made: Selector = lookup("selector", "fedbuff")(generator=chance, **kwargs)
    return made
