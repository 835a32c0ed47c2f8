"""A job's folder, as `flame run DIR` and a control plane take it.

```
DIR/
├── schema.json           the TAG (or schema.yaml)
├── job.json              name, backend, where the next two are; may be left out
├── modelSpec.json        hyperparameters, selector, optimizer, …; may be left out
├── dataSpec.json         the datasets of each role and group; may be left out
├── dataset*.json         a dataset each
└── trainer/main.py, …    a folder for each role, or one zip archive of such folders
```

A role that only aggregates in between, or coordinates, needs no folder. Where the TAG has no role `top-aggregator` its
folder is that of `aggregator`, and the other way round; `middle-aggregator-2` may use the folder `middle-aggregator`.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from types import MappingProxyType
from typing import Any

from msgspec import Struct, field

from flame.config.channels import set_channels
from flame.config.data import Data, DatasetInfo, assign, find_datasets
from flame.config.override import MODEL_KEYS, experiments, misspelt, override
from flame.config.read import BrokerRow, backend_sort, convert, load_json, located
from flame.config.records import (
    BaseModel,
    DataSampler,
    Gate,
    Hyperparameters,
    JobSpec,
    ModelSpec,
    Optimizer,
    Privacy,
    Registry,
    Selector,
)
from flame.config.unpack import unpack
from flame.errors import ConfigError, TagError
from flame.tag import Action, Tag, check, read

_SCHEMAS = ("schema.json", "schema.yaml", "schema.yml")
_CODE = "main.py"
_NO_PROTOCOLS: Mapping[str, Action] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class JobFiles:
    """What a job's folder holds, read and checked.

    Attributes:
        folder: the folder itself.
        tag_path: the file that the TAG is in.
        tag: the TAG.
        job: what is to be done, its model's settings included.
        data: for each data consumer and group, its datasets: URL and compute.
        datasets: the dataset files, in order.
        code: for each role, the folder with its `main.py`.
        unpacked: the folder that an archive was unpacked into, or None; it is the caller's to delete.
        notes: what had to be guessed, in words.
    """

    folder: Path
    tag_path: Path
    tag: Tag
    job: JobSpec
    data: Data
    datasets: tuple[DatasetInfo, ...]
    code: Mapping[str, Path]
    unpacked: Path | None = None
    notes: tuple[str, ...] = ()

    @property
    def model(self) -> ModelSpec:
        """The job's modelSpec."""
        return self.job.model


class _Job(Struct, rename="camel"):
    """job.json, key by key."""

    id: str = ""
    name: str = ""
    design_id: str = ""
    user_id: str = ""
    priority: str = "low"
    backend: str = "inproc"
    max_run_time: int = 0
    seed: int = 0
    brokers: list[BrokerRow] = []


class _Model(Struct, rename="camel"):
    """modelSpec.json, key by key."""

    base_model: BaseModel = BaseModel()
    hyperparameters: dict[str, Any] = {}
    dependencies: tuple[str, ...] = ()
    selector: Selector = field(default_factory=Selector)
    optimizer: Optimizer = field(default_factory=Optimizer)
    gate: Gate = field(default_factory=Gate)
    privacy: Privacy = field(default_factory=Privacy)
    datasampler: DataSampler = field(default_factory=DataSampler)
    registry: Registry = Registry()


def read_job(
    directory: str | Path,
    *,
    schema: Path | None = None,
    data_spec: Path | None = None,
    overrides: Mapping[str, str] = MappingProxyType({}),
    unpack_to: Path | None = None,
    needs_code: bool = True,
    protocols: Mapping[str, Action] = _NO_PROTOCOLS,
) -> JobFiles:
    """Read a job's folder.

    Args:
        directory: the folder.
        schema: another TAG than the folder's.
        data_spec: another dataSpec than the folder's.
        overrides: settings that replace those of the files: `{"hyperparameters.rounds": "5"}`.
        unpack_to: where an archive of code is unpacked; a new temporary folder by default.
        needs_code: whether a role without code is an error.
        protocols: what the user's own function tags do; see `flame.tag.check`.

    Raises:
        ConfigError: a file is missing or wrong; the path says which and where.
        TagError: the TAG breaks invariants, alone or with the datasets and the code.
    """
    top = Path(directory)
    if not top.is_dir():
        raise ConfigError(str(top), "is not a folder", "give the folder that has the job's files")
    tag_path = schema or _schema(top)
    tag, others = set_channels(read(tag_path, protocols=protocols), overrides)
    job_rows, model_rows, spec = _rows(top, data_spec)
    override(job_rows, model_rows, others)
    job = _job(top, job_rows, model_rows)
    check_experiments(job, tag)
    found = find_datasets(top)
    data, notes = assign(spec, tag, found)
    notes = [*misspelt(model_rows, str(top / str(job_rows.get("modelSpecPath", "modelSpec.json")))), *notes]
    code, unpacked = _code(top, tag, unpack_to)
    without = [role.name for role in tag.roles if not tag.needs_program(role.name)]
    findings = check(tag, code=[*code, *without] if needs_code else None, protocols=protocols, data=data)
    if findings:
        raise TagError(findings, str(tag_path))
    infos = tuple(one.info for one in found)
    return JobFiles(top, tag_path, tag, job, data, infos, code, unpacked, tuple(notes))


def check_experiments(job: JobSpec, tag: Tag) -> None:
    """Raise ConfigError for an experiment whose group is on no channel of the TAG."""
    groups = list(dict.fromkeys(group for channel in tag.channels for group in channel.group_by.value))
    for group in job.experiments:
        if group not in groups:
            fix = f"the TAG's groups are: {', '.join(groups)}"
            raise ConfigError(f"experiments.{group}", "no channel of the TAG has such a group", fix)


def job_spec(name: str, settings: Mapping[str, Any], overrides: Mapping[str, str]) -> JobSpec:
    """A job that has no folder: `settings` holds what modelSpec.json would.

    Raises:
        ConfigError: a setting is wrong.
    """
    job_rows: dict[str, Any] = {"name": name}
    model_rows = dict(settings)
    _check_settings(model_rows, "settings")
    override(job_rows, model_rows, overrides)
    return _job(Path(name), job_rows, model_rows)


def requested(job_rows: Mapping[str, Any], model_rows: Mapping[str, Any]) -> JobSpec:
    """A job that somebody asks a control plane for: the keys of its job.json and of its modelSpec.

    Raises:
        ConfigError: a setting is wrong, or unknown.
    """
    rows = dict(model_rows)
    if "hyperParameters" in rows:
        rows.setdefault("hyperparameters", rows.pop("hyperParameters"))
    rows = {key: value for key, value in rows.items() if value is not None and key != "//"}
    _check_settings(rows, "modelSpec")
    return _job(Path(), dict(job_rows) | {"modelSpecPath": "modelSpec"}, rows)


def _check_settings(rows: Mapping[str, Any], source: str) -> None:
    for key in rows:
        if key not in MODEL_KEYS:
            raise ConfigError(f"{source}: {key}", "is no setting", f"there are: {', '.join(MODEL_KEYS)}")


def _schema(top: Path) -> Path:
    for name in _SCHEMAS:
        if (top / name).is_file():
            return top / name
    raise ConfigError(str(top), f"has no {_SCHEMAS[0]}", "write one, or start from `flame tag template`")


def _rows(top: Path, data_spec: Path | None = None) -> tuple[dict[str, Any], dict[str, Any], Path | None]:
    """The contents of job.json and modelSpec.json, and where dataSpec.json is."""
    path = top / "job.json"
    job = _object(path) if path.is_file() else {"name": top.resolve().name}
    model = _beside(path, job, "modelSpecPath", "modelSpec.json")
    spec = data_spec or _beside(path, job, "dataSpecPath", "dataSpec.json")
    rows = _object(model) if model else {}
    # Some clients write the key as a server that ignores case would still take it.
    if "hyperParameters" in rows:
        rows.setdefault("hyperparameters", rows.pop("hyperParameters"))
    return job, rows, spec


def _object(path: Path) -> dict[str, Any]:
    content = load_json(path)
    if not isinstance(content, dict):
        raise ConfigError(str(path), "is not a JSON object", 'write {"key": value, …}')
    return {key: value for key, value in content.items() if value is not None}


def _beside(job_path: Path, job: dict[str, Any], key: str, usual: str) -> Path | None:
    """A file that job.json names; the usual one if it names none, or None if that is absent."""
    name = job.get(key, usual)
    where = located(str(job_path), key)
    if not isinstance(name, str):
        raise ConfigError(where, f"is {name!r}, not a file's name")
    if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
        raise ConfigError(where, f"{name!r} leads out of the job's folder", "keep the file beside job.json")
    path = job_path.parent / name
    if path.is_file():
        return path
    if key in job:
        raise ConfigError(where, f"there is no file {name!r}", "the name is relative to job.json's folder")
    return None


def _id_of(name: str) -> str:
    """A job's id, where its file has none: 24 hex digits, as upstream's."""
    import hashlib  # it brings OpenSSL, 3.5 MB that a worker, which is told its job's id, does not need

    return hashlib.sha1(name.encode(), usedforsecurity=False).hexdigest()[:24]


def _check_text(text: str, where: str) -> None:
    """Raise ConfigError for half a character, which JSON and the names of folders may have: nobody could print it."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ConfigError(where, f"cannot be written as text: {error.reason}", "give another name") from None


def _job(top: Path, job_rows: dict[str, Any], model_rows: dict[str, Any]) -> JobSpec:
    source = str(top / "job.json")
    row = convert(job_rows, _Job, source)
    name = row.name or row.design_id or top.resolve().name
    _check_text(name, located(source, "name"))
    common = {key: value for key, value in model_rows.items() if key != "experiments"}
    model_source = str(top / str(job_rows.get("modelSpecPath", "modelSpec.json")))
    return JobSpec(
        id=row.id or _id_of(name),
        name=name,
        design_id=row.design_id,
        user_id=row.user_id,
        priority=row.priority,
        backend=backend_sort(row.backend, located(source, "backend")),
        max_run_time=row.max_run_time,
        brokers={broker.sort: broker.host for broker in row.brokers},
        seed=row.seed,
        model=_model(common, model_source),
        experiments={group: _model(rows, model_source) for group, rows in experiments(model_rows).items()},
    )


def _model(rows: dict[str, Any], source: str) -> ModelSpec:
    row = convert(rows, _Model, source)
    try:
        hyperparameters = Hyperparameters(**row.hyperparameters)
    except ConfigError as error:
        raise ConfigError(located(source, error.path), error.reason) from None
    return ModelSpec(
        base_model=row.base_model,
        hyperparameters=hyperparameters,
        dependencies=row.dependencies,
        selector=row.selector,
        optimizer=row.optimizer,
        gate=row.gate,
        privacy=row.privacy,
        datasampler=row.datasampler,
        registry=row.registry,
    )


def _code(top: Path, tag: Tag, unpack_to: Path | None) -> tuple[dict[str, Path], Path | None]:
    """The folder of each role that has code; an archive counts only when no role has a folder."""
    roles = [role.name for role in tag.roles]
    code = _folders(top, roles)
    archives = sorted(top.glob("*.zip"))
    if code or not archives:
        return code, None
    if len(archives) > 1:
        names = ", ".join(archive.name for archive in archives)
        raise ConfigError(str(top), f"has {len(archives)} archives of code: {names}", "keep one")
    import tempfile

    into = unpack_to or Path(tempfile.mkdtemp(prefix="flame-code-"))
    unpack(archives[0], into)
    return _folders(into, roles), into


def _folders(top: Path, roles: Collection[str]) -> dict[str, Path]:
    """The folder of each role that has one: of its own name, or else of the role that it is another one of."""
    folders = {role: [top / name for name in program_folders(role) if (top / name / _CODE).is_file()] for role in roles}
    return {role: found[0] for role, found in folders.items() if found}


def program_folders(role: str) -> list[str]:
    """A role's name, and those under which its program may be found when a TAG has more tiers, or fewer."""
    top = {"top-aggregator": "aggregator", "aggregator": "top-aggregator"}.get(role, role)
    return list(dict.fromkeys([role, top, re.sub(r"-\d+$", "", role)]))
