"""From JSON to records: every error says in which file, and where in it.

A worker's config.json is read as upstream reads it; `"//"` keys are comments, and unknown keys are let be.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from msgspec import UNSET, Struct, UnsetType, field

from flame.config.records import (
    BackendType,
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
    known_sort,
)
from flame.errors import ConfigError
from flame.tag import Channel, Compression, GroupBy
from flame.tag.compression import fault

COMMENT = "//"
FILES = ("ca", "cert", "key", "token_file")
_VERBATIM = ("hyperparameters", "kwargs")
_WHERE = re.compile(r"(?P<reason>.*) - at `\$\.?(?P<path>.*)`\Z", re.DOTALL)
_MISSING = re.compile(r"Object missing required field `(?P<name>[^`]+)`\Z")

T = TypeVar("T")


class _GroupBy(Struct):
    type: str = ""
    value: tuple[str, ...] | None = ()


class _Channel(Struct, rename="camel"):
    name: str
    pair: tuple[str, str]
    func_tags: dict[str, tuple[str, ...]]
    group_by: _GroupBy | None = None
    description: str = ""
    backend: str = ""
    broker_host: str = ""
    is_bidirectional: bool = True
    compression: str | dict[str, Any] | None = None


class BrokerRow(Struct):
    """One entry of `brokers`."""

    sort: str
    host: str


class _Worker(Struct, rename="camel"):
    """config.json, key by key."""

    task_id: str = field(name="taskid")
    role: str
    backend: str
    job: Job
    group_association: dict[str, str]
    channels: list[_Channel]
    brokers: list[BrokerRow] = []
    task: str = "local"
    realm: str = ""
    name: str = ""
    seed: int | None = None
    hyperparameters: dict[str, Any] = {}
    selector: Selector = field(default_factory=Selector)
    optimizer: Optimizer = field(default_factory=Optimizer)
    gate: Gate = field(default_factory=Gate)
    datasampler: DataSampler = field(default_factory=DataSampler)
    privacy: Privacy = field(default_factory=Privacy)
    registry: Registry | UnsetType = UNSET
    base_model: BaseModel | UnsetType = UNSET
    dataset: str = ""
    max_run_time: int = 300
    dependencies: tuple[str, ...] | UnsetType = UNSET
    network: Network = field(default_factory=Network)
    checkpoint: Checkpointing = field(default_factory=Checkpointing)


def load_json(path: str | Path) -> Any:
    """A JSON file as plain values.

    Raises:
        ConfigError: there is no such file, or it is not JSON; then it says at which line and column.
    """
    try:
        return json.loads(Path(path).read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise ConfigError(str(path), f"cannot be read: {error.strerror}", "check the name") from None
    except json.JSONDecodeError as error:
        where = f"{path}:{error.lineno}:{error.colno}"
        raise ConfigError(where, f"is not JSON: {error.msg}", "look just before this place") from None
    except (UnicodeDecodeError, RecursionError) as error:
        raise ConfigError(str(path), f"is not JSON: {error}") from None


def convert(value: object, wanted: type[T], source: str = "", path: str = "") -> T:
    """A plain value as a record; comments are left out and numeric strings become numbers.

    Args:
        value: what was read.
        wanted: the record's type.
        source: the file that it was read from, for errors.
        path: where in that file the value stands, for errors.

    Raises:
        ConfigError: it does not fit; the path says where.
    """
    try:
        return msgspec.convert(without_comments(value), wanted, strict=False)
    except RecursionError:
        raise ConfigError(located(source, path), "is nested too deeply") from None
    except UnicodeEncodeError as error:
        raise ConfigError(located(source, path), f"holds a value that cannot be read: {error}") from None
    except msgspec.ValidationError as error:
        reason, spot = str(error), ""
        if found := _WHERE.match(reason):
            reason, spot = found["reason"], found["path"]
        if found := _MISSING.match(reason):
            reason, spot = "is missing", f"{spot}.{found['name']}"
        raise ConfigError(located(source, path, spot), reason[0].lower() + reason[1:]) from None


def located(source: str, *path: str) -> str:
    """Where something is, in words: `config.json: channels[0].pair`."""
    inside = ".".join(part.strip(".") for part in path if part.strip(".")).replace(".[", "[")
    return ": ".join(part for part in (source, inside) if part)


def without_comments(value: object, *, key: str = "") -> Any:
    """A file's values without `"//"` keys; in what is handed on as it is (`kwargs`, …) they stay."""
    if isinstance(value, Mapping) and key not in _VERBATIM:
        rows = {name: item for name, item in value.items() if name != COMMENT}
        return {name: without_comments(item, key=name) for name, item in rows.items()}
    if isinstance(value, list):
        return [without_comments(item) for item in value]
    return value


def backend_sort(sort: str, path: str) -> str:
    """A backend's name, checked.

    Raises:
        ConfigError: no backend has that name; it lists the ones that there are.
    """
    try:
        return known_sort("backend", BackendType, sort)
    except ValueError as error:
        raise ConfigError(path, str(error)) from None


def worker_settings(content: object, source: str = "") -> dict[str, Any]:
    """The settings of one worker, under the attribute names of `Config`.

    Raises:
        ConfigError: a required key is missing, or a value does not fit; the path says where.
    """
    rows = content if isinstance(content, Mapping) else {}
    content = {key: item for key, item in rows.items() if item is not None} if rows else content
    if "groupAssociation" in rows and rows["groupAssociation"] is None:
        fix = "write {} for the group 'default' on every channel"
        raise ConfigError(located(source, "groupAssociation"), "is null", fix)
    file = convert(content, _Worker, source)
    try:
        hyperparameters = Hyperparameters(**file.hyperparameters)
    except ConfigError as error:
        raise ConfigError(located(source, error.path), error.reason) from None
    channels = {one.name: _channel(one, file.role, i, source) for i, one in enumerate(file.channels)}
    return {
        "task_id": file.task_id,
        "role": file.role,
        "name": file.name or f"{file.role}/{file.task_id[:8]}",
        "seed": file.seed,
        "task": file.task,
        "realm": file.realm,
        "job": file.job,
        "backend": backend_sort(file.backend, located(source, "backend")),
        "brokers": Broker({broker.sort: broker.host for broker in file.brokers}),
        "group_association": file.group_association,
        "channels": channels,
        "func_tag_map": func_tag_map(channels, file.role),
        "hyperparameters": hyperparameters,
        "selector": file.selector,
        "optimizer": file.optimizer,
        "gate": file.gate,
        "datasampler": file.datasampler.fed(hyperparameters),
        "privacy": file.privacy,
        "registry": None if file.registry is UNSET else file.registry,
        "base_model": None if file.base_model is UNSET else file.base_model,
        "dataset": file.dataset,
        "max_run_time": file.max_run_time,
        "dependencies": None if file.dependencies is UNSET else file.dependencies,
        "network": _network(file.network, source),
        "checkpoint": _beside(file.checkpoint, source),
    }


class _Compression(Struct, forbid_unknown_fields=True):
    """`compression` of a channel, where it has settings."""

    sort: str
    kwargs: dict[str, Any] = {}


def compression_from(value: object, path: str, *, tried: bool = True) -> Compression | None:
    """What a channel's `compression` says; None for none.

    Args:
        value: a name, an object with a name and settings, "" or None.
        path: where it stands, for errors.
        tried: whether it is made once, to see that it can be.

    Raises:
        ConfigError: it is neither, or there is no such compressor, or it has no such settings.
    """
    if value is None or value == "":
        return None
    row = _Compression(value) if isinstance(value, str) else convert(value, _Compression, path)
    choice = Compression(row.sort, {name: item for name, item in row.kwargs.items() if name != COMMENT})
    found = fault(choice) if tried else None
    if found is not None:
        raise ConfigError(path + found[0].removeprefix("compression"), found[1], found[2])
    return choice


def channel_of(content: Mapping[str, Any], role: str = "") -> Channel:
    """One entry of a config's `channels`.

    Args:
        content: what was read.
        role: of which there have to be function tags; "" for no matter.

    Raises:
        ConfigError: something is missing, or does not fit.
    """
    row = convert(content, _Channel, path="channels[0]")
    return _channel(row, role or row.pair[0], 0, "")


def _network(network: Network, source: str) -> Network:
    """The settings with the files where they are: a relative name is beside the file that it stands in."""
    if any(network.files) and not all(network.files):
        raise ConfigError(located(source, "network"), "TLS needs ca, cert and key", "make them with `flame ca`")
    folder = Path(source).parent
    beside = {name: str(folder / path) for name in FILES if (path := getattr(network, name))}
    return msgspec.structs.replace(network, **beside)


def _beside(checkpoint: Checkpointing, source: str) -> Checkpointing:
    """The settings with the folder where it is: a relative name is beside the file that it stands in."""
    if not checkpoint.dir:
        return checkpoint
    return msgspec.structs.replace(checkpoint, dir=str(Path(source).parent / checkpoint.dir))


def func_tag_map(channels: Mapping[str, Channel], role: str) -> dict[str, str]:
    """The channel of each function tag of a role; of two channels with the same tag the last counts."""
    return {tag: name for name, channel in channels.items() for tag in channel.func_tags.get(role, ())}


def _channel(row: _Channel, role: str, index: int, source: str) -> Channel:
    where = f"channels[{index}]"
    if role not in row.func_tags:
        fix = f"add the functions that {role!r} performs on {row.name!r}, or [] for none"
        raise ConfigError(located(source, where, "funcTags"), f"role {role!r} has no tags", fix)
    if row.backend:
        backend_sort(row.backend, located(source, where, "backend"))
    groups = row.group_by or _GroupBy()
    return Channel(
        name=row.name,
        pair=row.pair,
        group_by=GroupBy(groups.type, groups.value or ()),
        func_tags=row.func_tags,
        description=row.description,
        backend=row.backend,
        broker_host=row.broker_host,
        is_unidirectional=not row.is_bidirectional,
        compression=compression_from(row.compression, located(source, where, "compression")),
    )
