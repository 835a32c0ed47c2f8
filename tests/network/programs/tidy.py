"""What programs share: where they hold, and that they leave nothing behind, whether they end well or not."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def leaves_nothing() -> Iterator[None]:
    """Fails if the block leaves anything open. Memory (`memfd`) goes with the arrays that lie over it."""
    before = set(files())
    try:
        yield
    finally:
        left = [name for fd, name in files().items() if fd not in before and "memfd" not in name]
        threads = [thread.name for thread in threading.enumerate() if thread is not threading.main_thread()]
        assert not left and not threads, f"left behind: {left}, {threads}"


def hold(task_id: str, rounds: int | list[int], number: int) -> None:
    """In some rounds, wait for the sign that this one may go on, or all of them."""
    if number in (rounds if isinstance(rounds, list) else [rounds]):
        while not (Path(f"{task_id}.go").exists() or Path(f"{task_id}.go-{number}").exists()):
            time.sleep(0.005)


def files() -> dict[int, str]:
    """What is open in this process."""
    found = {}
    for fd in map(int, os.listdir("/proc/self/fd")):
        with suppress(FileNotFoundError):  # the one that lists them
            found[fd] = os.readlink(f"/proc/self/fd/{fd}")
    return found
