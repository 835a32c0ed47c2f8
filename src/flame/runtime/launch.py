"""All the hosts of a run on this machine: start them, watch them, and leave none behind."""

from __future__ import annotations

import ctypes
import gc
import math
import os
import selectors
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from typing import cast

from flame.backend.directory import Directory, Seat
from flame.backend.pool import Pool
from flame.backend.shm import SharedMemory
from flame.channel.coding import CODING
from flame.config import Config
from flame.errors import RunError, WorkerFailed
from flame.mode.role import Role
from flame.registry.journal import Checkpoint
from flame.runtime.checkpoints import Checkpoints
from flame.runtime.host import Host, Plan
from flame.runtime.reports import Command, Done, Failed, Idle, Inbox, Outbox, Report, Stream, framed

LOOK_UP_S = 1.0
"""How long an interrupt may go unnoticed that another thread of this process has taken: it does not end a wait."""

_PR_SET_PDEATHSIG = 1


@dataclass(slots=True)
class Crew:
    """Who runs where.

    Attributes:
        configs: every worker's config, in the TAG's order.
        roles: the program of each role.
        consumers: the roles that hold data.
        names: every worker's readable name by task id.
        placement: the host of each worker, in the order of `configs`.
        hosts: how many hosts there are; 0 for one that is this process.
    """

    configs: Sequence[Config]
    roles: Mapping[str, type[Role]]
    consumers: frozenset[str]
    names: Mapping[str, str]
    placement: Sequence[int]
    hosts: int


@dataclass(slots=True)
class _Child:
    """A host, as the process that started it sees it."""

    number: int
    pid: int
    inbox: Inbox[Report]
    done: Done | None = None
    reaped: bool = False
    idle: Idle | None = None
    waits: list[tuple[str, str]] = field(default_factory=list)


class Launch:
    """One run's hosts, as child processes of this one.

    They are forked after the programs have been imported, so that a framework is imported once. If anything goes
    wrong in one, all are ended; if this process is killed, the kernel ends them.

    Args:
        crew: who runs where.
        seed: the run's seed.
        out: where models are written.
        watch: called with every report that a host sends.
        checkpoints: makes them; None for a run without.
        found: the checkpoint that the run goes on from, or None.
    """

    def __init__(
        self,
        crew: Crew,
        *,
        seed: int,
        out: Path,
        started: float,
        watch: Callable[[int, Report], None],
        checkpoints: Checkpoints | None = None,
        found: Checkpoint | None = None,
    ) -> None:
        self._crew = crew
        self._seed = seed
        self._out = out
        self._started = started
        self._watch = watch
        self._checkpoints, self._found = checkpoints, found
        self._children: dict[int, _Child] = {}
        self._counted: list[tuple[int, int]] = []
        self._counted_at = 0.0
        self._limit_s = crew.configs[0].max_run_time
        self._ends = now() + self._limit_s if self._limit_s else None

    @property
    def pids(self) -> dict[int, int]:
        """The process of each host."""
        return {child.number: child.pid for child in self._children.values()}

    def run(self) -> None:
        """Run everything to its end.

        Raises:
            WorkerFailed: a worker raised.
            RunError: a host died, everybody waits for somebody else, or the job's time is over.
        """
        directory = self._seated()
        if not self._crew.hosts:
            host = self._build(0, directory, {}, _Here(self._take_here))
            if self._checkpoints is not None:
                self._checkpoints.among(0, lambda _, command: host.keeper.obey(command))
            try:
                host.run()
            finally:
                host.hub.close()
                host.backend.close()
            return
        try:
            self._fork_all(directory)
            if self._checkpoints is not None:
                self._checkpoints.among(self._crew.hosts, self._say)
            self._supervise()
        finally:
            self._end_all()

    def _seated(self) -> Directory:
        directory = Directory()
        for config, host in zip(self._crew.configs, self._crew.placement, strict=True):
            directory.seat(seats_of(config), host)
        return directory

    def _fork_all(self, directory: Directory) -> None:
        count = self._crew.hosts
        between = {pair: socket.socketpair() for pair in combinations(range(count), 2)}
        reports = [socket.socketpair() for _ in range(count)]
        sys.stdout.flush()
        sys.stderr.flush()
        gc.collect()
        gc.freeze()
        parent = os.getpid()
        # An interrupt waits until every child is known, and until the child itself has decided what one means to it.
        blocked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
        try:
            for number in range(count):
                pid = os.fork()
                if not pid:
                    _be_a_host(lambda n=number: self._host(n, directory, between, reports), parent, blocked)  # type: ignore[misc]
                self._children[number] = _Child(number, pid, Inbox(reports[number][0], cast("type[Report]", Report)))
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
            gc.unfreeze()
        for left, right in between.values():
            left.close()
            right.close()
        for _, theirs in reports:
            theirs.close()

    def _host(
        self,
        number: int,
        directory: Directory,
        between: Mapping[tuple[int, int], tuple[socket.socket, socket.socket]],
        reports: Sequence[tuple[socket.socket, socket.socket]],
    ) -> None:
        """What a forked child does."""
        peers: dict[int, socket.socket] = {}
        for (low, high), (of_low, of_high) in between.items():
            mine, theirs = (of_low, of_high) if number == low else (of_high, of_low)
            if number in (low, high):
                peers[high if number == low else low] = mine
                theirs.close()
            else:
                mine.close()
                theirs.close()
        for other, (ours, theirs) in enumerate(reports):
            ours.close()
            if other != number:
                theirs.close()
        # Thousands of workers are built at once and stay: looking at them all each time would be most of the work.
        gc.set_threshold(100_000, 50, 50)
        sock = reports[number][1]
        host = self._build(number, directory, peers, Stream(sock))
        if self._checkpoints is not None:
            commands = Inbox(sock, cast("type[Command]", Command))
            host.backend.listen(sock, lambda: host.keeper.hear(commands))
        host.run()

    def _build(self, number: int, directory: Directory, peers: Mapping[int, socket.socket], outbox: Outbox) -> Host:
        crew = self._crew
        pool = Pool()
        ids = [config.task_id for config in crew.configs]
        backend = SharedMemory(directory, CODING, pool, peers=peers, numbered=ids)
        every = 0 if self._checkpoints is None else self._checkpoints.every
        several = max(1, crew.hosts)
        plan = Plan(number, several, self._seed, self._out, self._started, _lead(crew), crew.names, every, self._found)
        host = Host(plan, backend, pool, outbox)
        for config, where in zip(crew.configs, crew.placement, strict=True):
            if where == number:
                host.add(config, crew.roles[config.role], urgent=config.role not in crew.consumers)
        return host

    def _supervise(self) -> None:
        with selectors.DefaultSelector() as poller:
            for child in self._children.values():
                poller.register(child.inbox.sock, selectors.EVENT_READ, child)
            while any(child.done is None for child in self._children.values()):
                for key, _ in poller.select(min(self._in_time(), LOOK_UP_S)):
                    child = key.data
                    for report in child.inbox.read():
                        self._take(child, report)
                    if child.inbox.closed:
                        poller.unregister(child.inbox.sock)
                        if child.done is None:
                            raise RunError(self._obituary(child))
                if self._checkpoints is None or not self._checkpoints.open:
                    self._look_for_deadlock()

    def _in_time(self) -> float:
        """How many seconds of the job's time are left. Raises RunError when it is over."""
        if self._ends is None:
            return math.inf
        left = self._ends - now()
        if left <= 0:
            raise RunError(
                f"the job's maxRunTime of {self._limit_s} s is over; `--set maxRunTime=0` is no limit, and a run with"
                " checkpoints (`--checkpoint`) can be resumed"
            )
        return left

    def _say(self, host: int, command: Command) -> None:
        """Tell a host something; one that has gone in between is noticed by what it no longer reports."""
        with suppress(ConnectionError):
            self._children[host].inbox.sock.sendall(framed(command))

    def _take(self, child: _Child, report: Report) -> None:
        self._watch(child.number, report)
        if self._checkpoints is not None:
            self._checkpoints.take(child.number, report)
        child.idle = report if isinstance(report, Idle) and report.at > self._counted_at else None
        if isinstance(report, Failed):
            raise WorkerFailed(report.worker, report.role, report.traceback)
        if isinstance(report, Done):
            child.done = report
            if self._checkpoints is not None:
                self._checkpoints.ended(child.number)

    def _take_here(self, report: Report) -> None:
        self._watch(0, report)
        if not isinstance(report, Done):
            self._in_time()
        if self._checkpoints is not None:
            self._checkpoints.take(0, report)
        if isinstance(report, Failed):
            raise WorkerFailed(report.worker, report.role, report.traceback)
        if isinstance(report, Idle):
            raise RunError(_deadlock(report.waits))

    def _look_for_deadlock(self) -> None:
        """If no host can run and nothing is under way between them, nothing will ever happen again.

        Hosts report at different moments, so one count that adds up proves nothing: it takes a second one, made of
        reports that all came after the first, with the same numbers (F. Mattern 1987, the four-counter method).
        """
        children = [child for child in self._children.values() if child.done is None]
        states = [child.idle for child in children if child.idle is not None]
        if not states or len(states) < len(children):
            return
        if sum(state.sent for state in states) != sum(state.received for state in states):
            return
        counted = [(state.sent, state.received) for state in states]
        if counted == self._counted:
            raise RunError(_deadlock([wait for state in states for wait in state.waits]))
        self._counted, self._counted_at = counted, now()
        for child in children:
            child.idle = None

    def _obituary(self, child: _Child) -> str:
        _, status = os.waitpid(child.pid, 0)
        child.reaped = True
        code = os.waitstatus_to_exitcode(status)
        how = (
            f"was killed by signal {-code} ({signal.Signals(-code).name})" if code < 0 else f"ended with status {code}"
        )
        placed = zip(self._crew.configs, self._crew.placement, strict=True)
        workers = [self._crew.names[config.task_id] for config, host in placed if host == child.number]
        some = ", ".join(workers[:5]) + (f" and {len(workers) - 5} more" if len(workers) > 5 else "")
        return f"host {child.number} (process {child.pid}) {how}; it ran {some}"

    def _end_all(self) -> None:
        for child in self._children.values():
            if child.done is None and not child.reaped:
                os.kill(child.pid, signal.SIGKILL)
        for child in self._children.values():
            child.inbox.sock.close()
            if not child.reaped:
                os.waitpid(child.pid, 0)
                child.reaped = True


@dataclass(frozen=True, slots=True)
class _Here:
    """The outbox of a host in this process: its reports are acted on at once."""

    send: Callable[[Report], None]


def _deadlock(waits: Sequence[tuple[str, str]]) -> str:
    told = "\n".join(f"  {who} waits for {what}" for who, what in waits[:20])
    return f"deadlock: every worker that has not ended waits for another\n{told}"


def seats_of(config: Config) -> list[Seat]:
    """A worker's seat on each of its channels."""
    seats = []
    for channel in config.channels.values():
        group = channel.group_by.groupable_value(config.group_association.get(channel.name))
        seats.append(Seat(channel.name, group, config.role, config.task_id))
    return seats


def _lead(crew: Crew) -> str:
    """The worker whose model is the run's: the first that asks nobody for orders, if there is one without data."""
    follows = {"fetch", "coordinateWithTopAgg"}  # a coordinator has no model
    leads = [config for config in crew.configs if follows.isdisjoint(config.func_tag_map)] or crew.configs
    in_rings = [config.task_id for config in leads if "ring_allreduce" in config.func_tag_map]
    among_equals = min(in_rings, default=leads[0].task_id)  # it is the one that speaks for its ring
    return next((config.task_id for config in leads if config.role not in crew.consumers), among_equals)


def _be_a_host(work: Callable[[], None], parent: int, mask: Iterable[int]) -> None:
    """Do the work in this forked process, with these signals blocked, and end it; never returns."""
    code = 1
    try:
        _die_with(parent)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        work()
        code = 0
    except BaseException:  # the outermost frame of a process: print and end, never go back into the caller
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _die_with(parent: int) -> None:
    """Let the kernel end this process when the one that forked it ends, however that happens."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)


def now() -> float:
    """The machine's monotonic clock, which all hosts share."""
    return time.monotonic()
