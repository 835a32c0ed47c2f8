"""The role that trains in a group, which turns a ring and answers the aggregator above as one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flame.channel.channel import Channel
from flame.config import Config
from flame.engine.convening import in_rounds
from flame.errors import RecipeError
from flame.mode import training
from flame.mode.composer import Composer
from flame.mode.ringing import GROUP_UNIDENTIFIED, TAG_RING_ALLREDUCE, Ringing
from flame.mode.role import quiet
from flame.mode.tasklet import Loop, Tasklet
from flame.mode.training import TAG_FETCH, TAG_UPLOAD

__all__ = ["GROUP_UNIDENTIFIED", "TAG_FETCH", "TAG_RING_ALLREDUCE", "TAG_UPLOAD", "Trainer"]


class Trainer(Ringing, training.Trainer):
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
        return cls.compose is Trainer.compose

    def put(self, tag: str) -> None:
        """Carry out `upload` or `ring_allreduce`; other tags are not for this role."""
        if tag == TAG_RING_ALLREDUCE:
            self.is_committer, self.total_count = True, super()._samples  # it answers for itself without a ring
            self._turn()
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

    def _restore(self, state: Mapping[str, Any]) -> None:
        if state["ring"] is not None:
            self._join_ring()
        super()._restore(state)

    def _join_ring(self) -> None:
        self._ring_joined = True
        self.cm.join(self.config.func_tag_map[TAG_RING_ALLREDUCE])

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
            self._join_ring()
            self._sit_down(self._channel(TAG_RING_ALLREDUCE))

    @property
    def _samples(self) -> int:
        return self.total_count

    def _send_weights(self, tag: str) -> None:
        if self.is_committer:
            super()._send_weights(tag)
            return
        self._send_dummy_weights(tag)

    def _send_dummy_weights(self, tag: str) -> None:
        """Say to the one above that somebody else of the ring speaks for this worker."""
        self.regularizer.update()
        self._following.answer(self._channel(tag), None, 0, {})
        self._received = self._begun = None
