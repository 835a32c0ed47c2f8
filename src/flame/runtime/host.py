"""One host: a process that runs many workers as fibers."""

from __future__ import annotations

import resource
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flame.backend.pool import Pool
from flame.backend.shm import SharedMemory
from flame.channel.surroundings import Surroundings
from flame.common.fiber import Fiber, Hub
from flame.config import Config
from flame.mode.role import Role
from flame.mode.tasklet import Tasklet
from flame.registry.journal import Checkpoint
from flame.runtime.keeper import Keeper
from flame.runtime.reports import Done, Failed, Idle, Measured, Outbox, Progress, RoundClosed
from flame.runtime.streams import Streams, Turn
from flame.wire.message import Order

MOST_SPANS = 20_000
PROGRESS_EVERY_S = 0.2


@dataclass(frozen=True, slots=True)
class Plan:
    """What one host is to do.

    Attributes:
        number: the host's number.
        hosts: how many hosts there are.
        seed: the run's seed.
        out: where final models are written.
        started: when the run began, on the machine's monotonic clock.
        lead: the worker whose final model is the run's.
        names: every worker's readable name by task id.
        every: after how many rounds a checkpoint is made; 0 for never.
        found: the checkpoint that the run goes on from, or None.
    """

    number: int
    hosts: int
    seed: int
    out: Path
    started: float
    lead: str
    names: Mapping[str, str]
    every: int = 0
    found: Checkpoint | None = None


class Host:
    """Runs workers until the last one has ended.

    Args:
        plan: what to do.
        backend: carries messages, to other hosts too.
        pool: memory for them.
        outbox: where it reports.
    """

    def __init__(self, plan: Plan, backend: SharedMemory, pool: Pool, outbox: Outbox) -> None:
        self.plan = plan
        self.backend = backend
        self.pool = pool
        self.outbox = outbox
        self.hub = Hub(backend)
        self.hub.on_idle = self._idle
        self.hub.on_switch = self._switched
        self.hub.on_poll = self._progress
        self.streams = Streams(plan.seed)
        self.rows: list[tuple[str, str, str, int, float, dict[str, Any]]] = []
        self.spans: list[tuple[str, str, str, int, float, float]] = []
        self.most_spans = MOST_SPANS // plan.hosts
        self.totals: dict[str, dict[str, list[float]]] = {}
        self.workers: list[Worker] = []
        self.keeper = Keeper(self, plan.every, plan.found)
        self.finished = self.never_asked = 0
        self._unfinished = 0
        self._reported = 0.0

    def add(self, config: Config, role: type[Role], *, urgent: bool) -> None:
        """Take a worker in. It is built when it is first sent something, if its role can wait for that.

        Args:
            config: the worker's config.
            role: its program.
            urgent: whether it goes before others that could run too.
        """
        worker = Worker(self, config, role, urgent)
        self.workers.append(worker)
        self._unfinished += 1
        self.backend.attach(config.task_id, worker)
        if not role.waits_first():
            worker.start()

    def run(self) -> None:
        """Run every worker to its end."""
        self.hub.run(lambda: not self._unfinished)
        self.backend.flush()
        self.send_rows()
        self.outbox.send(self._done())

    def ended(self, worker: Worker) -> None:
        """A worker has ended."""
        self._unfinished -= 1
        self.finished += 1
        self.backend.leave(worker.config.task_id)
        self.keeper.ended(worker)

    def failed(self, worker: Worker, error: BaseException) -> None:
        """A worker raised: whoever watches the run learns it at once."""
        self.send_rows()
        text = "".join(traceback.format_exception(error))
        self.outbox.send(Failed(worker.name, worker.config.role, text))

    def send_rows(self) -> None:
        """Hand on what was measured since the last time."""
        if self.rows:
            rows, self.rows = self.rows, []
            self.outbox.send(Measured(rows))

    def _progress(self) -> None:
        now = time.monotonic()
        if now - self._reported >= PROGRESS_EVERY_S:
            self._reported = now
            self.send_rows()
            self.outbox.send(Progress(self.finished, self.backend.sent_bytes, self.backend.sent_messages))

    def _idle(self) -> None:
        if self.keeper.waited_for:
            return  # it stands still until the checkpoint is made, which is no deadlock
        sent, received = self.backend.traffic
        self.outbox.send(Idle(time.monotonic(), sent, received, self.hub.waits()[:20]))

    def _switched(self, fiber: Fiber) -> None:
        if isinstance(fiber.owner, Worker):
            self.streams.resume(fiber.owner.turn)

    def _done(self) -> Done:
        sent, received = self.backend.traffic
        totals = [
            (role, alias, int(n), seconds)
            for role, by_alias in sorted(self.totals.items())
            for alias, (n, seconds) in sorted(by_alias.items())
        ]
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        sent_bytes, messages = self.backend.sent_bytes, self.backend.sent_messages
        return Done(sent, received, sent_bytes, messages, self.spans, totals, self.never_asked, peak)


class Worker:
    """One worker of a host: nothing but a row until it is needed."""

    __slots__ = (
        "config",
        "early",
        "fiber",
        "first_order",
        "host",
        "instance",
        "name",
        "role",
        "round_started",
        "running",
        "totals",
        "touched",
        "turn",
        "urgent",
    )

    def __init__(self, host: Host, config: Config, role: type[Role], urgent: bool) -> None:
        self.host = host
        self.config = config
        self.role = role
        self.urgent = urgent
        self.name = host.plan.names[config.task_id]
        self.turn = Turn(self.name)
        self.totals = host.totals.setdefault(config.role, {})
        self.early: list[tuple[str, str, object]] = []
        self.running = self.touched = False
        self.fiber: Fiber | None = None
        self.instance: Role | None = None
        self.round_started = self.first_order = 0.0

    def start(self) -> None:
        """Let the worker begin."""
        self.running = True
        host = self.host
        fiber = host.hub.spawn(self._live, self.name, urgent=self.urgent)
        self.fiber, fiber.owner = fiber, self
        fiber.surroundings = Surroundings(
            backend_of=lambda _: host.backend,
            sit=None,
            hub=host.hub,
            memory=host.pool,
            readable=host.plan.names.__getitem__,
            seed=host.plan.seed,
            events=self,
            early=self.early,
            fiber=fiber,
            patience_s=None,
            close=_nothing,
        )

    @property
    def leads(self) -> bool:
        """Whether this worker's final model is the run's."""
        return self.config.task_id == self.host.plan.lead

    def wake(self) -> None:
        """Let the worker look again at what it waits for."""
        if self.fiber is not None:
            self.host.hub.wake(self.fiber)

    def deliver(self, channel: str, source: str, message: object) -> None:
        """Take in what arrives before the worker is built; the first message has it built."""
        is_new = not self.running and not self.host.keeper.was_asked(self)
        if is_new and isinstance(message, Order) and message.end:
            # It was never asked for anything, and now it is over.
            self.host.never_asked += 1
            self.host.ended(self)
            return
        self.early.append((channel, source, message))
        if not self.running:
            self.start()

    # -- what the worker reports: flame.channel.surroundings.Events ---------------------------------

    def tasklet(self, alias: str, start: float, seconds: float) -> None:
        """A tasklet has run."""
        host = self.host
        total = self.totals.get(alias)
        if total is None:
            total = self.totals[alias] = [0, 0.0]
        total[0] += 1
        total[1] += seconds
        if alias == "distribute" and not self.first_order:
            self.first_order = start
        if len(host.spans) < host.most_spans:
            number = getattr(self.instance, "_round", 0)
            host.spans.append((self.name, self.config.role, alias, number, start, seconds))

    def metrics(self, round_number: int, values: Mapping[str, object]) -> None:
        """The worker measured something."""
        row = (self.name, self.config.role, self.config.dataset, round_number, time.monotonic(), dict(values))
        self.host.rows.append(row)

    def round_closed(
        self, round_number: int, asked: int, folded: int, nbytes: int, simulated_s: float | None = None
    ) -> None:
        """The worker closed a round of the whole run."""
        rounds, now = self.config.hyperparameters.rounds, time.monotonic()
        start = self.round_started or self.first_order or self.host.plan.started
        self.round_started = now
        closed = RoundClosed(self.name, round_number, rounds, start, now, asked, folded, nbytes, simulated_s)
        self.host.outbox.send(closed)

    def ordered(self, leader: str, round_number: int) -> None:
        """The worker's turns are counted anew, for this order."""
        self.turn.anew(f"{self.host.plan.names[leader]}/{round_number}")

    def model(self, save: Callable[[str], None]) -> None:
        """The worker has a final model."""
        plan = self.host.plan
        path = (
            plan.out / "model.safetensors" if self.leads else plan.out / "models" / f"{_as_file(self.name)}.safetensors"
        )
        path.parent.mkdir(parents=True, exist_ok=True)
        save(str(path))

    def _live(self) -> None:
        try:
            self.host.streams.begin(self.turn)
            self.instance = self.role(self.config)
            self.instance.compose()
            self.instance.composer.before = self._before
            passes = self.host.keeper.of(self)
            if passes is not None:
                passes.attend(self.instance)
            self.instance.run()
        # The worker's outermost frame: whatever its program raises, an exit too, is reported.
        except (Exception, SystemExit) as error:
            self.host.failed(self, error)
        finally:
            self.host.streams.end(self.turn)
            self.instance = None
            self.host.ended(self)

    def _before(self, tasklet: Tasklet) -> None:
        if tasklet.quiet:
            self.turn.open = False
        else:
            self.touched = True
            if not self.turn.open:
                self.host.streams.begin(self.turn)


def _as_file(name: str) -> str:
    """A worker's name as a file's: `top-aggregator/0` becomes `top-aggregator-0`."""
    return name.replace("/", "-")


def _nothing() -> None:
    """A worker of a host leaves when its fiber ends."""
