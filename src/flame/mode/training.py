"""The role that trains: take the order, train, send back what has changed."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import numpy as np

from flame.channel.channel import Channel
from flame.common.custom_abcmeta import abstract_attribute
from flame.config import Config
from flame.engine.following import Following, Held
from flame.engine.parts import optimizer_of, patience_of, privacy_of, registry_of, trainers_half
from flame.engine.sampling import of_trainer, put_back, state_of, told
from flame.engine.simulated import NAME, work_of
from flame.errors import RecipeError
from flame.mode.composer import Composer
from flame.mode.role import Role, quiet
from flame.mode.tasklet import Loop, Tasklet
from flame.optimizer import Trained
from flame.privacy.combine import refuse_rings
from flame.selector.feedback import says
from flame.weights.copied import Lasting
from flame.weights.layout import Weights
from flame.weights.plain import out_of
from flame.wire.message import Order

logger = logging.getLogger(__name__)

TAG_FETCH = "fetch"
TAG_UPLOAD = "upload"
TAG_CHOOSE = "choose"
CHECKED = 4_000_000
"""Models of at most so many elements are looked through for NaN and infinity before they are sent."""


class Trainer(Role):
    """A worker with data of its own; subclass it and write `load_data`, `initialize`, `train` and `evaluate`.

    The program sets `config`, `model` and `dataset_size` (how many samples weigh in when its update is averaged).

    Attributes:
        regularizer: the client half of the job's optimizer; `get_term(...)` gives what to add to the loss.
        privacy: the trainer's half of the job's privacy mechanism; `private(model, optimizer, loader)` gives what to
            train with.
        fetch_success: whether the last `fetch` brought an order.
    """

    _keeps_model = False
    """Whether the model lives on from round to round, so that a checkpoint holds it: no order replaces it."""

    @abstract_attribute
    def model(self) -> Any:
        """The model that is trained."""

    @abstract_attribute
    def dataset_size(self) -> Any:
        """How many samples this worker trains on."""

    def __init__(self, config: Config | None = None) -> None:
        super().__init__(config)
        self.model, self.dataset_size = None, 0

    def internal_init(self) -> None:
        """Join the channels and make what the config asks for."""
        super().internal_init()
        self._following = Following(patience_of(self.config))
        self._held = Held()
        self._received: Any = None
        self._assigned = self._looking = False
        self._begun: Any = None
        self.registry_client = registry_of(self.config)
        self._algorithm = optimizer_of(self.config)
        self.regularizer = self._algorithm.regularizer
        self.privacy = privacy_of(self.config, self._surroundings.seed)
        self.fetch_success = False
        self._work = work_of(self.config)
        self.datasampler: Any = trainers_half(self.config, in_host=self._surroundings.fiber is not None)

    @classmethod
    def get_func_tags(cls) -> list[str]:
        """`fetch`, `upload`, and the class's own."""
        return [TAG_FETCH, TAG_UPLOAD, *super().get_func_tags()]

    @classmethod
    def check_config(cls, config: Config) -> None:
        """Refuse settings that this role cannot work with, before anything runs. Raises RecipeError."""
        super().check_config(config)
        if TAG_CHOOSE in config.func_tag_map and TAG_CHOOSE not in cls.get_func_tags():
            raise RecipeError(
                f"the TAG has a {config.role} choose among models, which {cls.__name__} does not when it is started by"
                " itself: subclass flame.mode.clustered.trainer.Trainer"
            )
        if str(config.privacy.sort) != "default":
            refuse_rings(str(config.privacy.sort), config)

    @classmethod
    def waits_first(cls) -> bool:
        """A trainer begins with an order, unless the program composes otherwise."""
        return cls.compose is Trainer.compose

    @property
    def weights(self) -> Any:
        """The weights that were received last, in the model's own form, as a private copy.

        Within `_update_weights`, and until they are sent, the model's. What a program assigns takes their place.
        """
        if self._received is None and self._looking:
            adapter = self._held.adapter(self.model)
            self._received = adapter.as_dict(adapter.snapshot())
        elif self._received is None and self._following.order is not None:
            order = self._following.order
            self._received = self._held.adapter(self.model).as_dict(self._begun) if order.weights else None
        return self._received

    @weights.setter
    def weights(self, value: Any) -> None:
        self._received, self._assigned = value, True

    def get(self, tag: str) -> None:
        """Carry out `fetch`, or the program's own function of that tag."""
        if tag == TAG_FETCH:
            self._fetch_weights(tag)
        else:
            super().get(tag)

    def put(self, tag: str) -> None:
        """Carry out `upload`, or the program's own function of that tag."""
        if tag == TAG_UPLOAD:
            self._send_weights(tag)
        else:
            super().put(tag)

    def compose(self) -> None:
        """internal_init, load_data, init, then fetch, train, evaluate, upload and save_metrics until the end."""
        with Composer() as composer:
            self.composer = composer
            fetch = quiet("fetch", self.get, TAG_FETCH)
            fetch.set_continue_fn(cont_fn=lambda: not self.fetch_success)
            loop = Loop(loop_check_fn=lambda: self._work_done)
            (
                quiet("internal_init", self.internal_init)
                >> Tasklet("load_data", self.load_data)
                >> Tasklet("init", self.initialize)
                >> loop(
                    fetch
                    >> Tasklet("train", self.train)
                    >> Tasklet("evaluate", self.evaluate)
                    >> quiet("upload", self.put, TAG_UPLOAD)
                    >> quiet("save_metrics", self.save_metrics)
                )
            )

    def _state(self) -> dict[str, Any]:
        kept = self._keeps_model and self.model is not None
        model = self._held.adapter(self.model).snapshot() if kept else None
        return {
            **super()._state(),
            "regularizer": self.regularizer.state(),
            "privacy": self.privacy.state(),
            "datasampler": state_of(self.datasampler),
            "model": model,
            "beside": self._beside(),
        }

    def _beside(self) -> dict[str, Any]:
        """What the model holds beside what an order replaces."""
        adapter = None if self.model is None or not self._held else self._held.adapter(self.model)
        return adapter.beside() if isinstance(adapter, Lasting) else {}

    def _restore(self, state: Mapping[str, Any]) -> None:
        super()._restore(state)
        if state["model"] is not None:
            self._held.adapter(self.model).load(state["model"])
        if state["beside"]:
            adapter = self._held.adapter(self.model)
            assert isinstance(adapter, Lasting)  # the same program made it
            adapter.put_beside(state["beside"])
        self.regularizer.restore(state["regularizer"])
        self.privacy.restore(state["privacy"])
        put_back(self.datasampler, state["datasampler"])

    def _fetch_weights(self, tag: str) -> None:
        channel: Channel = self._channel(tag)
        order = self._following.fetch(channel)
        if order is None:
            self._unordered()
            return
        events, leader = self._surroundings.events, self._following.leader
        if events is not None and leader is not None and channel.several:
            events.ordered(leader, order.round)
        self._work_done = order.end
        self.fetch_success = True
        if not order.end:
            self._take(order)

    def _take(self, order: Order) -> None:
        """Begin from an order's model."""
        self._received, self._assigned = None, False
        self._round = order.round
        if order.weights is not None:
            adapter = self._held.adapter(self.model)
            if order.extras and (metadata := told(order)):
                self.datasampler.handle_metadata_from_aggregator(metadata)
            said = order.extras.get(self._algorithm.name, {})
            self._begun = self.regularizer.begin(said, order.weights, adapter)
            self._update_model()

    def _update_model(self) -> None:
        """Put the received weights into the model; a program may do it otherwise, or change `weights` before.

        Updates tell how far the model has come from what was received, or from what was assigned to `weights`.

        Raises:
            WeightsError: what was assigned to `weights` does not fit the model.
        """
        adapter = self._held.adapter(self.model)
        if self._received is not None:
            adapter.load(out_of(self._received, adapter.layout))
        elif self._begun is not None:
            adapter.load(self._begun)

    def _update_weights(self) -> None:
        """Runs before the update is made: `weights` are the model's, and what a program makes of them is sent."""

    def _changed(self, received: Weights) -> Weights:
        """How far the model, or what the program has made of its weights, has come from what was received."""
        adapter, allocate = self._held.adapter(self.model), self._surroundings.memory.allocate
        base = out_of(self._received, received.layout) if self._assigned else received
        self._received, self._assigned, self._looking = None, False, True
        try:
            self._update_weights()
        finally:
            self._looking = False
        if self._received is None:
            return adapter.delta(base, allocate)
        sent = out_of(self._received, received.layout)
        delta = Weights(received.layout, allocate(received.nbytes))
        for out, after, before in zip(delta.segments, sent.segments, base.segments, strict=True):
            np.subtract(after, before, out=out)
        return delta

    def _unordered(self) -> None:
        """Nobody joined above for as long as the job may run: there is nothing to do here."""
        self._work_done = self.fetch_success = True

    def _send_weights(self, tag: str) -> None:
        order, channel = self._following.order, self._channel(tag)
        delta = None
        if order is not None and order.weights is not None:
            delta = self._refused(self._changed(order.weights))
        samples = self._samples
        if samples <= 0:
            logger.warning("%s has no samples in round %s: its update does not count", self.config.name, self._round)
        said = {} if delta is None else self._said(delta)
        self.regularizer.update()
        worked = samples
        said |= self._chosen_by(channel)
        said |= of_trainer(self.datasampler.get_metadata())
        if delta is not None:
            delta, samples = self._protected(delta, samples, said)
        extras = said | self.privacy.stamp
        if self._work is not None and order is not None:
            extras[NAME] = self._work.done(order, worked)
        self._following.answer(channel, delta, samples, extras)
        self._received = self._begun = None

    def _protected(self, delta: Weights, samples: int, said: dict[str, Any]) -> tuple[Weights | None, int]:
        """What the privacy mechanism lets out of an update.

        Raises:
            RecipeError: something goes with the update that the mechanism knows nothing of.
        """
        if said and str(self.config.privacy.sort) != "default":
            raise RecipeError(
                f"privacy.sort: {self.privacy.name} protects the update, and {', '.join(said)} would go beside it"
            )
        meet = getattr(self.privacy, "meet", None)
        if meet is not None:
            meet(self._held.adapter(self.model))
        delta_out, samples = self.privacy.outgoing(delta, samples)
        if self.privacy.epsilon is not None:
            self.update_metrics({"epsilon": self.privacy.epsilon})
        return delta_out, samples

    def _chosen_by(self, channel: Channel) -> dict[str, Any]:
        """What the selector of whoever is above chooses by."""
        return says(channel.selector, self.metrics or {}, self._samples)

    def _said(self, delta: Weights) -> dict[str, Any]:
        """What goes with the update: values by the name of what they are for."""
        hyper = self.config.hyperparameters
        rate = getattr(self, "learning_rate", None) or hyper.learning_rate
        trained = Trained(self._samples, self.metrics or {}, rate, hyper.epochs, hyper.batch_size)
        said = self.regularizer.finish(delta, trained, self._held.adapter(self.model))
        return {self._algorithm.name: said} if said else {}

    @property
    def _samples(self) -> int:
        return max(0, int(self.dataset_size or 0))

    def _refused(self, delta: Weights) -> Weights | None:
        """The update, or None if it would poison the mean; large ones are not looked through: it costs a pass."""
        bad = delta.not_finite() if delta.layout.size <= CHECKED else []
        if not bad:
            return delta
        logger.warning(
            "%s sends no update in round %s: %s is not finite", self.config.name, self._round, ", ".join(bad)
        )
        return None
