"""From a job's files to a finished run directory."""

from __future__ import annotations

import inspect
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from importlib import import_module
from pathlib import Path
from random import Random
from typing import Any
from urllib.parse import unquote, urlsplit

from flame.channel.packing import packing_of
from flame.config import Config
from flame.config.build import configs
from flame.config.job import JobFiles
from flame.engine.parts import gate_of, optimizer_of
from flame.errors import ConfigError, FlameError, RunError, TagError
from flame.mode.role import Role
from flame.mode.suited import check_coordinated, flows, suited
from flame.registry.journal import Checkpoint, newest
from flame.runtime.checkpoints import Checkpoints
from flame.runtime.functions import ready_made
from flame.runtime.launch import Crew, Launch, now
from flame.runtime.place import place
from flame.runtime.program import load
from flame.runtime.record import Record, Settings, command_line, readable_names
from flame.runtime.reports import Report
from flame.runtime.resuming import check_job, earlier, refuse_what_cannot_be_kept
from flame.selector.making import selector_of
from flame.tag import Action, check, expand


@dataclass(frozen=True, slots=True)
class Options:
    """How a job is run, as opposed to what it is.

    Attributes:
        hosts: how many processes; None for as many as there are cores, and no more than there are workers;
            0 to run everything in this process, where a debugger sees it.
        seed: from which every worker's random numbers follow; None for 0, or that of the run that is resumed.
        out: the run directory; None for `runs/<job>-<time>`, or that of the run that is resumed.
        values: what was overridden, as it is written down.
        started: when the command was given, on the machine's monotonic clock; None for now.
        checkpoint: after how many rounds a checkpoint is made, and after the last one; 0 for never; None for never, or
            as often as the run that is resumed.
        resume: the directory of a run to go on with from its newest checkpoint.
    """

    hosts: int | None = None
    seed: int | None = None
    out: Path | None = None
    values: Mapping[str, Any] | None = None
    started: float | None = None
    checkpoint: int | None = None
    resume: Path | None = None


Watch = Callable[[Record, int, Report], None]


def execute(
    files: JobFiles,
    options: Options,
    *,
    programs: Mapping[str, type[Role]] | None = None,
    watch: Watch | None = None,
    prepared: Callable[[Path], None] | None = None,
) -> Record:
    """Run a job on this machine.

    Args:
        files: the job.
        options: how to run it.
        programs: the class of each role; left out, the ones in the job's role folders, and for roles that need no
            program Flame's own.
        watch: called with every report of every host.
        prepared: called with the run directory once it is there.

    Returns:
        The record of the run; its directory is complete except for the report.

    Raises:
        TagError: the TAG breaks an invariant.
        ConfigError: a file or setting is wrong.
        WorkerFailed: a worker raised; the run directory says so too.
        RunError: a host died, or the run cannot go on.
    """
    started = now() if options.started is None else options.started
    if programs is None:
        names = [role.name for role in files.tag.roles]
        needed = [name for name in names if name in files.code or files.tag.needs_program(name)]
        written = {name: load(_folder(files, name), name) for name in needed}
        found_or_made = {**ready_made(files.tag, written.values()), **written}
        programs = {name: found_or_made[name] for name in names}
    flowing = flows(programs.values())
    tags_of = files.tag.tags_of
    programs = {role: suited(program, tags_of(role), flowing=flowing) for role, program in programs.items()}
    check_coordinated(programs)
    _check(files, programs)
    last, found, rounds = None, None, _rounds(files)
    if options.resume is not None:
        last = newest(options.resume)
        found = earlier(options.resume, last, rounds)
        options = _as_before(options, last)
    if found is not None:
        started -= found.manifest["seconds"]
    record = _recorded(files, options, programs, started, found, rounds)
    if last is not None:
        check_job(last, record.job)
    record.prepare()
    if prepared is not None:
        prepared(record.out)
    if record.crew.hosts:
        _refuse_threads()
    _warm_up(programs.values())
    checkpoints = _checkpoints(record, options)
    launch = Launch(
        record.crew,
        seed=record.settings.seed,
        out=record.out,
        started=record.started,
        watch=_watched(record, watch),
        checkpoints=checkpoints,
        found=found,
    )
    error: Exception | None = None
    try:
        launch.run()
    except FlameError as raised:
        error = raised
        raise
    finally:
        if checkpoints is not None:
            checkpoints.close()
        record.pids = launch.pids
        record.finish(time.monotonic() - record.started, error or _pending())
    return record


def _pending() -> Exception | None:
    """The exception that is on its way out, if it is none of Flame's own."""
    raised = sys.exception()
    if raised is None or isinstance(raised, Exception):
        return raised
    return ConfigError("run", f"interrupted ({type(raised).__name__})")


def _watched(record: Record, watch: Watch | None) -> Callable[[int, Report], None]:
    def take(host: int, report: Report) -> None:
        record.take(host, report)
        if watch is not None:
            watch(record, host, report)

    return take


def _checkpoints(record: Record, options: Options) -> Checkpoints | None:
    """What makes checkpoints, if the run shall have any."""
    about = {"job": record.job, "settings": dict(record.settings.values)}
    every = options.checkpoint
    return Checkpoints(record.out, every, about, record.found, record.started) if every else None


def _as_before(options: Options, last: Checkpoint) -> Options:
    """With what a run that goes on need not be told again."""
    every, seed = options.checkpoint, options.seed
    every = last.manifest["every"] if every is None else every
    return replace(options, checkpoint=every, seed=last.manifest["job"]["seed"] if seed is None else seed)


def _rounds(files: JobFiles) -> int:
    """The most that any experiment of the job has."""
    return max(model.hyperparameters.rounds for model in (files.job.model, *files.job.experiments.values()))


def _recorded(
    files: JobFiles,
    options: Options,
    programs: Mapping[str, type[Role]],
    started: float,
    found: Checkpoint | None,
    rounds: int,
) -> Record:
    specs = expand(files.tag, files.data, job_id=files.job.id)
    if not specs:
        raise ConfigError("dataSpec", "the TAG expands to no workers", "list a dataset for each worker with data")
    if options.checkpoint is not None and options.checkpoint < 0:
        raise ConfigError("checkpoint", f"is {options.checkpoint}", "give a number of rounds, or 0 for none")
    seed = options.seed or 0
    job = replace(files.job, seed=seed)
    workers = list(configs(files.tag, job, specs))
    for config in {(worker.role, id(worker.hyperparameters)): worker for worker in workers}.values():
        _try_settings(config, programs[config.role])
        if options.checkpoint or found is not None:
            refuse_what_cannot_be_kept(config)
    if options.hosts is not None and options.hosts < 0:
        raise ConfigError("hosts", f"is {options.hosts}", "give a number of processes, or 0 for this one")
    hosts = min(_cores() if options.hosts is None else options.hosts, len(workers))
    consumers = frozenset(role.name for role in files.tag.roles if role.is_data_consumer)
    crew = Crew(workers, programs, consumers, readable_names(workers), place(files.tag, specs, max(1, hosts)), hosts)
    stamp = datetime.now().strftime("%Y%m%d-%H%M%S")
    out = options.out or options.resume or Path("runs") / f"{files.job.name or 'job'}-{stamp}"
    settings = Settings(seed, files.job.name, dict(options.values or {}), command_line(), rounds)
    return Record(out.absolute(), files.tag, crew, settings, started, found=found)


def _check(files: JobFiles, programs: Mapping[str, type[Role]]) -> None:
    """Refuse a TAG that cannot run, with what the programs themselves say about their tags.

    Raises:
        TagError: with every finding.
    """
    tags_of = {role: program.get_func_tags() for role, program in programs.items()}
    protocols = {
        tag: Action(tag, function.sends, function.partners)
        for program in programs.values()
        for tag, function in program.functions().items()
    }
    findings = check(files.tag, code=set(programs), data=files.data, tags_of=tags_of, protocols=protocols)
    if findings:
        raise TagError(findings, source=str(files.tag_path))


def missing_data(files: JobFiles) -> str:
    """A remark on dataset files that are not there, or "".

    It is no error: a program may make its data itself, and many a job's datasets are only counted.
    """
    urls = {url for groups in files.data.values() for datasets in groups.values() for url, _ in datasets}
    paths = [unquote(urlsplit(url).path) for url in sorted(urls) if url.startswith("file://")]
    gone = [path for path in paths if not Path(path).exists()]
    if not gone:
        return ""
    more = f" (nor {len(gone) - 1} more)" if len(gone) > 1 else ""
    return f"there is no dataset file {gone[0]}{more}; if the job has a prepare.py, run that first"


def _try_settings(config: Config, program: type[Role]) -> None:
    """Make once what every worker of a role will make, so that a wrong setting is found before anything runs.

    Raises:
        ExtensionError: nobody knows an optimizer, a gate or a selector of that name.
        ConfigError: it does not take such arguments, or a channel's compression needs what is not installed.
    """
    if config.hyperparameters.rounds < 1:
        raise ConfigError("hyperparameters.rounds", f"is {config.hyperparameters.rounds}", "give at least 1")
    program.check_config(config)
    optimizer_of(config)
    gate_of(config)
    for channel in config.channels.values():
        packing_of(channel)
    selector_of(str(config.selector.sort), config.selector.kwargs, Random(0))


def _cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _folder(files: JobFiles, role: str) -> Path:
    folder = files.code.get(role)
    if folder is None:
        raise ConfigError(str(files.folder), f"role {role} has no folder", f"add {role}/main.py")
    return folder


def _refuse_threads() -> None:
    """JAX's threads do not survive in the processes that the hosts are: they would wait for ever.

    Raises:
        RunError: JAX has computed something in this process.
    """
    jax = sys.modules.get("jax._src.xla_bridge")
    if jax is not None and jax.backends_are_initialized():
        raise RunError(
            "JAX has made an array in this process, and cannot go on in the processes that hosts are: leave arrays to"
            " what the workers run (load_data, initialize, train), or run with hosts=0 (--hosts 0)"
        )


def _warm_up(programs: Sequence[type[Role]] | Any) -> None:
    """Pay once, before forking, for what every host would otherwise pay for again.

    The first optimizer in a process makes torch import a large part of itself. One thread per process: results then
    do not depend on how many hosts share the machine, and hosts do not fight over cores.
    """
    torch = sys.modules.get("torch")
    if torch is None:
        return
    torch.set_num_threads(1)
    if any("optim" in _text(program) for program in programs):
        import_module("torch._dynamo")


def _text(program: type[Role]) -> str:
    try:
        return inspect.getsource(inspect.getmodule(program) or program)
    except (OSError, TypeError):
        return "optim"
