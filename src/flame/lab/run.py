"""`flame.run`: a directory's job, or a federation in a few lines of Python, and its result."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from types import MappingProxyType
from typing import Any

from flame.config.channels import set_channels
from flame.config.job import JobFiles, check_experiments, job_spec, read_job
from flame.errors import ConfigError
from flame.lab.result import Result
from flame.mode.role import Role
from flame.runtime import functions
from flame.runtime.resuming import settings_of
from flame.runtime.run import Options, Watch, execute
from flame.tag import Tag, read, template

_NOTHING: Mapping[str, Any] = MappingProxyType({})


def run(
    job: str | Path | None = None,
    *,
    trainer: type[Role] | None = None,
    aggregator: type[Role] | None = None,
    roles: Mapping[str, type[Role]] = _NOTHING,
    model: Callable[[], Any] | None = None,
    train: Callable[..., Mapping[str, Any] | None] | None = None,
    evaluate: Callable[[Any], Mapping[str, Any] | None] | None = None,
    data: Sequence[Any] | Mapping[str, Sequence[Any]] = (),
    tag: Tag | str | Path = "two-tier",
    rounds: int | None = None,
    settings: Mapping[str, Any] = _NOTHING,
    set: Mapping[str, Any] = _NOTHING,
    schema: str | Path | None = None,
    data_spec: str | Path | None = None,
    hosts: int | None = None,
    seed: int | None = None,
    out: str | Path | None = None,
    checkpoint: int | None = None,
    resume: str | Path | None = None,
    watch: Watch | None = None,
) -> Result:
    """Run a federation on this machine.

    `run("examples/medmnist")` runs a directory's job. Without one, the federation is made of classes
    (`trainer=`, `aggregator=`, `roles=`) or of plain functions (`model=`, `train=`, `evaluate=`), one site for each
    item of `data`. A trainer class finds its item as `self.data`.

    Args:
        job: a job's directory.
        trainer: the class of the role `trainer`.
        aggregator: the class of the role `aggregator`.
        roles: classes of other roles by name.
        model: makes a model: a torch module, or numpy arrays. Called once per worker.
        train: `train(model, item)` trains in place; it may return metrics. As `train(model, item, regularizer)` it gets
            the client half of the optimizer, for its term in the loss.
        evaluate: `evaluate(model)` returns metrics of the global model.
        data: one item per site; or, for a TAG with groups, a list of items per group. For a TAG in which several
            roles hold data, all this by role.
        tag: a TAG, a schema file, or the name of a template.
        rounds: short for `set={"hyperparameters.rounds": …}`.
        settings: what a modelSpec.json holds, for a federation without a directory.
        set: settings that replace the job's, such as `{"optimizer.sort": "fedadam"}`.
        schema: another TAG than the directory's.
        data_spec: another dataSpec than the directory's.
        hosts: how many processes; as many as there are cores if it is left out; 0 runs everything in this one.
        seed: from which every worker's random numbers follow; 0, or that of the run that is resumed, if it is left out.
        out: the run directory; `runs/<job>-<time>`, or that of the run that is resumed, if it is left out.
        checkpoint: after how many rounds a checkpoint is made, and after the last one; 0 for never; never, or as often
            as the run that is resumed, if it is left out.
        resume: the directory of a run to go on with, from its newest checkpoint. The job must be the same, but for the
            number of rounds; what the run was given as `set` counts unless it is given anew.
        watch: called with every report of a host.

    Returns:
        The result: metrics, plots and the final model.

    Raises:
        TagError: the TAG breaks an invariant.
        ConfigError: a file or setting is wrong, or the run cannot be resumed.
        WorkerFailed: a worker raised; the message ends with its own.
    """
    changes = {} if resume is None else settings_of(Path(resume))
    changes |= {key: value if isinstance(value, str) else json.dumps(value) for key, value in set.items()}
    if rounds is not None:
        changes["hyperparameters.rounds"] = str(rounds)
    given = dict(roles)
    given |= {name: cls for name, cls in (("trainer", trainer), ("aggregator", aggregator)) if cls is not None}
    options = Options(hosts, seed, _path(out), changes, checkpoint=checkpoint, resume=_path(resume))
    if job is not None:
        beside = {"data": len(data), "model": model, "train": train, "settings": settings, "tag": tag != "two-tier"}
        _refuse("a directory's job", beside)
        files = read_job(
            job,
            schema=None if schema is None else Path(schema),
            data_spec=None if data_spec is None else Path(data_spec),
            overrides=changes,
            needs_code=not given,
        )
        return run_files(files, options, programs=given or None, watch=watch)
    _refuse("a job without a directory", {"schema": schema, "data_spec": data_spec})
    if (model is None) != (train is None) or (evaluate is not None and model is None):
        raise ConfigError(
            "flame.run", "has only some of its functions", "give model=, train= and, if you like, evaluate="
        )
    if model is not None and train is not None:
        given = {**functions.programs(model, train, evaluate), **given}
    files = _files(_tag(tag), data, settings, changes)
    given = {**functions.ready_made(files.tag, given.values()), **given}
    found = {role.name: given[role.name] for role in files.tag.roles if role.name in given}
    missing = [role.name for role in files.tag.roles if role.name not in found]
    if missing:
        raise ConfigError(
            "flame.run", f"no class for role{'s' * (len(missing) > 1)} {', '.join(missing)}", "give roles={name: class}"
        )
    items = functions.items_of(data, files.tag)
    with_data = {name: functions.with_items(cls, items) for name, cls in found.items()}
    return run_files(files, options, programs=with_data, watch=watch)


def run_files(
    files: JobFiles, options: Options, *, programs: Mapping[str, type[Role]] | None, watch: Watch | None
) -> Result:
    """Run a job that has been read, and write its report; the report is there too if the run fails."""
    kept: list[Path] = []

    def keep(out: Path) -> None:
        kept.append(out)

    try:
        record = execute(files, options, programs=programs, watch=watch, prepared=keep)
    finally:
        for out in kept:
            # Imported here: a run need not wait for what is only needed when it is over.
            import_module("flame.lab.report").write(out)
        if files.unpacked is not None:
            shutil.rmtree(files.unpacked, ignore_errors=True)
    return Result(record.out)


def _path(given: str | Path | None) -> Path | None:
    return None if given is None else Path(given)


def _refuse(what: str, arguments: Mapping[str, object]) -> None:
    """An argument that would not be looked at is an error, not a decoration."""
    for name, value in arguments.items():
        if value:
            raise ConfigError(f"flame.run({name}=…)", f"says nothing to {what}", "leave it out")


def _tag(tag: Tag | str | Path) -> Tag:
    if isinstance(tag, Tag):
        return tag
    return template(tag) if isinstance(tag, str) and not Path(tag).suffix else read(Path(tag))


def _files(tag: Tag, data: Any, settings: Mapping[str, Any], changes: Mapping[str, str]) -> JobFiles:
    """A job that has no directory; a site's item is known by its number."""
    numbered: dict[str, dict[str, list[tuple[str, str]]]] = {}
    at = 0
    for role, given in functions.by_role(data, tag):
        numbered[role.name] = {}
        for group, items in functions.groups_of(given, role).items():
            numbered[role.name][group] = [(f"item:{at + number}", "default") for number in range(len(items))]
            at += len(items)
    tag, others = set_channels(tag, changes)
    job = job_spec("federation", settings, others)
    check_experiments(job, tag)
    return JobFiles(
        folder=Path(),
        tag_path=Path("<python>"),
        tag=tag,
        job=job,
        data=numbered,
        datasets=(),
        code={},
    )
