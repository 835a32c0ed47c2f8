"""What every role is: a workflow over channels, with functions of the user's own.

A program subclasses a role, writes some methods, and calls `compose()` and `run()`. Programs need not call
`super().__init__()`, so everything that a role needs is made in `internal_init`, the first tasklet.
"""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any, ClassVar

from flame.channel.manager import ChannelManager
from flame.channel.surroundings import Surroundings
from flame.common.custom_abcmeta import ABCMeta, abstract_attribute
from flame.common.fiber import surroundings
from flame.common.logs import set_up_logging
from flame.config import Config
from flame.engine.parts import privacy_of, sampler_of
from flame.engine.simulated import work_of
from flame.errors import ConfigError, RecipeError, WorkflowError
from flame.extend import lookup
from flame.mode.composer import Composer
from flame.mode.function import Function, declared
from flame.mode.tasklet import Tasklet
from flame.monitor.metrics import Collected, collect_anew
from flame.monitor.system import Usage
from flame.registry import Registry

_SINCE_EPOCH_S = time.time() - time.perf_counter()
"""When the clock that tasklets are timed by began."""


def _config(self: Any) -> Config:
    """The worker's config."""
    raise NotImplementedError


class Role(metaclass=ABCMeta):
    """The base of every role.

    Attributes:
        config: the worker's config; the program sets it.
        cm: the worker's channels, from `internal_init` on.
        mc: counters and timings of this worker; of the class, those of the worker that runs here.
        metrics: what the program measured in this round.
        composer: the workflow, from `compose` on.
    """

    config: Config = abstract_attribute(_config)
    cm: ChannelManager
    metrics: dict[str, Any]
    composer: Composer
    registry_client: Registry
    mc = Collected()
    _resumed: Mapping[str, Any] | None = None
    """What `_state` returned when the run was kept that this one goes on from; there before the role is set up."""
    _timed: Callable[[str, float, float], None] | None = None
    _reported: Callable[[str, float, float], None] | None = None

    def __init__(self, config: Config | None = None) -> None:
        # Upstream's roles have no constructor: `super().__init__()` is what programs for it can call.
        if config is not None:
            self.config = config

    # -- what a program writes ------------------------------------------------------------------

    def load_data(self) -> None:
        """Load the data that this worker works on; runs before `initialize`."""

    def initialize(self) -> None:
        """Make the model; runs once."""

    def train(self) -> None:
        """Train for one round."""

    def evaluate(self) -> None:
        """Evaluate after a round."""

    def state_dict(self) -> Mapping[str, Any]:
        """What the program itself keeps from round to round, so that a run can be resumed; see `load_state_dict`.

        Plain values, arrays and tensors. The model, random generators, and whatever has a `state_dict` of its own (an
        optimizer that outlives a round, another module) are kept anyway.
        """
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state_dict` returned; runs after `initialize`, and only in a run that is resumed."""

    @abstractmethod
    def compose(self) -> None:
        """Chain the tasklets."""

    # -- what it gets ------------------------------------------------------------------

    @classmethod
    def functions(cls) -> Mapping[str, Function]:
        """The functions that the class binds to tags of its own (`sends`, `receives`), by tag."""
        return declared(cls)

    @classmethod
    def get_func_tags(cls) -> list[str]:
        """The function tags that a TAG may bind for this role."""
        return list(cls.functions())

    @classmethod
    def waits_first(cls) -> bool:
        """Whether such a worker does nothing before it is sent something, so that it can be built when it is."""
        return False

    @classmethod
    def check_config(cls, config: Config) -> None:
        """Refuse settings that this role cannot work with, before anything runs.

        Raises:
            RecipeError: they contradict what the role does, or something that they choose is not available.
            ConfigError: the planned rounds would exceed the privacy budget.
        """
        sampler_of(config)
        _refuse_an_algorithm_of_others(cls.get_func_tags(), config)
        work_of(config)
        privacy_of(config)
        if config.checkpoint.dir and "fetch" in config.func_tag_map:
            reason = f"a {config.role} takes orders: whoever is at the top keeps the state of the training"
            raise ConfigError("checkpoint.dir", reason, "give it to the worker at the top alone")

    def internal_init(self) -> None:
        """Join the channels. Runs before the program's own methods."""
        if "cm" not in vars(self):
            self.init_cm()
        self.metrics = {}
        events = self._surroundings.events
        self._reported = None if events is None else events.tasklet
        self._round = 1
        self._work_done = False
        self.check_config(self.config)

    def init_cm(self) -> None:
        """Join the channels; a part of `internal_init`, unless the program's workflow does it before."""
        self.cm, self.mc = ChannelManager(self.config), collect_anew()
        if self._records:
            self.mc.usage = Usage()
        if self._records or self._surroundings.fiber is None:  # a program of its own may read `mc` itself
            self._timed = self.mc.time
            self.cm.count_with(lambda way, nbytes: self.mc.accumulate("bytes", way, nbytes))
        for name in self._channels_at_first():
            self.cm.join(name)

    def update_metrics(self, metrics: Mapping[str, Any]) -> None:
        """Add to what is measured in this round.

        Raises:
            WorkflowError: a value is not a number.
        """
        self.metrics = {**(self.metrics or {}), **{name: _number(name, value) for name, value in metrics.items()}}

    def save_metrics(self) -> None:
        """Hand this round's metrics on, to the registry too where the role has one, and start afresh."""
        if self._timed is not None and "registry_client" in vars(self):
            number = self._round - 1 + self._counts_from
            self.registry_client.save_metrics(number, {**(self.metrics or {}), **self.mc.get()})
        if self.metrics and self._surroundings.events is not None:
            self._surroundings.events.metrics(self._round, self.metrics)
        self.metrics = {}
        self.mc.clear()

    def get(self, tag: str) -> None:
        """Carry out the program's function that receives for a tag; other tags are not for this role."""
        self._carry_out(tag, sends=False)

    def put(self, tag: str) -> None:
        """Carry out the program's function that sends for a tag; other tags are not for this role."""
        self._carry_out(tag, sends=True)

    def call(self, tag: str) -> Any:
        """Run the program's function that is bound to a tag, with the channel that the TAG binds it to.

        Raises:
            WorkflowError: the class has no such function, or the TAG binds the tag to no channel of this role.
        """
        function = self.functions().get(tag)
        if function is None:
            raise WorkflowError(f"{type(self).__name__} has no function for tag {tag!r}; it has {self.get_func_tags()}")
        return getattr(self, function.method)(self._channel(tag))

    def run(self) -> None:
        """Run the workflow to its end, then leave the channels.

        In a program that runs by itself and has set up no logging, log lines are written as upstream's are.
        """
        found = surroundings()
        events = found.events if isinstance(found, Surroundings) else None
        self.composer.observer = self._observe if events is None or self._records else events.tasklet
        if found is None:
            set_up_logging()
            if self.config.checkpoint.dir:
                import_module("flame.mode.durable").Durable(self)
        try:
            self.composer.run()
        finally:
            if "registry_client" in vars(self):
                self.registry_client.cleanup()
            if "cm" in vars(self):
                self.cm.cleanup()

    # -- inside ------------------------------------------------------------------

    def _carry_out(self, tag: str, *, sends: bool) -> None:
        function = self.functions().get(tag)
        if function is not None and function.sends == sends:
            self.call(tag)

    def _state(self) -> dict[str, Any]:
        """What the engine must keep between two passes of the role's loop to go on later, as plain values."""
        return {"round": self._round, "metrics": self.metrics, "channels": self.cm.state()}

    def _restore(self, state: Mapping[str, Any]) -> None:
        """Go on from what `_state` returned; the role has joined its channels and has been initialized."""
        self._round, self.metrics = state["round"], state["metrics"]
        self.cm.restore(state["channels"])

    _counts_from: ClassVar[int] = 0
    """The number of the first round in the registry, as programs know it."""

    _ends_within: ClassVar[bool] = False
    """Whether the end of the training is said before the last round is over: then nothing can be kept after it."""

    def _can_wait_again(self) -> bool:
        """Whether the role can be brought back to where it waits, though it has sent something since its last round."""
        return False

    def _rounds_passed(self) -> int:
        """The number of the round that was over when the loop's last pass was."""
        return self._round

    @property
    def _surroundings(self) -> Surroundings:
        return self.cm.surroundings

    @property
    def _records(self) -> bool:
        """Whether the worker has a registry that keeps anything."""
        registry = self.config.registry
        return registry is not None and str(registry.sort) != "dummy"

    def _channels_at_first(self) -> list[str]:
        """The channels that are joined before anything else."""
        return list(self.config.channels)

    def _channel(self, tag: str) -> Any:
        channel = self.cm.get_by_tag(tag)
        if channel is None:
            raise WorkflowError(
                f"tag {tag!r} of role {self.config.role} is bound to no channel;"
                f" the TAG's funcTags bind {sorted(self.config.func_tag_map)}"
            )
        return channel

    def _observe(self, alias: str, start: float, seconds: float) -> None:
        if self._timed is not None:
            self._timed(alias, start + _SINCE_EPOCH_S, seconds)
        if self._reported is not None:
            self._reported(alias, start, seconds)


def _number(name: str, value: Any) -> float | int:
    """A plain number; numpy and torch scalars are taken out of their wrapping.

    Raises:
        WorkflowError: it is none.
    """
    try:
        plain = value.item() if hasattr(value, "item") else value
    except (ValueError, RuntimeError):  # numpy's and torch's word for more than one element
        plain = value
    if not isinstance(plain, int | float):
        raise WorkflowError(f"metric {name!r} is a {type(value).__name__}, not a number")
    return plain if isinstance(plain, float) or abs(plain) < 2**63 else float(plain)


def quiet(alias: str, function: Callable[..., Any], *args: Any) -> Tasklet:
    """A tasklet of the engine's own: it draws no random numbers on the user's behalf."""
    tasklet = Tasklet(alias, function, *args)
    tasklet.quiet = True
    return tasklet


def _refuse_an_algorithm_of_others(tags: list[str], config: Config) -> None:
    """An algorithm that says more than orders and updates carry has roles of its own.

    Raises:
        RecipeError: this role fetches or distributes models, and does not say the rest.
    """
    sort = str(config.optimizer.sort)
    needed: frozenset[str] = getattr(lookup("optimizer", sort), "tags", frozenset())
    if needed and {"fetch", "distribute"} & set(tags) and not needed & set(tags):
        raise RecipeError(
            f"optimizer.sort: {sort} needs roles that speak of more than models: a trainer and a top aggregator of"
            f" flame.mode.horizontal.{sort}, and none in between"
        )
