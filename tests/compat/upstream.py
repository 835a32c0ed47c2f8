"""Upstream's way of running a job: a config.json per worker, and a process for each."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import random
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

PROGRAMS = Path(__file__).parent / "programs"
PATIENCE_S = 90.0
"""What is waited for is that it comes, not how soon."""
PORTS = (16_000, 32_000)
"""Below those that the kernel hands out."""

PARAM = {"trainer": ["fetch", "upload"], "aggregator": ["distribute", "aggregate"]}
DOWN = {"trainer": ["fetch", "upload"], "middle-aggregator": ["distribute", "aggregate"]}
UP = {"middle-aggregator": ["fetch", "upload"], "top-aggregator": ["distribute", "aggregate"]}


def channel(name: str, tags: Mapping[str, list[str]], *groups: str) -> dict[str, Any]:
    return {
        "description": "Model update is sent from trainer to aggregator and vice-versa",
        "groupBy": {"type": "tag", "value": list(groups) or ["default"]},
        "name": name,
        "pair": list(tags),
        "funcTags": tags,
    }


def config(role: str, channels: list[dict[str, Any]], groups: Mapping[str, str], **more: Any) -> dict[str, Any]:
    """A worker's config in upstream's form; `more` replaces whole keys, `hyper` adds hyperparameters."""
    hyper = {"batchSize": 32, "learningRate": 1.0, "rounds": 3, "samples": 10, **more.pop("hyper", {})}
    return {
        "taskid": "",
        "backend": "shm",
        "brokers": [{"host": "localhost", "sort": "mqtt"}, {"host": "localhost:10104", "sort": "p2p"}],
        "groupAssociation": groups,
        "channels": channels,
        "dataset": "",
        "dependencies": ["numpy >= 1.2.0"],
        "hyperparameters": hyper,
        "baseModel": {"name": "", "version": 1},
        "job": {"id": "622a358619ab59012eabeefb", "name": "mnist"},
        "registry": {"sort": "dummy", "uri": ""},
        "selector": {"sort": "default", "kwargs": {}},
        "optimizer": {"sort": "fedavg", "kwargs": {}},
        "maxRunTime": 300,
        "realm": "default",
        "role": role,
        **more,
    }


def trainer(**more: Any) -> dict[str, Any]:
    return config("trainer", [channel("param-channel", PARAM)], {"param-channel": "default"}, **more)


def aggregator(**more: Any) -> dict[str, Any]:
    return config("aggregator", [channel("param-channel", PARAM)], {"param-channel": "default"}, **more)


@contextmanager
def meeting_point(sort: str, folder: Path) -> Iterator[str]:
    """What programs of a backend meet at, on this machine; its address."""
    if sort == "shm":
        yield "localhost"
        return
    address = free_address()
    flame = str(Path(sys.executable).with_name("flame"))
    commands = {"p2p": [flame, "rendezvous", "--listen", address], "mqtt": mosquitto(address, folder)}
    process = subprocess.Popen(commands[sort], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        until(lambda: process.poll() is not None or answers(address), f"the {sort} meeting point answers")
        yield address
        assert process.poll() is None
    finally:
        process.kill()
        process.wait()


def free_address() -> str:
    """A port of this machine that nobody listens at, and that no connection is given by chance meanwhile."""
    while True:
        port = random.SystemRandom().randrange(*PORTS)
        with socket.socket() as sock, contextlib.suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind(("127.0.0.1", port))
            return f"127.0.0.1:{port}"


def answers(address: str) -> bool:
    """Whether somebody listens."""
    host, port = address.split(":")
    with socket.socket() as sock:
        return sock.connect_ex((host, int(port))) == 0


def mosquitto(address: str, folder: Path) -> list[str]:
    """The command of a broker: mosquitto, or the one in Python where it is not installed."""
    program = shutil.which("mosquitto", path="/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin")
    if program is None:
        return [str(Path(sys.executable).with_name("flame")), "broker", "--listen", address]
    host, port = address.split(":")
    lines = [f"listener {port} {host}", "allow_anonymous true", "max_queued_messages 0", "max_inflight_messages 0"]
    (folder / "mosquitto.conf").write_text("\n".join(lines) + "\n")
    return [program, "-c", str(folder / "mosquitto.conf")]


class Machine:
    """Starts programs one by one, in a folder of their own; ends what is left when it is closed."""

    def __init__(self, folder: Path, sort: str = "shm", broker: str = "") -> None:
        self.folder, self.sort, self.broker = folder, sort, broker
        self._own = {"backend": sort, "brokers": [{"host": broker or "localhost", "sort": sort}]}
        # The path of a unix socket has room for some 100 characters.
        self._doors = tempfile.TemporaryDirectory(prefix="flame-", dir="/tmp")
        self._processes: list[subprocess.Popen[str]] = []

    def start(self, program: str, content: Mapping[str, Any], name: str, *more: str) -> subprocess.Popen[str]:
        """Start a program, with more arguments; its task id is derived from `name` if the config has none."""
        path = self.folder / f"{len(self._processes)}-{name}.json"
        own = self._own if content["backend"] == "shm" else {}
        path.write_text(json.dumps({**content, **own, "taskid": content["taskid"] or task_id(name)}))
        process = subprocess.Popen(
            [sys.executable, str(PROGRAMS / f"{program}.py"), str(path), *more],
            cwd=self.folder,
            env={**os.environ, "FLAME_RENDEZVOUS": self._doors.name, "HOME": str(self.folder)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._processes.append(process)
        return process

    def sign(self, name: str, what: str) -> Path:
        """The file by which a program tells how far it is."""
        return self.folder / f"{task_id(name)}.{what}"

    def doors(self) -> list[Path]:
        """The sockets at which programs can be met."""
        return [path for path in Path(self._doors.name).rglob("*") if path.is_socket()]

    def close(self) -> None:
        for process in self._processes:
            process.kill()
            process.communicate()
        self._doors.cleanup()


def task_id(name: str) -> str:
    return hashlib.sha1(name.encode()).hexdigest()


def until(condition: Callable[[], object], what: str, within_s: float = PATIENCE_S) -> None:
    """Look until something is so."""
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, f"not so after {within_s:.0f} s: {what}"
        time.sleep(0.005)


def finished(process: subprocess.Popen[str], within_s: float = PATIENCE_S) -> tuple[int, Any, str]:
    """Exit status, what was printed last as JSON (None if nothing was), and standard error."""
    out, err = process.communicate(timeout=within_s)
    lines = out.strip().splitlines()
    return process.returncode, json.loads(lines[-1]) if lines else None, err


def ok(process: subprocess.Popen[str]) -> Any:
    """What a program printed, which must have ended well."""
    status, said, err = finished(process)
    assert status == 0, err
    return said
