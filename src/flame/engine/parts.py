"""What a config names, made: the optimizer, the gate, the privacy mechanism and the registry of a worker."""

from __future__ import annotations

from random import Random
from typing import Any

from flame.common.own import made_with
from flame.common.settings import refuse_others
from flame.config import Config
from flame.config import Gate as GateChoice
from flame.config import Optimizer as OptimizerChoice
from flame.config import Privacy as PrivacyChoice
from flame.datasampler import AbstractDataSampler, DataSampler, TrainerDataSampler
from flame.datasampler.fedbalancer import SETTINGS, TrainerHalf
from flame.engine.gate import Gate
from flame.engine.simulated import work_of
from flame.errors import ConfigError, RecipeError
from flame.extend import lookup
from flame.optimizer import Optimizer
from flame.optimizer.abstract import AbstractOptimizer, Adapted
from flame.optimizer.asked import asks_itself
from flame.optimizer.halves import Alone
from flame.privacy import Privacy
from flame.privacy.default import Default as Unprotected
from flame.privacy.default import DefaultPrivacy
from flame.privacy.noise import Noise
from flame.registry import Registry

Choice = OptimizerChoice | GateChoice | PrivacyChoice


def optimizer_of(config: Config) -> Optimizer:
    """The optimizer that a config names; trainers use its client half, aggregators its server half.

    Raises:
        ExtensionError: nobody knows an optimizer of that name.
        ConfigError: the optimizer does not take such arguments, or what the name leads to is none.
    """
    made: Any = _made("optimizer", config.optimizer)
    if asks_itself(made):
        return Adapted(str(config.optimizer.sort), made)
    if not (hasattr(made, "step") and hasattr(made, "regularizer")):
        fix = "subclass flame.optimizer.abstract.AbstractOptimizer, or give it the halves of flame.optimizer.Optimizer"
        raise ConfigError("optimizer.sort", f"{config.optimizer.sort} makes a {type(made).__name__}", fix)
    found: Optimizer = made
    return found


def gate_of(config: Config) -> Gate:
    """The gate that a config names.

    Raises:
        ExtensionError: nobody knows a gate of that name.
        ConfigError: the gate does not take such arguments.
    """
    made: Gate = _made("gate", config.gate)
    return made


def privacy_of(config: Config, seed: int | None = None) -> Privacy:
    """The privacy mechanism that a config names, checked; trainers use its one half, aggregators the other.

    Args:
        config: the worker's.
        seed: the run's; from it follows the noise. None for the operating system's randomness.

    Raises:
        ExtensionError: nobody knows a mechanism of that name.
        ConfigError: the mechanism does not take such arguments, or the planned rounds would exceed its budget.
        RecipeError: it cannot be combined with what else the config chooses.
    """
    source = None if seed is None else f"{seed}/{config.name or config.task_id}/privacy"
    made: Privacy = _made("privacy", config.privacy, noise=Noise(source))
    optimizer = optimizer_of(config)
    quiet = isinstance(optimizer, Adapted) and type(made).release is Unprotected.release  # it changes updates only
    if hasattr(optimizer, "fold") and str(config.privacy.sort) != "default" and not quiet:
        raise RecipeError(
            f"privacy.sort: {config.privacy.sort} protects a mean of numbers; optimizer.sort {optimizer.name} has none"
        )
    made.check(config, optimizer, says_more=says_more(optimizer))
    return made


def says_more(optimizer: Optimizer) -> bool:
    """Whether an optimizer has trainers send more than updates."""
    finish: Any = type(optimizer.regularizer).finish
    return finish is not Alone.finish and not getattr(optimizer.regularizer, "silent", False)


def sampler_of(config: Config) -> DataSampler:
    """The data sampler that a config names; trainers use its one half, aggregators the other.

    Raises:
        ExtensionError: nobody knows a data sampler of that name.
        ConfigError: it does not take such arguments.
    """
    hyper = config.hyperparameters.to_dict()
    kwargs = {key: value for key, value in config.datasampler.kwargs.items() if key != "//"}
    if str(config.datasampler.sort) == "fedbalancer":
        own = [key for key in kwargs if key not in hyper]
        refuse_others("datasampler", "fedbalancer", [key for key in own if key not in SETTINGS], SETTINGS)
    sort = str(config.datasampler.sort)
    factory = lookup("datasampler", sort)
    programs = isinstance(factory, type) and issubclass(factory, AbstractDataSampler)
    made: DataSampler = made_with("datasampler", sort, factory, kwargs) if programs else factory(**kwargs)
    return made


def trainers_half(config: Config, *, in_host: bool) -> TrainerDataSampler:
    """The half of a data sampler that a trainer uses; its draws follow from the run's seed."""
    half = sampler_of(config).trainer_data_sampler
    if isinstance(half, TrainerHalf):
        seed = None if config.seed is None else f"{config.seed}/{config.name or config.task_id}/datasampler"
        half.generator = Random(seed)
        work = work_of(config)
        if work is not None:
            half.batch_s = work.batch_s(config.hyperparameters.batch_size or 1, config.hyperparameters.epochs)
        elif in_host:
            half.batch_s = 1.0  # everybody takes equally long
    return half


def registry_of(config: Config) -> Registry:
    """The registry that a config names; the one that keeps nothing if it names none.

    Raises:
        ExtensionError: nobody knows a registry of that name.
    """
    sort = "dummy" if config.registry is None else str(config.registry.sort)
    made: Registry = lookup("registry", sort)()
    made(config)
    made.setup_run()
    return made


def _made(kind: str, choice: Choice, **more: Any) -> Any:
    """What a config has chosen, with the settings that it gives; comments among them are left out.

    A class of a program's own, in the form of Cisco's Flame, is given the settings alone.
    """
    kwargs = {key: value for key, value in choice.kwargs.items() if key != "//"}
    sort = str(choice.sort)
    factory = lookup(kind, sort)
    if not (isinstance(factory, type) and issubclass(factory, (AbstractOptimizer, DefaultPrivacy))):
        return factory(**kwargs, **more)
    made = made_with(kind, sort, factory, kwargs)
    if isinstance(made, DefaultPrivacy):
        made.name = sort
    return made


def patience_of(config: Config) -> float:
    """How many seconds a worker waits for the first peer to join: as long as its job may run."""
    return float(config.max_run_time or 300)
