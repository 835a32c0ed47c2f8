"""A deployer that starts each agent as a process on this machine."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Collection, Mapping
from pathlib import Path

from flame.errors import ConfigError

GRACE_S = 5.0
"""How long an agent may take to end its program, before it is killed."""


class Processes:
    """Agents as processes, in folders of their own below one.

    Agents outlive this process if it is killed or ends: they find the server that is started again, or end themselves.

    Args:
        api: the server's URL, as agents reach it.
        work: the folder below which each task has its own, `JOB/TASK`.
        silence_s: how long an agent goes on without hearing from the server.
    """

    def __init__(self, api: str, work: Path, silence_s: float) -> None:
        self._api, self._work, self._silence_s = api, work, silence_s
        self._agents: dict[tuple[str, str], subprocess.Popen[bytes]] = {}

    def deploy(self, job_id: str, keys: Mapping[str, str]) -> None:
        """Start an agent for each task.

        Raises:
            ConfigError: a folder cannot be made, or a process not be started; those that were started are ended.
        """
        for task_id, key in keys.items():
            folder = self._work / job_id / task_id
            try:
                folder.mkdir(parents=True, exist_ok=True)
                self._agents[job_id, task_id] = self._start(job_id, task_id, key, folder)
            except OSError as error:
                self.revoke(job_id)
                raise ConfigError(str(folder), f"its agent cannot be started: {error.strerror}") from error

    def _start(self, job_id: str, task_id: str, key: str, folder: Path) -> subprocess.Popen[bytes]:
        own = {"FLAME_JOB_ID": job_id, "FLAME_TASK_ID": task_id, "FLAME_TASK_KEY": key}
        command = [sys.executable, "-m", "flame.agent", "--api", self._api, "--work", str(folder)]
        with (folder / "agent.log").open("ab") as told:
            return subprocess.Popen(
                [*command, "--silence", f"{self._silence_s:g}"],
                env={**os.environ, **own},
                stdin=subprocess.DEVNULL,
                stdout=told,
                stderr=told,
                start_new_session=True,
            )

    def revoke(self, job_id: str) -> None:
        """End a job's agents, and wait until they have ended."""
        mine = {key: self._agents.pop(key) for key in list(self._agents) if key[0] == job_id}
        for agent in mine.values():
            if agent.poll() is None:
                agent.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + GRACE_S
        for agent in mine.values():
            try:
                agent.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                agent.kill()
                agent.wait()

    def jobs(self) -> Collection[str]:
        """The jobs that have agents here, ended or not."""
        return {job for job, _ in self._agents}

    def gone(self) -> Collection[tuple[str, str]]:
        """The agents that have ended."""
        ended = [key for key, agent in self._agents.items() if agent.poll() is not None]
        for key in ended:
            del self._agents[key]
        return ended
