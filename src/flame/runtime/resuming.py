"""May a run go on from a checkpoint: is it the same job?"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from hashlib import blake2b
from pathlib import Path
from random import Random
from typing import Any

from flame.config import Config
from flame.config.compare import comparable, difference, plain
from flame.engine.parts import optimizer_of
from flame.errors import ConfigError
from flame.extend import lookup
from flame.registry.journal import Checkpoint, has_any, newest
from flame.selector.making import selector_of
from flame.tag import Tag


def job_of(tag: Tag, configs: Sequence[Config], seed: int) -> dict[str, Any]:
    """What must be the same for a run to go on: the TAG, the workers with their data, all settings, the seed.

    The number of rounds is left out: a training may be extended.
    """
    workers = blake2b(digest_size=16)
    roles: dict[str, list[Any]] = {}
    seen: set[tuple[str, int]] = set()
    for config in configs:
        workers.update(
            json.dumps([config.task_id, config.name, dict(config.group_association), config.dataset]).encode()
        )
        if (key := (config.role, id(config.hyperparameters))) not in seen:  # an experiment has settings of its own
            seen.add(key)
            roles.setdefault(config.role, []).append(comparable(config))
    return {"seed": seed, "tag": plain(tag.to_dict()), "roles": roles, "workers": workers.hexdigest()}


def settings_of(run: Path) -> dict[str, str]:
    """What a run that can be resumed was given on its command line. Raises ConfigError if it has no checkpoint."""
    return dict(newest(run).manifest["settings"])


def earlier(run: Path, last: Checkpoint, rounds: int) -> Checkpoint | None:
    """The checkpoint from which a run goes on that is to have so many rounds; None for from the start.

    It is the last one. But what is written when a run is over is not in a checkpoint: where a run was ended between its
    last checkpoint and that, what comes after the one before is done again.

    Raises:
        ConfigError: there is no round left.
    """
    if last.round < rounds:
        return last
    if last.round > rounds or _completed(run):
        raise ConfigError(
            f"checkpoint {last.folder}",
            f"the run has gone through {last.round} rounds, and the job has {rounds}",
            "to extend the training, raise hyperparameters.rounds",
        )
    return newest(run, before=rounds) if has_any(run, before=rounds) else None


def _completed(run: Path) -> bool:
    try:
        told = json.loads((run / "run.json").read_bytes())
    except (OSError, ValueError):
        return False
    return isinstance(told, dict) and told.get("status") == "completed"


def check_job(found: Checkpoint, job: Mapping[str, Any]) -> None:
    """Refuse to go on with another job.

    Raises:
        ConfigError: it is another one, and it says in what it differs.
    """
    before, where = found.manifest["job"], f"checkpoint {found.folder}"
    if before["seed"] != job["seed"]:
        raise ConfigError(where, f"its run has the seed {before['seed']}, not {job['seed']}", "leave the seed out")
    for what in ("tag", "roles"):
        if (other := difference(before[what], plain(job[what]), what)) is not None:
            raise ConfigError(where, f"the job has changed: {other}", "go on with the same job, or start a new run")
    if before["workers"] != job["workers"]:
        raise ConfigError(where, "the job has changed: its workers or their datasets", "start a new run")


def refuse_what_cannot_be_kept(config: Config) -> None:
    """Refuse a plug-in that does not say what must be kept of it.

    Raises:
        ConfigError: the selector, the optimizer or a compressor has no `state()` and `restore()`.
    """
    optimizer = optimizer_of(config)
    made = [
        ("selector.sort", selector_of(str(config.selector.sort), config.selector.kwargs, Random(0))),
        ("optimizer.sort", optimizer.step),
        ("optimizer.sort", optimizer.regularizer),
    ]
    for channel in config.channels.values():
        if (choice := channel.compression) is not None:
            made.append((f"channels.{channel.name}.compression", lookup("compression", choice.sort)(**choice.kwargs)))
    for setting, part in made:
        if not (hasattr(part, "state") and hasattr(part, "restore")):
            reason = f"a {type(part).__name__} has no state() and restore(), so that no run with it can be resumed"
            raise ConfigError(setting, reason, "write them, or run without checkpoints")
