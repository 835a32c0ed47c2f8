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
from flame.registry.journal import Checkpoint, newest
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


def check_job(found: Checkpoint, job: Mapping[str, Any], rounds: int) -> None:
    """Refuse to go on with another job.

    Raises:
        ConfigError: it is another one, and it says in what it differs; or there is no round left.
    """
    before, where = found.manifest["job"], f"checkpoint {found.folder}"
    if before["seed"] != job["seed"]:
        raise ConfigError(where, f"its run has the seed {before['seed']}, not {job['seed']}", "leave the seed out")
    for what in ("tag", "roles"):
        if (other := difference(before[what], plain(job[what]), what)) is not None:
            raise ConfigError(where, f"the job has changed: {other}", "go on with the same job, or start a new run")
    if before["workers"] != job["workers"]:
        raise ConfigError(where, "the job has changed: its workers or their datasets", "start a new run")
    if found.round >= rounds:
        raise ConfigError(
            where,
            f"the run has gone through {found.round} rounds, and the job has {rounds}",
            "to extend the training, raise hyperparameters.rounds",
        )


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
