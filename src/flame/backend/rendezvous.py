"""How programs that were started one by one on a machine find each other.

Each process of a job binds a unix socket in a folder that only its user may enter, and says hello to the sockets that
are there already. A socket that nobody answers at belongs to a process that was killed: whoever finds it removes it.
"""

from __future__ import annotations

import hashlib
import os
import socket
import threading
from collections.abc import Sequence
from pathlib import Path

from flame.backend.coding import Coding
from flame.backend.directory import Directory, Seat
from flame.backend.link import HELLO, Head
from flame.backend.pool import Pool
from flame.backend.shm import SharedMemory, seats_from_plain, seats_to_plain
from flame.errors import ChannelError

_LONGEST = 107
"""The kernel's limit on the name of a socket, in bytes."""


def folder_of(job_id: str) -> Path:
    """The folder in which a job's processes meet; made if it is missing, for this user only."""
    name = hashlib.sha1(job_id.encode(), usedforsecurity=False).hexdigest()[:16]
    base = Path(os.environ.get("FLAME_RENDEZVOUS") or f"{os.environ.get('TMPDIR', '/tmp')}/flame-{os.getuid()}")
    folder = base / name
    for one in (base, folder):
        one.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Whoever owns a folder, or may follow a link in it, decides what is found there.
        if one.lstat().st_uid not in (os.getuid(), 0):
            raise ChannelError(f"{one} belongs to another user; set FLAME_RENDEZVOUS to a folder of your own")
    return folder


class Rendezvous:
    """One process's door, and the doors that it has knocked at."""

    def __init__(self, backend: SharedMemory, job_id: str, end: str) -> None:
        self._backend = backend
        self._folder = folder_of(job_id)
        self._path = self._folder / hashlib.sha1(end.encode(), usedforsecurity=False).hexdigest()[:16]
        self._seats: list[Seat] = []
        self._next = 1
        self._met: set[int] = set()
        self._knocked = False
        self._door = self._bind(end)
        backend.on_hello = self._hello
        backend.listen(self._door, self._accept)

    def sit(self, seats: Sequence[Seat]) -> None:
        """Take seats, and tell everybody who is there."""
        self._seats += seats
        self._backend.directory.seat(seats, 0)
        if not self._knocked:
            self._knocked = True
            for host in self._backend.hosts:
                self._greet(host, self._seats)
            self._knock_at_all()
            return
        for host in self._backend.hosts:
            self._greet(host, seats)

    def close(self) -> None:
        """Take the door away; connections stay."""
        self._door.close()
        self._path.unlink(missing_ok=True)

    def _bind(self, end: str) -> socket.socket:
        if len(os.fsencode(self._path)) > _LONGEST:
            raise ChannelError(f"{self._path} is too long for a socket; set FLAME_RENDEZVOUS to a shorter folder")
        if self._path.exists():
            answered = self._knock(self._path)
            if answered is not None:
                answered.close()
                raise ChannelError(f"another process of this job runs as {end}")
            self._path.unlink(missing_ok=True)
        door = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        # It gets its name when it can be knocked at: a neighbour would take a door that does not answer for a dead one.
        early = self._path.with_name(f".{threading.get_native_id()}")
        early.unlink(missing_ok=True)
        door.bind(str(early))
        door.listen(128)
        early.rename(self._path)
        door.setblocking(False)
        return door

    def _knock(self, path: Path) -> socket.socket | None:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            sock.connect(str(path))
        except (ConnectionRefusedError, FileNotFoundError):
            sock.close()
            return None
        return sock

    def _knock_at_all(self) -> None:
        for path in sorted(self._folder.iterdir()):
            if path == self._path or path.name.startswith("."):
                continue
            sock = self._knock(path)
            if sock is None:
                path.unlink(missing_ok=True)
                continue
            self._welcome(sock)

    def _accept(self) -> None:
        try:
            sock, _ = self._door.accept()
        except (BlockingIOError, OSError):
            return
        self._welcome(sock)

    def _welcome(self, sock: socket.socket) -> None:
        host, self._next = self._next, self._next + 1
        self._backend.connect(host, sock)
        self._greet(host, self._seats)

    def _greet(self, host: int, seats: Sequence[Seat]) -> None:
        self._backend.say(host, Head(HELLO, targets=seats_to_plain(seats)))

    def _hello(self, host: int, head: Head) -> None:
        # Two processes that start together connect to each other twice; each keeps writing where it began to.
        seats = [s for s in seats_from_plain(head.targets) if self._backend.directory.host_of(s.end) in (None, host)]
        self._backend.directory.seat(seats, host)
        self._met.add(host)

    @property
    def strangers(self) -> int:
        """How many processes have a door here and have not answered yet: they compute, and do not look up."""
        return sum(host not in self._met for host in self._backend.hosts)


class Together(SharedMemory):
    """Shared memory for a program that was started by itself, and finds the others of its job by the rendezvous.

    Args:
        coding: between messages and bytes.
        pool: the segments.
        job_id: the job.
        end: the program's worker.

    Raises:
        ChannelError: the folder in which they meet cannot be used, or that worker runs already.
    """

    def __init__(self, coding: Coding, pool: Pool, job_id: str, end: str) -> None:
        super().__init__(Directory(), coding, pool)
        self._rendezvous = Rendezvous(self, job_id, end)

    def sit(self, seats: Sequence[Seat], wants: Sequence[tuple[str, str, str]]) -> None:
        """Take seats; on one machine everybody meets everybody."""
        self._rendezvous.sit(seats)

    @property
    def strangers(self) -> int:
        """How many processes are there, and have not said yet who is in them."""
        return self._rendezvous.strangers

    def close(self) -> None:
        """Leave: nobody new comes in, and what was sent is delivered."""
        self._rendezvous.close()
        super().close()
