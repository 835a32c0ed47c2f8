"""A real `flame server`, and what its clients say to it."""

from __future__ import annotations

import io
import itertools
import json
import os
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Self

import httpx
from upstream import PROGRAMS, free_address

FLAME = str(Path(sys.executable).with_name("flame"))
PATIENCE_S = 40.0
PATHS = itertools.count()

SCHEMA: dict[str, Any] = {
    "name": "two tiers",
    "roles": [
        {"name": "trainer", "isDataConsumer": True, "groupAssociation": [{"param-channel": "default"}]},
        {"name": "aggregator", "replica": 1, "groupAssociation": [{"param-channel": "default"}]},
    ],
    "channels": [
        {
            "name": "param-channel",
            "pair": ["trainer", "aggregator"],
            "groupBy": {"type": "tag", "value": ["default"]},
            "funcTags": {"trainer": ["fetch", "upload"], "aggregator": ["distribute", "aggregate"]},
        }
    ],
}
ENDED = ("completed", "failed", "terminated")


def archive(files: Mapping[str, str]) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as made:
        for name, text in files.items():
            made.writestr(name, text)
    return content.getvalue()


CODE = archive({f"{role}/main.py": (PROGRAMS / f"{role}.py").read_text() for role in ("trainer", "aggregator")})


class Server:
    """The command as a process; it may be killed and started again, on the same port and store."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.folder, self._options = folder, options
        self._address = free_address()
        self.http = httpx.Client(base_url=f"http://{self._address}", timeout=20.0, trust_env=False)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        self.process.wait(20)
        self.http.close()
        for pid in self.processes():
            os.kill(pid, signal.SIGKILL)

    def start(self) -> None:
        port = self._address.rpartition(":")[2]
        command = [FLAME, "server", "--port", port, "--store", f"sqlite:///{self.folder}/flame.db"]
        with (self.folder / "server.log").open("ab") as log:
            self.process = subprocess.Popen(
                [*command, "--work", str(self.folder / "jobs"), *self._options], cwd=self.folder, stdout=log, stderr=log
            )
        self.until(lambda: self.process.poll() is not None or self._answers(), "the server answers")
        assert self.process.poll() is None, (self.folder / "server.log").read_text()

    def _answers(self) -> bool:
        try:
            return self.http.get("/datasets").status_code == 200
        except httpx.TransportError:
            return False

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def processes(self, job: str = "") -> list[int]:
        """The agents and programs of a job, or of all, that run now: each was started in, or for, the job's folder."""
        mark, found = f"{self.folder}/jobs/{job}".encode(), []
        for entry in Path("/proc").iterdir():
            try:
                if entry.name.isdecimal() and mark in (entry / "cmdline").read_bytes():
                    found.append(int(entry.name))
            except (FileNotFoundError, ProcessLookupError):
                continue
        return found

    def until(self, condition: Callable[[], object], what: str, within_s: float = PATIENCE_S) -> Any:
        deadline = time.monotonic() + within_s
        while not (found := condition()):
            assert time.monotonic() < deadline, f"not so after {within_s:.0f} s: {what}"
            time.sleep(0.02)
        return found

    def ask(self, method: str, path: str, status: int = 200, **more: Any) -> Any:
        """A user's request, which has to be answered so; the reply's JSON."""
        reply = self.http.request(method, path if path.startswith("/") else f"/users/foo/{path}", **more)
        assert reply.status_code == status, f"{method} {path}: {reply.status_code} {reply.text}"
        return reply.json()

    def design(self, schema: Mapping[str, Any] = SCHEMA, code: bytes = CODE) -> str:
        """A new design."""
        design = f"design-{next(PATHS)}"
        self.ask("POST", "designs", 201, json={"id": design})
        self.ask("POST", f"designs/{design}/schema", 201, json=schema)
        self.ask("POST", f"designs/{design}/code", 201, **upload(code))
        return design

    def dataset(self) -> str:
        """A new dataset."""
        content = {"url": f"file:///{next(PATHS)}", "dataFormat": "npy", "realm": "default/us"}
        return json.loads(self.ask("POST", "datasets", 201, json=content))

    def body(self, **more: Any) -> dict[str, Any]:
        """What a new job is asked for with; `hyper` adds hyperparameters, `trainers` says how many."""
        hyper = {"rounds": 3, "samples": 10, **more.pop("hyper", {})}
        datasets = [self.dataset()] * more.pop("trainers", 1)
        return {
            "name": "job",
            "designId": more.pop("designId", None) or self.design(),
            "backend": "p2p",
            "dataSpec": [{"role": "trainer", "datasetGroups": {"default": datasets}}],
            "modelSpec": {"hyperparameters": hyper, "selector": {"sort": "default", "kwargs": {}}},
            **more,
        }

    def job(self, **more: Any) -> str:
        """A new job; its id."""
        return self.ask("POST", "jobs", 201, json=self.body(**more))["id"]

    def started(self, **more: Any) -> str:
        """A new job that has been started."""
        job = self.job(**more)
        self.request(job, "starting")
        return job

    def request(self, job: str, state: str, status: int = 200) -> Any:
        return self.ask("PUT", f"jobs/{job}/status", status, json={"id": job, "state": state})

    def state(self, job: str) -> str:
        return self.ask("GET", f"jobs/{job}/status")["state"]

    def ended(self, job: str, within_s: float = PATIENCE_S) -> list[str]:
        """The states that a job is seen in, to its end."""
        seen: list[str] = []

        def look() -> bool:
            if (state := self.state(job)) not in seen[-1:]:
                seen.append(state)
            return state in ENDED

        self.until(look, f"job {job} ends", within_s)
        return seen

    def tasks(self, job: str) -> dict[str, dict[str, Any]]:
        """A job's tasks, by role."""
        return {task["role"]: task for task in self.ask("GET", f"jobs/{job}/tasks")}

    def folder_of(self, job: str, role: str) -> Path:
        return self.folder / "jobs" / job / self.tasks(job)[role]["taskId"]

    def sign(self, job: str, role: str, what: str) -> Path:
        """The file by which a program tells how far it is."""
        folder = self.folder_of(job, role)
        return folder / f"{folder.name}.{what}"


def upload(code: bytes, name: str = "code.zip") -> dict[str, Any]:
    """How an archive is posted."""
    return {"data": {"fileName": name}, "files": {"fileData": (name, code)}}
