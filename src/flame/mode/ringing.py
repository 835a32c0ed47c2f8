"""The roles that average in rings: trainers without an aggregator, and trainers of which each group answers as one."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from typing import Any

from flame.channel.channel import Channel
from flame.config import Config
from flame.engine.agreement import Local, Outcome
from flame.engine.circle import Circle
from flame.engine.convening import Shares
from flame.engine.following import Held
from flame.engine.parts import optimizer_of, says_more
from flame.errors import RecipeError, WorkflowError
from flame.mode.role import Role
from flame.mode.training import CHECKED
from flame.optimizer.abstract import Adapted
from flame.optimizer.halves import Alone

logger = logging.getLogger(__name__)

TAG_RING_ALLREDUCE = "ring_allreduce"
GROUP_UNIDENTIFIED = "group_unidentified"
"""The group of a trainer of which nobody has heard yet in which group it is."""


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
    _in_ring: bool
    _brought = False

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
        optimizer = optimizer_of(config)
        led = isinstance(optimizer, Adapted) and "fetch" in cls.get_func_tags()  # an aggregator above asks its `do`
        folds = hasattr(optimizer, "fold") and not led
        if not isinstance(optimizer.regularizer, Alone) or says_more(optimizer) or folds:
            sort = config.optimizer.sort
            raise RecipeError(
                f"optimizer.sort: the halves of {sort} talk to each other, and a ring carries models only"
            )

    def member_check(self) -> None:
        """Agree with the others of the group on who is in this round's ring."""
        self._turned, self._in_ring = None, False
        self._member_check(TAG_RING_ALLREDUCE)

    def _member_check(self, tag: str) -> None:
        """Say that this worker has a model for a ring, and wait until it is known who is in it.

        A program that changes the model before it is averaged does so before it calls this. One that does not call it
        turns no ring in this round; all of a group have to leave out the same ones.
        """
        adapter = self._held.adapter(self.model)
        model = adapter.snapshot(self._surroundings.memory.allocate)
        samples = max(0, int(self.dataset_size or 0))
        bad = model.not_finite() if model.layout.size <= CHECKED else []
        if bad:
            name, tensors = self.config.name, ", ".join(bad)
            logger.warning("%s does not count in round %s: %s is not finite", name, self._round, tensors)
            samples = 0
        self._bring(Local(model, self._round, samples))
        plan = self._circle.agreed()
        self._in_ring = plan is not None and len(plan.members) > 1

    def can_ring_allreduce(self) -> bool:
        """Whether there is anybody to turn this round's ring with."""
        return self._in_ring

    def _bring(self, local: Local) -> None:
        self._circle.bring(local)
        self._brought = True

    def _turn(self) -> None:
        """Turn this round's ring, if one was agreed on.

        Raises:
            WorkflowError: the program has left it out after the others were told that it takes part.
        """
        self._ring_allreduce(TAG_RING_ALLREDUCE)
        if self._brought:
            raise WorkflowError(
                f"{type(self).__name__}._ring_allreduce has not turned the ring that was agreed on, for which the"
                " others wait: call super()._ring_allreduce(tag), or leave out _member_check as well"
            )

    def _ring_allreduce(self, tag: str) -> None:
        """Turn the ring, as often as it takes until everybody who is left has the mean; then it is the model."""
        if not self._brought:
            return
        self._brought = False
        outcome = self._circle.closed()
        self._turned = outcome
        self.is_committer, self.total_count = outcome.first, outcome.samples
        if outcome.counted:
            self._held.adapter(self.model).load(outcome.model)

    def _state(self) -> dict[str, Any]:
        met = "_circle" in vars(self)
        return {**super()._state(), "ring": self._circle.state() if met else None}

    def _restore(self, state: Mapping[str, Any]) -> None:
        super()._restore(state)
        if state["ring"] is not None:
            self._sit_down(self._channel(TAG_RING_ALLREDUCE))
            self._circle.restore(state["ring"])

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
