"""One task from its agent's point of view: fetch, run, report, and stop when told or when nobody is there to tell."""

from __future__ import annotations

import logging
import signal
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import TypeVar

from flame.agent.client import UNREACHABLE, Client
from flame.agent.program import Program
from flame.control.records import TaskState
from flame.errors import ConfigError, NotAllowed

POLL_S = 1.0
"""How often the server is asked whether to go on."""

log = logging.getLogger(__name__)
T = TypeVar("T")


class _Told(BaseException):
    """This process has been asked to end; nothing but `run` catches it."""


def run(client: Client, folder: Path, silence_s: float) -> int:
    """Run a task to its end; 0 if that was reported.

    Args:
        client: the API.
        folder: the task's own.
        silence_s: how long to go on without hearing from the server.
    """
    signal.signal(signal.SIGTERM, _stop)
    agent = _Agent(client, silence_s)
    program: Program | None = None
    try:
        config, archive = agent.patiently(client.work)
        agent.patiently(lambda: client.report(TaskState.RUNNING))
        program = Program(folder, config, archive)
        state = agent.attend(program)
        said = program.said
    except (ConfigError, OSError) as error:
        state, said = TaskState.FAILED, f"the task cannot be run: {error}"
    except _Told:
        state, said = TaskState.TERMINATED, ""
    except NotAllowed as error:
        log.warning("another agent has this task: %s", error)
        return 1
    except UNREACHABLE as error:
        log.error("the server has not been heard for %g s: %s", silence_s, error)
        return 1
    finally:
        if program is not None:
            program.kill()
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # what is left is quick, and has to be said
    try:
        agent.patiently(lambda: client.report(state, said or (program.said if program else "")))
    except (NotAllowed, ConfigError, *UNREACHABLE) as error:
        log.error("%s could not be reported: %s", state, error)
        return 1
    return 0


def _stop(number: int, frame: FrameType | None) -> None:
    raise _Told


class _Agent:
    """Asks, again and again if need be."""

    def __init__(self, client: Client, silence_s: float) -> None:
        self._client, self._silence_s = client, silence_s

    def attend(self, program: Program) -> TaskState:
        """Wait for a program; what has become of it."""
        while (status := program.wait(POLL_S)) is None:
            if self.patiently(self._client.should_stop):
                return TaskState.TERMINATED
        return TaskState.COMPLETED if status == 0 else TaskState.FAILED

    def patiently(self, ask: Callable[[], T]) -> T:
        """What is asked for, as soon as the server answers; its last error if it does not within the silence."""
        deadline = time.monotonic() + self._silence_s
        while True:
            try:
                return ask()
            except UNREACHABLE as error:
                if time.monotonic() > deadline:
                    raise
                log.warning("the server cannot be reached: %s", error)
                time.sleep(POLL_S)
