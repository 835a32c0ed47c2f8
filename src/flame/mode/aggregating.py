"""The roles that aggregate: the one at the top, and those in between."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from functools import partial
from typing import Any

from flame.channel.channel import Channel
from flame.common.custom_abcmeta import abstract_attribute
from flame.config import Config
from flame.engine.following import Following, Held
from flame.engine.gate import Gate
from flame.engine.leading import Leading
from flame.engine.parts import optimizer_of, patience_of, privacy_of, registry_of, sampler_of
from flame.engine.sampling import Sampling, put_back, state_of
from flame.engine.simulated import NAME, time_of
from flame.errors import RunError
from flame.mode.composer import Composer
from flame.mode.role import Role, quiet
from flame.mode.tasklet import Loop, Tasklet
from flame.mode.training import TAG_FETCH, TAG_UPLOAD
from flame.mode.waiting import enough, leading_of, waiting_gate_of
from flame.plugin import PluginManager, PluginType
from flame.selector.feedback import relays
from flame.weights.layout import Weights
from flame.weights.plain import out_of
from flame.weights.safetensors import write
from flame.wire.message import Order

logger = logging.getLogger(__name__)

TAG_DISTRIBUTE = "distribute"
TAG_AGGREGATE = "aggregate"
WAIT_TIME_FOR_TRAINER = 60


class TopAggregator(Role):
    """The worker that leads a federation; subclass it and write `load_data`, `initialize`, `train` and `evaluate`.

    The program sets `config`, `model` and `dataset`.

    Attributes:
        dist_tag: the function tag of the channel on which orders go out.
    """

    dist_tag = TAG_DISTRIBUTE

    @abstract_attribute
    def model(self) -> Any:
        """The model that the federation trains."""

    @abstract_attribute
    def dataset(self) -> Any:
        """Data to evaluate on, or None."""

    def __init__(self, config: Config | None = None) -> None:
        super().__init__(config)
        self.model, self.dataset = None, None

    def internal_init(self) -> None:
        """Join the channels and make what the config asks for."""
        super().internal_init()
        self._algorithm = optimizer_of(self.config)
        self.optimizer: Any = getattr(self._algorithm, "own", self._algorithm)
        self.registry_client = registry_of(self.config)
        self.plugin_manager = PluginManager()
        self._gate = self._closes(self.config)
        self._leading = self._leads()
        self._leading.privacy = self.privacy = privacy_of(self.config, self._surroundings.seed)
        self.datasampler = sampler_of(self.config).aggregator_data_sampler
        self._leading.sampling = Sampling(self.datasampler)
        self._held = Held()
        self._rounds = self.config.hyperparameters.rounds
        self._begun = self._met = self._looking = False
        self._own: Any = None
        self._next: Weights | None = None

    @classmethod
    def get_func_tags(cls) -> list[str]:
        """`distribute`, `aggregate`, and the class's own."""
        return [TAG_DISTRIBUTE, TAG_AGGREGATE, *super().get_func_tags()]

    @property
    def weights(self) -> Any:
        """The weights of the model, in its own form, as a private copy; None before the first round.

        Within `_update_model`, what the round has made of them. What a program assigns there, or in `_update_weights`,
        takes their place.
        """
        if self._own is not None:
            return self._own
        if not self._begun:
            return None
        adapter = self._held.adapter(self.model)
        seen = adapter.as_dict(adapter.snapshot() if self._next is None else self._next)
        if self._looking or self._next is not None:
            self._own = seen
        return seen

    @weights.setter
    def weights(self, value: Any) -> None:
        self._own = value

    def put(self, tag: str) -> None:
        """Carry out `distribute`, or the program's own function of that tag."""
        if tag == TAG_DISTRIBUTE:
            self._distribute_weights(tag)
        else:
            super().put(tag)

    def get(self, tag: str) -> None:
        """Carry out `aggregate`, or the program's own function of that tag."""
        if tag == TAG_AGGREGATE:
            self._aggregate_weights(tag)
        else:
            super().get(tag)

    def run_analysis(self) -> None:
        """Let the machine's analyzers look at the model; what they find is among the round's metrics."""
        for plugin in self.plugin_manager.get_plugins(PluginType.ANALYZER):
            found = plugin.callback()(self.model, self.dataset)
            if found:
                self.update_metrics(found)

    def increment_round(self) -> None:
        """Go on to the next round, or be done: after the last one, or when the privacy budget allows no further one."""
        self._round += 1
        self._work_done = self._round > self._rounds or self.privacy.exhausted
        if self.privacy.exhausted and self._round <= self._rounds:
            logger.warning("the privacy budget is spent: the training ends after round %s", self._round - 1)
        self._channel(TAG_DISTRIBUTE).set_property("round", self._round)

    def inform_end_of_training(self) -> None:
        """Tell everybody below that there will be no more orders."""
        self._channel(TAG_DISTRIBUTE).post_last(Order(self._round, None, True))

    def save_metrics(self) -> None:
        """Hand this round's metrics on and start afresh."""
        if self._leading.clock is not None:
            self.update_metrics({"simulated_s": self._leading.clock.now})
        super().save_metrics()

    def save_params(self) -> None:
        """Record the hyperparameters."""
        self.registry_client.save_params(self.config.hyperparameters)

    def save_model(self) -> None:
        """Record the final model."""
        if self.model is None:
            return
        weights = self._held.adapter(self.model).snapshot(self._surroundings.memory.allocate)
        self.registry_client.save_model(f"{self.config.job.name}-{self.config.job.job_id}", self.model)
        if self._surroundings.events is not None:
            self._surroundings.events.model(partial(_write_model, weights))

    def compose(self) -> None:
        """Set up, then rounds of distribute, aggregate, train and evaluate, then the end of training."""
        with Composer() as composer:
            self.composer = composer
            loop = Loop(loop_check_fn=lambda: self._work_done)
            (
                quiet("internal_init", self.internal_init)
                >> Tasklet("load_data", self.load_data)
                >> Tasklet("initialize", self.initialize)
                >> loop(
                    self._answers()
                    >> Tasklet("train", self.train)
                    >> Tasklet("evaluate", self.evaluate)
                    >> Tasklet("analysis", self.run_analysis)
                    >> quiet("save_metrics", self.save_metrics)
                    >> quiet("inc_round", self.increment_round)
                )
                >> quiet("inform_end_of_training", self.inform_end_of_training)
                >> quiet("save_params", self.save_params)
                >> quiet("save_model", self.save_model)
            )

    def _state(self) -> dict[str, Any]:
        model = None if self.model is None else self._held.adapter(self.model).snapshot()
        own = {"model": model, "step": self._algorithm.step.state(), "leading": self._leading.state()}
        return {**super()._state(), **own, "privacy": self.privacy.state(), "datasampler": state_of(self.datasampler)}

    def _restore(self, state: Mapping[str, Any]) -> None:
        super()._restore(state)
        if state["model"] is not None:
            self._held.adapter(self.model).load(state["model"])
        self._algorithm.step.restore(state["step"])
        self._leading.restore(state["leading"])
        self.privacy.restore(state["privacy"])
        put_back(self.datasampler, state["datasampler"])
        self._begun, self._work_done = True, self._round > self._rounds or self.privacy.exhausted

    def _rounds_passed(self) -> int:
        return self._round - 1

    def _distribute_weights(self, tag: str) -> None:
        channel = self._channel(tag)
        self._await_peers(channel)
        self._met = True
        if not self._begun:
            self._begin_with_base_model()
            self._begun = True
        self._leading.ask(channel, self._order)

    def _order(self) -> Order:
        """What is sent out in this round."""
        adapter = self._held.adapter(self.model)
        self._own, self._looking = None, True
        try:
            self._update_weights()
        finally:
            self._looking = False
        own, self._own = self._own, None
        allocate = self._surroundings.memory.allocate
        weights = adapter.snapshot(allocate) if own is None else out_of(own, adapter.layout)
        extras = self._leading.tell(weights, adapter)
        if self._leading.sampling is not None:
            extras |= self._leading.sampling.tells(self._round, self._channel(TAG_DISTRIBUTE))
        return Order(self._round, weights, extras=extras)

    def _update_model(self) -> None:
        """Put what the round has made of the weights into the model; a program may do it otherwise, or not.

        Raises:
            WeightsError: what was assigned to `weights` does not fit the model.
        """
        adapter = self._held.adapter(self.model)
        if self._own is not None:
            adapter.load(out_of(self._own, adapter.layout))
        elif self._next is not None:
            adapter.load(self._next)

    def _update_weights(self) -> None:
        """Runs before a round's order is made: `weights` are the model's, and what a program makes of them is sent."""

    def _arrived(self, weights: Weights) -> None:
        self._own, self._next = None, weights
        try:
            self._update_model()
        finally:
            self._own = self._next = None

    def _aggregate_weights(self, tag: str) -> None:
        channel = self._channel(tag)
        self._leading.gather(channel)
        if not self._leading.met:
            return
        # What is written into the model's own memory need not be copied: only a program that looks at it costs a copy.
        looked_at = getattr(self._update_model, "__func__", None) is not TopAggregator._update_model
        self._leading.close(self._held.adapter(self.model), self._arrived if looked_at else None)
        if self.privacy.epsilon is not None:
            self.update_metrics({"epsilon": self.privacy.epsilon})
        events, round_ = self._surroundings.events, self._leading.round
        if events is not None:
            clock = self._leading.clock
            now = None if clock is None else clock.now
            events.round_closed(self._round, round_.asked, round_.folded, channel.sent_bytes, now)

    @classmethod
    def check_config(cls, config: Config) -> None:
        """Refuse settings that this role cannot work with, before anything runs. Raises RecipeError."""
        super().check_config(config)
        cls._closes(config)

    @classmethod
    def _closes(cls, config: Config) -> Gate:
        """What says when a round has enough."""
        return waiting_gate_of(config)

    def _leads(self) -> Leading:
        """What carries the rounds out."""
        return leading_of(self.config, self._algorithm, self._gate, self._surroundings)

    def _answers(self) -> Tasklet:
        """The tasklets of a round up to its last answer."""
        return quiet("distribute", self.put, TAG_DISTRIBUTE) >> quiet("aggregate", self.get, TAG_AGGREGATE)

    def _await_peers(self, channel: Channel) -> None:
        """Wait until there are enough to ask; for as long as the job may run at first, and for `patience` afterwards.

        Raises:
            RunError: there are not, for so long.
        """
        around, config = self._surroundings, self.config
        limit_s = around.patience_s if self._met else (around.patience_s and config.max_run_time) or None
        at_least = enough(self._gate, config, begun=self._met)
        if channel.await_join(limit_s, at_least):
            there = len(channel.all_ends())
            raise RunError(
                f"{there} of the {at_least} needed are there as {channel.other_role()} on {channel.name()}, after"
                f" {limit_s:g} s in which round {self._round} waited for more"
            )

    def _begin_with_base_model(self) -> None:
        """Put the registered model that the config names, if it names one, into the program's model."""
        base = self.config.base_model
        if base is not None and base.name and base.version > 0:
            weights = self.registry_client.load_model(base.name, base.version)
            if weights is not None:
                self._held.adapter(self.model).load(weights)


class MiddleAggregator(Role):
    """A worker that leads a group and answers for it to the one above.

    Attributes:
        dist_tag: the function tag of the channel on which orders go out.
    """

    dist_tag = TAG_DISTRIBUTE

    waits = True
    """Whether everybody who is asked answers once for a round."""

    def internal_init(self) -> None:
        """Join the channels and make what the config asks for."""
        super().internal_init()
        self._algorithm = optimizer_of(self.config)
        self.optimizer: Any = getattr(self._algorithm, "own", self._algorithm)
        self._gate = self._closes(self.config)
        self._leading = self._leads()
        self._leading.privacy = self.privacy = privacy_of(self.config, self._surroundings.seed)
        self._leading.sampling = Sampling(None)
        self._following = Following(patience_of(self.config))
        self.dataset_size = 0
        self.fetch_success = False
        self.trainer_no_show = False
        self._begun = False

    @classmethod
    def get_func_tags(cls) -> list[str]:
        """`distribute`, `aggregate`, `fetch`, `upload`, and the class's own."""
        return [TAG_DISTRIBUTE, TAG_AGGREGATE, TAG_FETCH, TAG_UPLOAD, *super().get_func_tags()]

    @classmethod
    def waits_first(cls) -> bool:
        """A middle aggregator begins with an order, unless the program composes otherwise."""
        return cls.compose is MiddleAggregator.compose

    def get(self, tag: str) -> None:
        """Carry out `fetch` or `aggregate`, or the program's own function of that tag."""
        if tag == TAG_FETCH:
            self._fetch_weights(tag)
        elif tag == TAG_AGGREGATE:
            self._aggregate_weights(tag)
        else:
            super().get(tag)

    def put(self, tag: str) -> None:
        """Carry out `distribute` or `upload`, or the program's own function of that tag."""
        if tag == TAG_DISTRIBUTE:
            self._distribute_weights(tag)
        elif tag == TAG_UPLOAD:
            self._send_weights(tag)
        else:
            super().put(tag)

    def update_round(self) -> None:
        """Let the selector below know which round it is."""
        self._channel(TAG_DISTRIBUTE).set_property("round", self._round)

    def inform_end_of_training(self) -> None:
        """Tell everybody below that there will be no more orders."""
        self._channel(TAG_DISTRIBUTE).post_last(Order(self._round, None, True))

    def compose(self) -> None:
        """Set up, then fetch, distribute, aggregate, upload and evaluate until the end comes from above."""
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
                    >> self._answers()
                    >> quiet("upload", self.put, TAG_UPLOAD)
                    >> Tasklet("evaluate", self.evaluate)
                    >> quiet("update_round", self.update_round)
                    >> quiet("save_metrics", self.save_metrics)
                )
                >> quiet("inform_eot", self.inform_end_of_training)
            )

    @classmethod
    def check_config(cls, config: Config) -> None:
        """Refuse settings that this role cannot work with, before anything runs. Raises RecipeError."""
        super().check_config(config)
        cls._closes(config)
        privacy_of(config).check_between(config, waits=cls.waits)

    @classmethod
    def _closes(cls, config: Config) -> Gate:
        """What says when a round has enough."""
        return waiting_gate_of(config)

    def _leads(self) -> Leading:
        """What carries the rounds below out."""
        return leading_of(self.config, self._algorithm, self._gate, self._surroundings)

    def _answers(self) -> Tasklet:
        """The tasklets of a round up to its last answer."""
        distribute = quiet("distribute", self.put, TAG_DISTRIBUTE)
        distribute.set_continue_fn(cont_fn=lambda: self.trainer_no_show)
        return distribute >> quiet("aggregate", self.get, TAG_AGGREGATE)

    def _state(self) -> dict[str, Any]:
        own = {"step": self._algorithm.step.state(), "leading": self._leading.state(), "privacy": self.privacy.state()}
        return {**super()._state(), **own, "begun": self._begun}

    def _restore(self, state: Mapping[str, Any]) -> None:
        super()._restore(state)
        self._algorithm.step.restore(state["step"])
        self._leading.restore(state["leading"])
        self.privacy.restore(state["privacy"])
        self._begun = state["begun"]

    def _fetch_weights(self, tag: str) -> None:
        order = self._following.fetch(self._channel(tag))
        if order is None:
            self._unordered()
            return
        self.fetch_success = True
        self._work_done = order.end
        if not order.end:
            self._round = order.round

    def _unordered(self) -> None:
        """Nobody joined above for as long as the job may run: there is nothing to do here."""
        self._work_done = self.fetch_success = True

    def _distribute_weights(self, tag: str) -> None:
        order = self._following.order
        assert order is not None  # `fetch` comes first
        if self._leading.clock is not None:
            self._leading.clock.reach(time_of(order, "the aggregator above"))
        channel = self._channel(tag)
        self.trainer_no_show = self._nobody_is_there(channel)
        self._begun = True
        if self.trainer_no_show:
            self._nobody_came()
            return
        self._leading.ask(channel, lambda: Order(order.round, order.weights, extras=order.extras))

    def _nobody_is_there(self, channel: Channel) -> bool:
        """Wait until there are enough to ask; whether there are not."""
        return channel.await_join(WAIT_TIME_FOR_TRAINER, enough(self._gate, self.config, begun=self._begun))

    def _nobody_came(self) -> None:
        """Nobody joined below in time: there is nothing to answer."""
        self._send_dummy_weights(TAG_UPLOAD)

    def _send_dummy_weights(self, tag: str) -> None:
        """Say to the one above that this round has brought nothing."""
        self._following.answer(self._channel(tag), None, 0, self._extras())

    def _aggregate_weights(self, tag: str) -> None:
        self._leading.gather(self._channel(tag))
        self.dataset_size = self._leading.round.samples

    def _send_weights(self, tag: str) -> None:
        mean, said = self._leading.mean()
        extras = {**said, **self.privacy.stamp, **self._extras()}
        self._following.answer(self._channel(tag), mean, self.dataset_size, extras)

    def _extras(self) -> dict[str, Any]:
        """What the aggregator above is told beside what its algorithm says."""
        relayed = relays(self._channel(TAG_AGGREGATE).selector)
        if self._leading.sampling is not None:
            relayed |= self._leading.sampling.relays()
        return relayed if self._leading.clock is None else {**relayed, NAME: self._leading.clock.now}


def _write_model(weights: Weights, path: str) -> None:
    write(path, weights)
