"""The roles that decide who works with whom."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from random import Random
from typing import Any, ClassVar, NamedTuple

from flame.channel.channel import Channel
from flame.engine.assignment import NAME, Assignment, Plan, dealt, rebalanced
from flame.engine.parts import patience_of
from flame.errors import PeerLost, RunError
from flame.mode.composer import Composer
from flame.mode.role import Role, quiet
from flame.mode.tasklet import Loop
from flame.selector.choice import kept, put_back
from flame.wire.message import Order, Update

TAG_COORDINATE_WITH_TOP_AGG = "coordinateWithTopAgg"
TAG_COORDINATE_WITH_MID_AGG = "coordinateWithMidAgg"
TAG_COORDINATE_WITH_LEAF_AGG = "coordinateWithLeafAgg"
TAG_COORDINATE_WITH_TRAINER = "coordinateWithTrainer"


class Tier(NamedTuple):
    """One tier of a coordinated hierarchy.

    Attributes:
        tag: the function tag of the coordinator's channel to it.
        told: the alias of the tasklet that tells it what was decided in a round.
        paired: the alias of the tasklet that gives it those below it; "" for the top, which gets all, and trainers.
    """

    tag: str
    told: str = ""
    paired: str = ""


class Coordinating(Role):
    """What coordinators have in common: channels to each tier, and an eye on who is there."""

    in_rounds: ClassVar[bool] = True
    """Whether it waits for the coordinator's word in every round."""

    tiers: ClassVar[Sequence[Tier]]

    def internal_init(self) -> None:
        """Join the channels."""
        super().internal_init()
        self._tiers: list[Channel] = [self._channel(tier.tag) for tier in self.tiers]
        self._top = self._tiers[0]
        self._leader = ""

    @classmethod
    def get_func_tags(cls) -> list[str]:
        """One for each tier, and the class's own."""
        return [*(tier.tag for tier in cls.tiers), *super().get_func_tags()]

    def get_channel(self, tag: str) -> Channel:
        """The channel to a tier, once somebody is there.

        Raises:
            WorkflowError: the TAG binds that function tag to no channel of this role.
        """
        channel: Channel = self._channel(tag)
        channel.await_join()
        return channel

    def _state(self) -> dict[str, Any]:
        return {**super()._state(), "leader": self._leader}

    def _restore(self, state: Mapping[str, Any]) -> None:
        super()._restore(state)
        self._leader = state["leader"]
        self._top.drain_messages()  # at most that the training is over: it is extended

    def inform_end_of_training(self) -> None:
        """Tell everybody in every tier that there will be no more rounds."""
        for channel in self._tiers:
            channel.post_last(Order(self._round, None, True))

    def _await_everybody(self) -> None:
        """Wait until somebody is in each tier, and at first as many trainers as the config asks for.

        Raises:
            RunError: nobody came for so long, or there are several tops.
            PeerLost: the top has gone meanwhile.
        """
        around, begun = self._surroundings, bool(self._leader)
        limit_s = around.patience_s if begun else (around.patience_s and patience_of(self.config))
        while self._missing():
            what = "somebody to join in every tier"
            if not self._top.wait(lambda: not self._missing() or (begun and self._top.empty()), what, limit_s):
                raise self._nobody(limit_s or 0.0)
            self._look_after_the_top()
        if not begun:
            self._leader, *others = self._top.all_ends()
            if others:
                raise RunError(f"{1 + len(others)} are there as {self._top.other_role()}; a coordinator has one")

    def _missing(self) -> list[str]:
        """The roles of tiers in which nobody, or too few, are there."""
        least = [1] * len(self._tiers)
        least[-1] = 1 if self._leader else self.config.hyperparameters.min_peers or 1
        pairs = zip(self._tiers, least, strict=True)
        return [channel.other_role() for channel, number in pairs if len(channel.all_ends()) < number]

    def _nobody(self, seconds: float) -> RunError:
        return RunError(
            f"too few are there as {' and '.join(self._missing())}, after {seconds:g} s of waiting for more"
        )

    def _heard(self) -> Update | None:
        """What the top has said, if it has said anything.

        Raises:
            PeerLost: it has gone without a word.
            RunError: what it says is no update.
        """
        end = self._top.unread()
        if end is None:
            self._look_after_the_top()
            return None
        said = self._top.take(end)
        if not isinstance(said, Update):
            raise RunError(f"the top was to say that it is ready; it sent a {type(said).__name__}")
        return said

    def _look_after_the_top(self) -> None:
        end = self._leader
        if end and not self._top.has(end) and not self._top.await_return(end, self.config.network.patience):
            raise PeerLost(end, "the top left before it ended the training")

    def _say(self, tier: int, ends: Sequence[str], assignment: Assignment) -> None:
        self._tiers[tier].post(ends, Order(assignment.round, None, False, assignment.extras()))


class Coordinator(Coordinating):
    """Decides in every round, when the top is ready for it, which trainers work with which middle aggregator.

    `hyperparameters.rounds` of its own config says how many rounds there are. A trainer that its selector does not
    choose has no work in that round.
    """

    tiers: ClassVar[Sequence[Tier]] = (
        Tier(TAG_COORDINATE_WITH_TOP_AGG, "send_selected_middle_aggregators"),
        Tier(TAG_COORDINATE_WITH_MID_AGG, "send_selected_trainers", "pair_mid_aggs_and_trainers"),
        Tier(TAG_COORDINATE_WITH_TRAINER, "send_selected_middle_aggregator"),
    )
    awaits: ClassVar[str] = "await_mid_aggs_and_trainers"
    by_chance: ClassVar[bool] = True

    def internal_init(self) -> None:
        """Join the channels; nobody is assigned yet."""
        super().internal_init()
        self._plan = Plan()
        self._through = False
        seed, name = self._surroundings.seed, self.config.name or self.config.task_id
        self._chance = Random(None if seed is None else f"{seed}/{name}/{NAME}") if self.by_chance else None

    def compose(self) -> None:
        """In every round: wait for everybody, pair them tier by tier from below, and tell them."""
        with Composer() as composer:
            self.composer = composer
            loop = Loop(loop_check_fn=lambda: self._work_done)
            body = quiet(self.awaits, self.await_ready)
            for number, tier in reversed(list(enumerate(self.tiers))):
                if tier.paired:
                    body = body >> quiet(tier.paired, self.pair, number)
            for number, tier in enumerate(self.tiers):
                body = body >> quiet(tier.told, self.tell, number)
            body = body >> quiet("inc_round", self.increment_round)
            (
                quiet("internal_init", self.internal_init)
                >> loop(body)
                >> quiet("inform_end_of_training", self.inform_end_of_training)
            )

    def _state(self) -> dict[str, Any]:
        chance = None if self._chance is None else kept(self._chance)
        return {**super()._state(), "plan": (self._plan.round, self._plan.hands), "chance": chance}

    def _restore(self, state: Mapping[str, Any]) -> None:
        super()._restore(state)
        self._plan = Plan(*state["plan"])
        self._work_done = self._round > self.config.hyperparameters.rounds
        if self._chance is not None:
            put_back(self._chance, state["chance"])

    def _rounds_passed(self) -> int:
        return self._round - 1

    def await_ready(self) -> None:
        """Wait until the top is ready for the next round, and somebody is there in each tier."""
        if not self._leader:
            self._await_everybody()
        if self._await_top():
            self._await_everybody()

    def pair(self, tier: int) -> None:
        """Give each aggregator of a tier its share of those below who take part."""
        below = self._tiers[tier + 1]
        if below is self._tiers[-1]:
            below.set_property("round", self._round)
            followers, self._plan = below.ends(), Plan(self._round)
        else:
            followers = self._plan.leading()
        self._plan.hands.insert(0, dealt(followers, self._tiers[tier].all_ends(), self._chance))
        if tier == 1:
            self._plan.hands.insert(0, {self._leader: self._plan.leading()})

    def tell(self, tier: int) -> None:
        """Let a tier know what was decided for it."""
        words: dict[Assignment, list[str]] = {}
        for end, assignment in self._plan.of(tier).items():
            words.setdefault(assignment, []).append(end)
        for assignment, ends in words.items():
            self._say(tier, ends, assignment)

    def increment_round(self) -> None:
        """Go on to the next round, or be done."""
        self._round += 1
        self._work_done = self._round > self.config.hyperparameters.rounds

    def inform_end_of_training(self) -> None:
        """When the top is through with the last round, tell everybody that there will be no more."""
        if not self._through:
            self._await_top()
        super().inform_end_of_training()

    def _await_top(self) -> bool:
        """Wait until the top is through with the round under way, and look after whoever is led in it.

        Returns:
            Whether the top is ready for another.
        """
        top = self._top
        while True:
            top.wait(lambda: top.unread() or top.empty() or self._departed(), "the top to be ready for a round")
            for tier, end in self._departed():
                self._let_go(tier, end)
            said = self._heard()
            if said is None:
                continue
            if said.extras.get(NAME):
                self._through = self._work_done = True
                return False
            if said.round > self._plan.round:
                self._round = said.round
                return True
            self.tell(0)  # it has not heard what was decided: it was away

    def _departed(self) -> list[tuple[int, str]]:
        """Whoever has a part in this round, and has left: tier and end."""
        tiers = range(1, len(self._tiers)) if self._plan.hands else ()
        return [(tier, end) for tier in tiers for end in self._plan.led(tier) if not self._tiers[tier].has(end)]

    def _let_go(self, tier: int, end: str) -> None:
        """Somebody has left: whoever leads it may never have seen it, and is told not to wait for it."""
        leader = self._plan.without(tier, end)
        if leader is not None:
            self._say(tier - 1, [leader], self._plan.of(tier - 1)[leader])


class DeepCoordinator(Coordinator):
    """The same with a tier of leaf aggregators between the middle ones and the trainers; pairs are made in turn."""

    tiers: ClassVar[Sequence[Tier]] = (
        Tier(TAG_COORDINATE_WITH_TOP_AGG, "send_selected_middle_aggregators"),
        Tier(TAG_COORDINATE_WITH_MID_AGG, "send_selected_leaf_aggregators", "pair_mid_aggs_and_leaf_aggs"),
        Tier(TAG_COORDINATE_WITH_LEAF_AGG, "send_selected_trainers", "pair_leaf_aggs_and_trainers"),
        Tier(TAG_COORDINATE_WITH_TRAINER, "send_selected_leaf_aggregator"),
    )
    awaits = "await_mid_leaf_aggs_and_trainers"
    by_chance = False


class AsyncCoordinator(Coordinating):
    """Keeps every trainer with one middle aggregator, and moves as few as it can when somebody comes or goes.

    The top says when the training is over. `hyperparameters.concurrency` of the coordinator's config says how many of
    its peers an aggregator keeps busy at a time.
    """

    in_rounds = False
    tiers: ClassVar[Sequence[Tier]] = (
        Tier(TAG_COORDINATE_WITH_TOP_AGG),
        Tier(TAG_COORDINATE_WITH_MID_AGG),
        Tier(TAG_COORDINATE_WITH_TRAINER),
    )

    def internal_init(self) -> None:
        """Join the channels; nobody is assigned yet."""
        super().internal_init()
        self._hands: dict[str, list[str]] = {}
        self._seen: list[Sequence[str]] = []
        self._told: dict[tuple[str, int], Assignment] = {}

    def compose(self) -> None:
        """Whenever somebody has come or gone, assign; until the top says that the training is over."""
        with Composer() as composer:
            self.composer = composer
            loop = Loop(loop_check_fn=lambda: self._work_done)
            (
                quiet("internal_init", self.internal_init)
                >> loop(quiet("monitor", self.monitor) >> quiet("coordinate", self.coordinate))
                >> quiet("inform_eot", self.inform_end_of_training)
            )

    def _state(self) -> dict[str, Any]:
        told = [(end, left, word.round, word.extras()) for (end, left), word in self._told.items()]
        return {**super()._state(), "hands": self._hands, "told": told}

    def _restore(self, state: Mapping[str, Any]) -> None:
        super()._restore(state)
        self._hands = state["hands"]
        self._seen = [channel.all_ends() for channel in self._tiers]
        self._told = {(end, left): Assignment.read(number, said) for end, left, number, said in state["told"]}

    def monitor(self) -> None:
        """Wait until somebody has come or gone, or the top says that the training is over."""
        if not self._leader:
            self._await_everybody()
            return
        top, limit_s = self._top, self._surroundings.patience_s if self._missing() else None
        if not top.wait(lambda: top.unread() or top.empty() or self._changed(), "somebody to come or go", limit_s):
            raise self._nobody(limit_s or 0.0)
        said = self._heard()
        self._work_done = said is not None and bool(said.extras.get(NAME))

    def coordinate(self) -> None:
        """Assign trainers to middle aggregators, and those that have some to the top; tell whom it concerns."""
        self._seen = [channel.all_ends() for channel in self._tiers]
        _, middles, trainers = self._seen
        self._hands = rebalanced(self._hands, trainers, middles) if middles else {}
        leading = [end for end, ends in self._hands.items() if ends]
        told = {}
        for tier, hands in ((0, {self._leader: leading}), (1, self._hands)):
            for end, ends in hands.items():
                key = end, self._tiers[tier].left(end)
                told[key] = Assignment(below=tuple(ends), most=self.config.hyperparameters.concurrency)
                if self._told.get(key) != told[key]:
                    self._say(tier, [end], told[key])
        self._told = told

    def _changed(self) -> bool:
        return any(channel.all_ends() is not ends for channel, ends in zip(self._tiers, self._seen, strict=True))
