"""Jobs and their tasks: one task per worker."""

from __future__ import annotations

import re
from argparse import Namespace
from collections.abc import Collection
from pathlib import Path
from typing import Any

from msgspec import Struct

from flame.cli.flamectl import sources
from flame.cli.flamectl.apiserver import Apiserver
from flame.cli.flamectl.command import LIMIT, Command, Option
from flame.cli.flamectl.shown import moment, pretty, table
from flame.control.records import Dataset
from flame.errors import ConfigError

_STATUS = Option(("-s", "--status"), {"action": "store_true", "help": "its state, and since when"})
_ID = re.compile("[0-9a-f]{24}")
_TIMES = ("created At", "started At", "ended At")


class _Status(Struct, rename="camel"):
    """A job's state, as the server tells it."""

    id: str
    state: str
    name: str = ""
    created_at: str = ""
    started_at: str = ""
    ended_at: str = ""

    @property
    def times(self) -> tuple[str, ...]:
        return tuple(map(moment, (self.created_at, self.started_at, self.ended_at)))


class _Task(Struct, rename="camel"):
    """A task as a list has it."""

    job_id: str
    task_id: str
    state: str
    timestamp: str = ""


def _create(api: Apiserver, _: Namespace, file: str) -> str:
    made = api.ask("POST", "jobs", json=_asked(api, Path(file))).value(_Status)
    return f"New job created successfully\n\tID: {made.id}\n\tstate: {made.state}"


def _get(api: Apiserver, options: Namespace, job: str) -> str:
    if options.status:
        found = api.ask("GET", "jobs", job, "status").value(_Status)
        return table(("Job ID", "State", *_TIMES), [(found.id, found.state, *found.times)])
    return "Request to get job successful\n" + pretty(api.ask("GET", "jobs", job).value(dict[str, Any]))


def _list(api: Apiserver, options: Namespace) -> str:
    found = api.listed(_Status, options.limit, "jobs")
    return table(("Job ID", "Name", "State", *_TIMES), [(one.id, one.name, one.state, *one.times) for one in found])


def _get_task(api: Apiserver, _: Namespace, job: str, task: str) -> str:
    return pretty(api.ask("GET", "jobs", job, "tasks", task).value(dict[str, Any]))


def _list_tasks(api: Apiserver, options: Namespace, job: str) -> str:
    found = api.listed(_Task, options.limit, "jobs", job, "tasks")
    rows = [(one.job_id, one.task_id, one.state, moment(one.timestamp)) for one in found]
    return table(("Job ID", "Task ID", "State", "Timestamp"), rows)


def _update(api: Apiserver, _: Namespace, job: str, file: str) -> str:
    api.ask("PUT", "jobs", job, json=_asked(api, Path(file)) | {"id": job})
    return "Job updated successfully"


def _remove(api: Apiserver, _: Namespace, job: str) -> str:
    api.ask("DELETE", "jobs", job)
    return "Request to delete a job successful"


def _start(api: Apiserver, _: Namespace, job: str) -> str:
    _ask_for(api, job, "starting")
    return "Initiated to start a job successfully"


def _stop(api: Apiserver, _: Namespace, job: str) -> str:
    _ask_for(api, job, "stopping")
    return "Request to stop a job successful"


def _ask_for(api: Apiserver, job: str, state: str) -> None:
    api.ask("PUT", "jobs", job, "status", json={"id": job, "state": state})


def _asked(api: Apiserver, file: Path) -> dict[str, Any]:
    """A job's description for the server, which knows datasets by id: `flame run` takes their names, too."""
    body = sources.job(file) | {"userId": api.user}
    groups = [row["datasetGroups"] for row in body.get("dataSpec", ())]
    names = {name for one in groups for listed in one.values() for name in listed if not _ID.fullmatch(name)}
    if names:
        ids = _ids(api, names)
        for one in groups:
            one.update({group: [ids.get(name, name) for name in listed] for group, listed in one.items()})
    return body


def _ids(api: Apiserver, names: Collection[str]) -> dict[str, str]:
    """The id of each dataset of the user that has such a name."""
    found: dict[str, str] = {}
    for one in api.ask("GET", "datasets").rows(Dataset):
        if one.name in found:
            raise ConfigError(f"dataset {one.name!r}", "is the name of several of yours", "list it by its id")
        if one.name in names:
            found[one.name] = one.id
    return found


COMMANDS = (
    Command("create", "job", ("FILE",), "create a new job", _create),
    Command("get", "job", ("JOB",), "get job", _get, (_STATUS,)),
    Command("get", "jobs", (), "get jobs", _list, (LIMIT,)),
    Command("get", "task", ("JOB", "TASK"), "get task", _get_task),
    Command("get", "tasks", ("JOB",), "get tasks", _list_tasks, (LIMIT,)),
    Command("update", "job", ("JOB", "FILE"), "update job", _update),
    Command("remove", "job", ("JOB",), "delete job", _remove),
    Command("start", "job", ("JOB",), "start job", _start),
    Command("stop", "job", ("JOB",), "stop job", _stop),
)
