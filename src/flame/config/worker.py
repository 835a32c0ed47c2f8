"""All that one worker needs to know."""

from __future__ import annotations

import operator
from collections.abc import Mapping
from dataclasses import dataclass, fields
from os import PathLike
from pathlib import Path
from typing import Any

import msgspec

from flame.config.read import load_json, worker_settings
from flame.config.records import (
    BaseModel,
    Broker,
    Checkpointing,
    DataSampler,
    Gate,
    Hyperparameters,
    Job,
    Network,
    Optimizer,
    Privacy,
    Registry,
    Selector,
)
from flame.errors import ConfigError
from flame.tag import Channel


@dataclass(frozen=True, slots=True, init=False)
class Config:
    """The settings of one worker: `Config("config.json")`.

    Workers of a role share everything but the first four attributes.

    Attributes:
        task_id: the worker's id, 40 hex digits when a job was expanded; an end of a channel has this id.
        group_association: the worker's group on each channel; `default` where it names none.
        dataset: the address of its data, or "".
        name: a readable name, such as `trainer/3`.
        role: the role that it plays.
        seed: the run's seed, from which its random streams are derived with its name; None for none.
        task: always `local`; kept from the file.
        realm: where it runs; kept from the file.
        job: the job's id and name.
        backend: the transport of every channel that names none.
        brokers: the host of each sort of broker.
        channels: the channels of its role, by name.
        func_tag_map: the channel's name for each of its role's function tags.
        hyperparameters: numbers that role code reads.
        selector: who is asked.
        optimizer: how updates become a step.
        gate: when a round's answers are enough, and what follows when a peer goes.
        datasampler: which samples are trained on.
        privacy: how an update is protected.
        registry: where models and metrics are kept; None if the file does not say.
        base_model: the registered model to begin with, or None.
        max_run_time: seconds; kept from the file.
        dependencies: packages; kept from the file; None if it does not say.
        network: how a worker that talks over a network is reached, and knows its peers.
        checkpoint: where an aggregator that runs alone keeps its state.

    Raises:
        ConfigError: the file cannot be read or a setting in it is wrong; the path says where.
    """

    task_id: str
    group_association: Mapping[str, str]
    dataset: str
    name: str
    role: str
    seed: int | None
    task: str
    realm: str
    job: Job
    backend: str
    brokers: Broker
    channels: Mapping[str, Channel]
    func_tag_map: Mapping[str, str]
    hyperparameters: Hyperparameters
    selector: Selector
    optimizer: Optimizer
    gate: Gate
    datasampler: DataSampler
    privacy: Privacy
    registry: Registry | None
    base_model: BaseModel | None
    max_run_time: int
    dependencies: tuple[str, ...] | None
    network: Network
    checkpoint: Checkpointing

    def __init__(self, config_path: str | PathLike[str]) -> None:
        path = Path(config_path)
        _fill(self, worker_settings(load_json(path), str(path)))

    @classmethod
    def from_dict(cls, content: Mapping[str, Any], source: str = "") -> Config:
        """From what a config.json holds; `source` is the file's name in errors.

        Raises:
            ConfigError: a setting is wrong.
        """
        return cls.of(**worker_settings(content, source))

    @classmethod
    def of(cls, **attributes: Any) -> Config:
        """From all attributes, which are not checked."""
        config = object.__new__(cls)
        _fill(config, attributes)
        return config

    def for_worker(self, task_id: str, group_association: Mapping[str, str], dataset: str, name: str) -> Config:
        """For another worker of the same role, which shares all the rest."""
        other = object.__new__(Config)
        for put, value in zip(_PUTS, (task_id, group_association, dataset, name, *_shared(self)), strict=True):
            put(other, value)
        return other

    def to_dict(self) -> dict[str, Any]:
        """As in config.json: reading it back gives an equal config."""
        records = ("selector", "optimizer", "gate", "datasampler", "privacy", "registry")
        content: dict[str, Any] = {
            "taskid": self.task_id,
            "name": self.name,
            "seed": self.seed,
            "task": self.task,
            "role": self.role,
            "realm": self.realm,
            "job": msgspec.to_builtins(self.job),
            "backend": str(self.backend),
            "brokers": [{"sort": sort, "host": host} for sort, host in self.brokers.sort_to_host.items()],
            "groupAssociation": dict(self.group_association),
            "channels": [_channel(channel) for channel in self.channels.values()],
            "dataset": self.dataset,
            "hyperparameters": dict(self.hyperparameters.to_dict()),
            **{name: _record(getattr(self, name)) for name in records},
            "baseModel": msgspec.to_builtins(self.base_model),
            "maxRunTime": self.max_run_time,
            "dependencies": None if self.dependencies is None else list(self.dependencies),
            "network": msgspec.to_builtins(self.network) if self.network != Network() else None,
            "checkpoint": msgspec.to_builtins(self.checkpoint) if self.checkpoint.dir else None,
        }
        return {key: value for key, value in content.items() if value is not None}


_NAMES = tuple(each.name for each in fields(Config))
_PUTS = tuple(getattr(Config, name).__set__ for name in _NAMES)
_shared = operator.attrgetter(*_NAMES[4:])


def _fill(config: Config, attributes: Mapping[str, Any]) -> None:
    for name, put in zip(_NAMES, _PUTS, strict=True):
        put(config, attributes[name])


def _channel(channel: Channel) -> dict[str, Any]:
    row = channel.to_dict()
    if row.pop("isUnidirectional", False):
        row["isBidirectional"] = False
    return row


def _record(record: Selector | Optimizer | Gate | DataSampler | Privacy | Registry | None) -> dict[str, Any] | None:
    """A choice as in the file; its `kwargs` may hold anything and stay as they are."""
    if record is None:
        return None
    return {"sort": str(record.sort)} | {
        name: getattr(record, name) for name in record.__struct_fields__ if name != "sort"
    }


def read_config(path: str | PathLike[str]) -> dict[str, Any]:
    """The content of a config.json, as it is.

    Raises:
        ConfigError: it cannot be read, or is not an object.
    """
    content = load_json(Path(path))
    if not isinstance(content, dict):
        raise ConfigError(str(path), "is not a JSON object")
    return content
