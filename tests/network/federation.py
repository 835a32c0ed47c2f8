"""Programs that meet over p2p or mqtt, here or in namespaces of this machine, with faults that can be brought about."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from upstream import (
    DOWN,
    UP,
    aggregator,
    answers,
    channel,
    config,
    finished,
    free_address,
    mosquitto,
    task_id,
    trainer,
    until,
)

PROGRAMS = Path(__file__).parent / "programs"
SILENCE_S = 1.5
NOTHING: Mapping[str, Any] = {}
ABOVE = channel("global-channel", UP)


class Federation:
    """Starts programs; ends what is left when it is closed.

    Args:
        folder: where they run.
        backend: p2p or mqtt.
        address: where they meet, at a rendezvous or a broker; "" for a free port of this machine.
        silence_s: how long a peer may be silent.
        patience_s: how long the broker may.
    """

    def __init__(
        self,
        folder: Path,
        backend: str = "p2p",
        address: str = "",
        *,
        silence_s: float = SILENCE_S,
        patience_s: float = 60.0,
    ) -> None:
        self.folder, self.backend, self.address = folder, backend, address or free_address()
        self._network = {"silence": silence_s, "patience": patience_s}
        self._processes: list[subprocess.Popen[str]] = []
        self._named: dict[str, subprocess.Popen[str]] = {}

    def meet(self, within: Sequence[str] = (), silence_s: float | None = None) -> subprocess.Popen[str]:
        """Start the rendezvous, which may take silence for longer or shorter than others do, or the broker."""
        if self.backend == "mqtt":
            self.meeting = self._started(mosquitto(self.address, self.folder), within, said=subprocess.DEVNULL)
            until(lambda: within or answers(self.address), "the broker answers")
            return self.meeting
        command = [sys.executable, str(PROGRAMS / "meet.py"), self.address, str(silence_s or self._network["silence"])]
        self.meeting = self._started(command, within)
        assert self.meeting.stdout is not None  # it is a pipe
        assert self.meeting.stdout.readline() == "open\n", self.meeting.communicate()[1]
        return self.meeting

    def top(
        self,
        *,
        within: Sequence[str] = (),
        own: Mapping[str, Any] = NOTHING,
        network: Mapping[str, Any] = NOTHING,
        **hyper: Any,
    ) -> subprocess.Popen[str]:
        """Start the aggregator; `own` and `network` are further settings of its config."""
        return self._program("server", "top", {**aggregator(hyper=hyper), **own}, within, network)

    def site(self, name: str, *, within: Sequence[str] = (), **hyper: Any) -> subprocess.Popen[str]:
        """Start a trainer."""
        return self._program("site", name, trainer(hyper=hyper), within)

    def summit(self, **hyper: Any) -> subprocess.Popen[str]:
        """Start the aggregator above regions."""
        content = config("top-aggregator", [ABOVE], {"global-channel": "default"}, hyper=hyper)
        return self._program("server", "top", content)

    def region(self, name: str, **hyper: Any) -> subprocess.Popen[str]:
        """Start the aggregator of a region of that name."""
        groups = {"param-channel": name, "global-channel": "default"}
        return self._program("region", name, config("middle-aggregator", [_below(name), ABOVE], groups, hyper=hyper))

    def local(self, name: str, region: str, **hyper: Any) -> subprocess.Popen[str]:
        """Start a trainer of a region."""
        content = config("trainer", [_below(region)], {"param-channel": region}, hyper=hyper)
        return self._program("site", name, content)

    def start(self, program: str, name: str, content: Mapping[str, Any], **network: Any) -> subprocess.Popen[str]:
        """Start any program of the folder, with a config of its own."""
        return self._program(program, name, content, network=network)

    def reaches(self, name: str, what: str) -> None:
        """Wait until a program tells that it is so far."""
        sign = self.folder / f"{task_id(name)}.{what}"
        process = self._named[name]
        until(lambda: sign.exists() or process.poll() is not None, f"{name} reaches {what}")
        assert sign.exists(), process.communicate()[1]

    def go(self, name: str, number: int | None = None) -> None:
        """A program that holds may go on: in one round, or in all of them."""
        (self.folder / f"{task_id(name)}.go{'' if number is None else f'-{number}'}").touch()

    def close(self) -> None:
        for process in self._processes:
            if process.poll() is None:
                process.send_signal(signal.SIGCONT)
                process.kill()
            process.communicate()

    def _program(
        self,
        program: str,
        name: str,
        content: Any,
        within: Sequence[str] = (),
        network: Mapping[str, Any] = NOTHING,
    ) -> subprocess.Popen[str]:
        own = {
            "backend": self.backend,
            "brokers": [{"host": self.address, "sort": self.backend}],
            "network": {**self._network, **network},
            "taskid": task_id(name),
            "maxRunTime": 60,
        }
        path = self.folder / f"{len(self._processes)}-{name}.json"
        path.write_text(json.dumps({**content, **own}))
        process = self._started([sys.executable, str(PROGRAMS / f"{program}.py"), str(path)], within)
        self._named[name] = process
        return process

    def _started(
        self, command: Sequence[str], within: Sequence[str], said: int = subprocess.PIPE
    ) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [*within, *command],
            cwd=self.folder,
            env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
            stdout=said,
            stderr=said,
            text=True,
        )
        self._processes.append(process)
        return process


def _below(region: str) -> dict[str, Any]:
    return channel("param-channel", DOWN, region)


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
    return failed(process, "PeerLost", within_s)


def failed(process: subprocess.Popen[str], error: str, within_s: float = 8.0) -> str:
    """The last line of a program that must have ended with an error of Flame's, within seconds."""
    status, _, err = finished(process, within_s)
    last = err.strip().splitlines()[-1]
    assert status and last.startswith(f"flame.errors.{error}: "), err
    return last


def steps(values: Sequence[float]) -> list[float]:
    """What each round added."""
    return [after - before for before, after in zip([0.0, *values], values, strict=False)]
