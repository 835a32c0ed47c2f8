"""What a program leaves behind when it has ended its part, well or not: no thread, no socket, no other file."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress


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


def files() -> dict[int, str]:
    """What is open in this process."""
    found = {}
    for fd in map(int, os.listdir("/proc/self/fd")):
        with suppress(FileNotFoundError):  # the one that lists them
            found[fd] = os.readlink(f"/proc/self/fd/{fd}")
    return found
