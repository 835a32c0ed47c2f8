"""Programs that meet over p2p, on this machine or in namespaces of it, with faults that can be brought about."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from upstream import aggregator, finished, task_id, trainer, until

PROGRAMS = Path(__file__).parent / "programs"
SILENCE_S = 1.5
NOTHING: Mapping[str, Any] = {}


class Federation:
    """Starts programs; ends what is left when it is closed.

    Args:
        folder: where they run.
        address: the rendezvous'; "" for a free port of this machine.
        silence_s: how long a peer may be silent.
    """

    def __init__(self, folder: Path, address: str = "", silence_s: float = SILENCE_S) -> None:
        self.folder, self.address, self.silence_s = folder, address or free_address(), silence_s
        self._processes: list[subprocess.Popen[str]] = []
        self._named: dict[str, subprocess.Popen[str]] = {}

    def meet(self, within: Sequence[str] = ()) -> subprocess.Popen[str]:
        """Start the rendezvous."""
        process = self._started([str(PROGRAMS / "meet.py"), self.address, str(self.silence_s)], within)
        assert process.stdout is not None  # it is a pipe
        assert process.stdout.readline() == "open\n", process.communicate()[1]
        self.meeting = process
        return process

    def top(
        self, *, within: Sequence[str] = (), own: Mapping[str, Any] = NOTHING, patience: float = 60.0, **hyper: Any
    ) -> subprocess.Popen[str]:
        """Start the aggregator; `own` are further settings of its config."""
        return self._program("server", "top", {**aggregator(hyper=hyper), **own}, within, patience)

    def site(self, name: str, *, within: Sequence[str] = (), **hyper: Any) -> subprocess.Popen[str]:
        """Start a trainer."""
        return self._program("site", name, trainer(hyper=hyper), within, 60.0)

    def reaches(self, name: str, what: str) -> None:
        """Wait until a program tells that it is so far."""
        sign = self.folder / f"{task_id(name)}.{what}"
        process = self._named[name]
        until(lambda: sign.exists() or process.poll() is not None, f"{name} reaches {what}")
        assert sign.exists(), process.communicate()[1]

    def go(self, name: str) -> None:
        """A program that holds may go on."""
        (self.folder / f"{task_id(name)}.go").touch()

    def close(self) -> None:
        for process in self._processes:
            if process.poll() is None:
                process.send_signal(signal.SIGCONT)
                process.kill()
            process.communicate()

    def _program(
        self, program: str, name: str, content: Any, within: Sequence[str], patience: float
    ) -> subprocess.Popen[str]:
        own = {
            "backend": "p2p",
            "brokers": [{"host": self.address, "sort": "p2p"}],
            "network": {"silence": self.silence_s, "patience": patience},
            "taskid": task_id(name),
            "maxRunTime": 60,
        }
        path = self.folder / f"{len(self._processes)}-{name}.json"
        path.write_text(json.dumps({**content, **own}))
        process = self._named[name] = self._started([str(PROGRAMS / f"{program}.py"), str(path)], within)
        return process

    def _started(self, arguments: Sequence[str], within: Sequence[str]) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [*within, sys.executable, *arguments],
            cwd=self.folder,
            env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._processes.append(process)
        return process


def free_address() -> str:
    """A port of this machine that nobody listens at."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        return f"127.0.0.1:{free.getsockname()[1]}"


def models(process: subprocess.Popen[str], within_s: float = 35.0) -> list[float]:
    """The weights of an aggregator's rounds; it must have ended well."""
    return ended(process, within_s)[0]


def rounds(process: subprocess.Popen[str], within_s: float = 35.0) -> list[int]:
    """The rounds of a trainer; it must have ended well."""
    return [number for number, _ in ended(process, within_s)]


def ended(process: subprocess.Popen[str], within_s: float) -> Any:
    """What a program said, which must have ended well."""
    status, said, err = finished(process, within_s)
    assert status == 0, err
    return said


def lost(process: subprocess.Popen[str], within_s: float = 8.0) -> str:
    """The last line of a program that must have ended with PeerLost, within seconds."""
    status, _, err = finished(process, within_s)
    last = err.strip().splitlines()[-1]
    assert status != 0 and last.startswith("flame.errors.PeerLost: "), err
    return last


def steps(values: Sequence[float]) -> list[float]:
    """What each round added."""
    return [after - before for before, after in zip([0.0, *values], values, strict=False)]
