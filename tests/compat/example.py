"""An example of upstream's: who takes part, over what, with which settings; as processes, and as a job's folder."""

from __future__ import annotations

import http.server
import json
import random
import re
import shutil
import threading
import zipfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from upstream import PROGRAMS, Machine, config, finished, meeting_point, task_id, until

from flame.config.build import configs
from flame.config.job import read_job
from flame.tag import expand

PATIENCE_S = 240.0
"""So long may it take until seven processes that import a framework at the same time are there, or have ended."""
Groups = Mapping[str, str]
Worker = tuple[str, dict[str, Any], Sequence[str]]
"""A role, a config, and what stands on the command line behind it."""


@dataclass(frozen=True)
class Seat:
    """The workers of one role.

    Attributes:
        role: its name.
        program: the file in `programs`, without `.py`.
        groups: a worker for each, with its group on every channel of the role.
        mode: the package below `flame.mode` that the class is imported from; if empty, what the file says.
        own: keys of these workers' configs alone.
        arguments: for each worker, what stands on its command line behind the config.
        lacks: keys that these workers' configs leave out.
        beside: what else lies in the role's folder: a file in `programs` by its name there.
    """

    role: str
    program: str
    groups: Sequence[Groups]
    mode: str = ""
    own: Mapping[str, Any] = field(default_factory=dict)
    arguments: Sequence[Sequence[str]] = ()
    lacks: Sequence[str] = ()
    beside: Mapping[str, str] = field(default_factory=dict)

    @property
    def consumes(self) -> bool:
        """Whether there is a worker for each dataset."""
        return self.role == "trainer"

    def write(self, folder: Path) -> None:
        """The role's folder, as a design's archive has it."""
        (folder / self.role).mkdir()
        text = (PROGRAMS / f"{self.program}.py").read_text()
        if self.mode:
            modules = "trainer|top_aggregator|middle_aggregator|leaf_aggregator|coordinator"
            text, found = re.subn(
                rf"from flame\.mode\.[\w.]*?({modules}) import", rf"from {self.module}.\1 import", text
            )
            assert found
        (folder / self.role / "main.py").write_text(text)
        for name, source in self.beside.items():
            shutil.copy(PROGRAMS / f"{source}.py", folder / self.role / name)

    @property
    def module(self) -> str:
        """The package of the role's class."""
        return f"flame.mode.{self.mode}"


@dataclass(frozen=True)
class Example:
    """One of upstream's examples.

    Attributes:
        number: 1 to 21 in the library, A to I in the control plane; more behind it for variants.
        name: its folder's name.
        backend: what carries the channels that name nothing else.
        channels: the TAG's channels.
        seats: the TAG's roles, with their workers; whoever leads comes last.
        rounds: how many rounds end the job.
        metric: what the top measures in every round, or what trainers measure where there is no top.
        law: what must be so of those numbers, of shape (rounds,) or (rounds, names).
        hyper: hyperparameters besides `rounds`.
        settings: what else modelSpec.json says: selector, optimizer, …
        sites: what must be so of what a trainer prints.
        data: writes the data, and returns each trainer's dataset; by default they are names of files that nobody reads.
        after: what must be so in the folder afterwards.
        leads: the roles that are started when all others are there.
    """

    number: str
    name: str
    backend: str
    channels: Sequence[Mapping[str, Any]]
    seats: Sequence[Seat]
    rounds: int
    metric: str | tuple[str, ...]
    law: Callable[[Any], None]
    hyper: Mapping[str, Any] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    sites: Callable[[Any, int], None] = lambda said, rounds: None
    data: Callable[[Path, ExitStack], Sequence[str]] | None = None
    after: Callable[[Path], None] = lambda folder: None
    leads: Sequence[str] = ("coordinator", "top-aggregator", "aggregator")

    @property
    def measures(self) -> str:
        """The role whose numbers are looked at."""
        roles = [seat.role for seat in self.seats]
        return next((role for role in ("top-aggregator", "aggregator") if role in roles), "trainer")

    @property
    def hyperparameters(self) -> dict[str, Any]:
        """As modelSpec.json has them."""
        return {"batchSize": 32, "learningRate": 0.01, "rounds": self.rounds, **self.hyper}

    def datasets(self, folder: Path, stack: ExitStack) -> list[str]:
        """Each trainer's, in order; they are there until the stack is closed."""
        if self.data is not None:
            return list(self.data(folder, stack))
        count = sum(len(seat.groups) for seat in self.seats if seat.consumes)
        return [f"https://storage.example.org/{self.name}_{number}.npz" for number in range(1, count + 1)]


def job_folder(example: Example, folder: Path, stack: ExitStack, *, archive: bool) -> Path:
    """The example as upstream's control plane takes it; its code as folders, or in one archive."""
    urls = example.datasets(folder, stack)
    (consumer,) = (seat for seat in example.seats if seat.consumes)
    names: dict[str, list[str]] = {}
    for number, groups in enumerate(consumer.groups, 1):
        names.setdefault(next(iter(groups.values())), []).append(f"{example.name}{number}")
    model = {
        "baseModel": {"name": "", "version": 1},
        "hyperparameters": example.hyperparameters,
        "dependencies": ["numpy >= 1.2.0"],
        "selector": {"sort": "default", "kwargs": {}},
        **example.settings,
    }
    files: dict[str, Any] = {
        "schema": {
            "name": example.name,
            "description": f"a sample schema of {example.name}",
            "roles": [_role(seat) for seat in example.seats],
            "channels": list(example.channels),
        },
        "job": {
            "name": example.name,
            "designId": example.name,
            "priority": "low",
            "backend": example.backend,
            "maxRunTime": 1800,
            "dataSpecPath": "dataSpec.json",
            "modelSpecPath": "modelSpec.json",
        },
        "modelSpec": model,
        "dataSpec": [{"role": "trainer", "datasetGroups": names}],
    }
    for number, url in enumerate(urls, 1):
        name, realm = f"{example.name}{number}", "default/us/west"
        files[f"dataset{number}"] = {"name": name, "url": url, "dataFormat": "npz", "realm": realm, "isPublic": True}
    for name, content in files.items():
        (folder / f"{name}.json").write_text(json.dumps(content))
    for seat in example.seats:
        seat.write(folder)
    if archive:
        with zipfile.ZipFile(folder / f"{example.name}.zip", "w") as code:
            for path in [path for seat in example.seats for path in (folder / seat.role).iterdir()]:
                code.write(path, path.relative_to(folder))
        for seat in example.seats:
            shutil.rmtree(folder / seat.role)
    return folder


def _role(seat: Seat) -> dict[str, Any]:
    kinds: list[Groups] = []
    kinds.extend(groups for groups in seat.groups if groups not in kinds)
    row: dict[str, Any] = {"name": seat.role, "groupAssociation": kinds}
    if seat.consumes:
        return {**row, "isDataConsumer": True}
    return {**row, "replica": len(seat.groups) // len(kinds)}


def by_hand(example: Example, folder: Path, stack: ExitStack) -> list[Worker]:
    """The config of each worker as upstream's users write it, with its role and its arguments."""
    urls = iter(example.datasets(folder, stack))
    rows = []
    for seat in example.seats:
        seat.write(folder)
        for number, groups in enumerate(seat.groups):
            mine = [one for one in example.channels if seat.role in one["pair"]]
            dataset = next(urls) if seat.consumes else ""
            whole: dict[str, Any] = {**example.settings, **seat.own, "backend": example.backend, "dataset": dataset}
            whole["hyper"] = {**example.hyperparameters, **seat.own.get("hyper", {})}
            if "optimizer" not in whole:
                whole["optimizer"] = {}
            row = config(seat.role, mine, groups, taskid=task_id(f"{seat.role}/{number}"), **whole)
            lacks = [*seat.lacks, *([] if row["optimizer"] else ["optimizer"])]
            arguments = seat.arguments[number] if seat.arguments else ()
            rows.append((seat.role, {key: value for key, value in row.items() if key not in lacks}, arguments))
    return rows


def as_flame_builds(example: Example, folder: Path, stack: ExitStack) -> list[Worker]:
    """The config of each worker as it follows from the job's folder."""
    files = read_job(job_folder(example, folder, stack, archive=False))
    workers = expand(files.tag, files.data, job_id=files.job.id)
    return [(each.role, each.to_dict(), ()) for each in configs(files.tag, files.job, workers)]


def served(folder: Path, stack: ExitStack) -> str:
    """Where the folder's files can be had by HTTP, until the stack is closed."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None: ...

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    stack.callback(server.server_close)
    stack.callback(thread.join)
    stack.callback(server.shutdown)
    return f"http://127.0.0.1:{server.server_port}"


def run(example: Example, folder: Path, workers: Sequence[Worker]) -> dict[str, list[Any]]:
    """Start each worker as `python main.py config.json`, those who lead last; what they printed, by role."""
    order = list(workers)
    random.shuffle(order)
    said: dict[str, list[Any]] = {}
    with ExitStack() as stack:
        used = {str(one.get("backend") or example.backend) for one in example.channels} - {"shm"}
        hosts = {sort: stack.enter_context(meeting_point(sort, folder)) for sort in sorted(used)}
        machine = Machine(folder)
        stack.callback(machine.close)
        brokers = [{"sort": sort, "host": host} for sort, host in hosts.items()]
        started = []
        for first in (True, False):
            for role, content, arguments in order:
                if (role not in example.leads) is first:
                    name = f"{role}-{content['taskid'][:6]}"
                    whole = {**content, "brokers": brokers}
                    started.append((role, machine.start(str(folder / role / "main"), whole, name, *arguments)))
            for role, content, _ in order if first else ():
                if role not in example.leads:
                    sign = folder / f"{content['taskid']}.loading"
                    until(sign.exists, f"{role} {content['taskid'][:6]} is there", PATIENCE_S)
        for role, process in started:
            status, printed, err = finished(process, PATIENCE_S)
            assert status == 0, f"{role}: {err}"
            said.setdefault(role, []).append(printed)
    return said
