"""From a job that is asked for to its tasks: the design's TAG expanded, each worker with its config and its code."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import NamedTuple

import msgspec
from sqlalchemy.orm import Session

from flame.config import Config
from flame.config.build import configs
from flame.config.job import check_experiments, requested
from flame.config.records import JobSpec
from flame.control import designs
from flame.control.code import programs, split
from flame.control.datasets import usable
from flame.control.records import Job
from flame.control.store import ProgramRow, Store, TaskRow
from flame.errors import ConfigError, NotFound, Refused, TagError
from flame.tag import Tag, WorkerSpec, check, expand, read, read_data

NEEDS_BROKER = ("mqtt", "p2p")
WITHIN_A_PROCESS = ("local", "inproc")

Groups = Mapping[str, Mapping[str, list[tuple[str, str]]]]


class Made(NamedTuple):
    """A job with what it is made of."""

    job: Job
    tasks: list[TaskRow]
    programs: list[ProgramRow]


class Code(NamedTuple):
    """A design's code, cut up, and the revision that it is."""

    parts: dict[str, bytes]
    revision: int


def code_for(store: Store, user: str, asked: Job) -> Code:
    """The code of a job's design: it is cut up while others may use the store, for it may be large.

    Raises:
        NotFound: there is no such design, or it has no schema or code.
    """
    with store.transaction() as session:
        design = designs.found(session, user, asked.design_id)
        designs.schema_of(design)
        archive, revision = designs.code_of(design), design.code_revision
    return Code(split(archive), revision)


def make(session: Session, user: str, job_id: str, asked: Job, brokers: Mapping[str, str], code: Code) -> Made:
    """The tasks of a job, in order, and their programs.

    Raises:
        NotFound: its design has no schema, a role has no code, or there is no such dataset.
        Refused: the design has got other code meanwhile.
        TagError: the design does not fit the data.
        ConfigError: a setting is wrong, or a backend needs a broker that there is not.
    """
    design = designs.found(session, user, asked.design_id)
    tag = read(designs.schema_of(design))
    if design.code_revision != code.revision:
        raise Refused(f"the code of design {design.id} has just been changed; ask again")
    spec = _spec(asked, job_id, brokers)
    _check_backends(tag, spec)
    check_experiments(spec, tag)
    data = _data(session, user, tag, asked)
    own = programs(code.parts, [role.name for role in tag.roles])
    if found := check(tag, data=data):
        raise TagError(found, f"design {asked.design_id}")
    workers = expand(tag, data, job_id=job_id)
    told = msgspec.structs.replace(
        asked,
        id=job_id,
        user_id=user,
        schema_revision=design.schema_revision,
        code_revision=design.code_revision,
    )
    settings = zip(workers, configs(tag, spec, workers), strict=True)
    tasks = [_task(job_id, number, worker, config) for number, (worker, config) in enumerate(settings)]
    empty = sorted({role.name for role in tag.roles} - {task.role for task in tasks})
    if empty:
        raise ConfigError("dataSpec", f"role {empty[0]} would have no task", "list a dataset for it, or an association")
    return Made(told, tasks, [ProgramRow(job_id=job_id, role=role, archive=part) for role, part in own.items()])


def _spec(asked: Job, job_id: str, brokers: Mapping[str, str]) -> JobSpec:
    rows = {
        "id": job_id,
        "name": asked.design_id,  # as upstream names it to workers
        "designId": asked.design_id,
        "priority": asked.priority,
        "backend": asked.backend,
        "maxRunTime": asked.max_run_time,
        "seed": asked.seed,
        "brokers": [{"sort": sort, "host": host} for sort, host in brokers.items()],
    }
    return requested(rows, asked.model_spec)


def _check_backends(tag: Tag, spec: JobSpec) -> None:
    for channel in tag.channels:
        sort = str(channel.backend or spec.backend)
        if sort in WITHIN_A_PROCESS:
            fix = "choose shm, p2p or mqtt, or use `flame run`"
            raise ConfigError("backend", f"{sort} cannot join tasks, which are processes of their own", fix)
        if sort in NEEDS_BROKER and not channel.broker_host and sort not in spec.brokers:
            there = ", ".join(sorted(spec.brokers)) or "none"
            fix = f"the server has brokers for: {there}; start it with --broker {sort}=HOST:PORT"
            raise ConfigError("backend", f"channel {channel.name} needs a broker for {sort}", fix)


def _data(session: Session, user: str, tag: Tag, asked: Job) -> Groups:
    """For each data consumer and group the datasets' addresses and computes."""
    named = read_data([msgspec.to_builtins(row) for row in asked.data_spec])
    known = [role.name for role in tag.roles]
    for i, entry in enumerate(asked.data_spec):
        if entry.role not in known:
            raise ConfigError(f"dataSpec[{i}].role", f"no role named {entry.role!r}", f"there are: {', '.join(known)}")
    data: dict[str, dict[str, list[tuple[str, str]]]] = {}
    for role in (one.name for one in tag.data_consumers()):
        groups = named.get(role)
        if not groups:
            raise NotFound(f"no dataset group specified for trainer role {role}")
        for group, ids in groups.items():
            if not ids:
                raise NotFound(f"no dataset specified for trainer role {role}, group {group}")
            rows = [usable(session, user, str(one)) for one in ids]
            data.setdefault(role, {})[group] = [(row.url, row.compute_id) for row in rows]
    return data


def _task(job_id: str, number: int, worker: WorkerSpec, config: Config) -> TaskRow:
    return TaskRow(
        job_id=job_id,
        id=worker.task_id,
        number=number,
        role=worker.role,
        compute_id=worker.compute,
        group_association=dict(worker.group_association),
        config=config.to_dict(),
        key=new_key(),
    )


def new_key() -> str:
    """What an agent shows to be its task's."""
    return secrets.token_urlsafe(24)
