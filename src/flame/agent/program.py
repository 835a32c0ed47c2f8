"""A task's program: its files, its process, and the end of what it prints."""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from flame.config.unpack import unpack
from flame.control.records import LOG_BYTES
from flame.errors import ConfigError

_PR_SET_PDEATHSIG = 1
_OWN = ("FLAME_JOB_ID", "FLAME_TASK_ID", "FLAME_TASK_KEY")


class Program:
    """`python main.py config`, with what it prints in `task.log`.

    Args:
        folder: the task's; code of an earlier start is replaced, what else is there stays.
        config: the worker's config.
        archive: a zip archive with the one folder that its `main.py` is in.

    Raises:
        ConfigError: the archive is none, or not safe to unpack, or has no program.
    """

    def __init__(self, folder: Path, config: Mapping[str, Any], archive: bytes) -> None:
        self._log = folder / "task.log"
        code, packed, settings = folder / "code", folder / "code.zip", folder / "config.json"
        shutil.rmtree(code, ignore_errors=True)
        packed.write_bytes(archive)
        unpack(packed, code)
        settings.write_text(json.dumps(config, ensure_ascii=False), encoding="utf-8")
        programs = list(code.glob("*/main.py"))
        if len(programs) != 1:
            raise ConfigError(str(packed), f"has {len(programs)} programs", "one folder with a main.py is needed")
        with self._log.open("wb") as told:
            self._process = subprocess.Popen(
                [sys.executable, "-u", str(programs[0]), str(settings)],
                cwd=folder,
                env={key: value for key, value in os.environ.items() if key not in _OWN},
                stdin=subprocess.DEVNULL,
                stdout=told,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=_die_with_us,
            )

    def wait(self, for_s: float) -> int | None:
        """The exit status, if it ends within so many seconds."""
        try:
            return self._process.wait(for_s)
        except subprocess.TimeoutExpired:
            return None

    def kill(self) -> None:
        """End it, if it has not ended, and whatever it has started, at once."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    @property
    def said(self) -> str:
        """The end of what it has printed."""
        with self._log.open("rb") as told:
            told.seek(max(0, self._log.stat().st_size - LOG_BYTES))
            return told.read(LOG_BYTES).decode(errors="replace")


def _die_with_us() -> None:
    """Let the kernel end the program when its agent is killed: nobody else would."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
