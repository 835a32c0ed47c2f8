"""Checkpoints inside a host: who waits for one, whether all workers can be kept now, and the writing of their states.

A worker can be kept between two passes of its loop: while it waits for the checkpoint, or for the first message of its
next pass. Workers that begin by themselves wait for a checkpoint that is due; all others come to rest on their own.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flame.errors import EncodeError, RunError
from flame.mode.state import objects_of, restore, state_of
from flame.registry.journal import Checkpoint, write_states
from flame.runtime.reports import Command, Count, Inbox, Kept, Still, Write
from flame.wire.codec import Payload

if TYPE_CHECKING:
    from flame.runtime.host import Host, Worker

logger = logging.getLogger(__name__)


class Keeper:
    """One host's part in checkpoints.

    Args:
        host: the host.
        every: after how many rounds one is due; 0 for never.
        found: the checkpoint that the run goes on from, or None.
    """

    def __init__(self, host: Host, every: int, found: Checkpoint | None) -> None:
        self.host, self.every, self.found = host, every, found
        self.passes: dict[str, Passes] = {}
        self.warned: set[tuple[str, str]] = set()
        self._waiting: dict[Worker, int] = {}
        self._wave = 0
        self._unsaid = False
        self._ended = ""
        self._at: Worker | None = None
        host.hub.on_still = self.still if every else None

    def of(self, worker: Worker) -> Passes | None:
        """What watches a worker's loop; None in a run that neither makes checkpoints nor goes on from one."""
        if not self.every and self.found is None:
            return None
        return self.passes.setdefault(worker.name, Passes(self, worker))

    def was_asked(self, worker: Worker) -> bool:
        """Whether a worker that has not been built here was, in the run that this one goes on from."""
        return self.found is not None and worker.name in self.found.states

    def ended(self, worker: Worker) -> None:
        """A worker has ended: from now on the run cannot be kept."""
        self._ended = self._ended or f"{worker.name} has ended"

    def due(self, number: int, rounds: int) -> bool:
        """Whether there is a checkpoint to be made after a round."""
        return self.every > 0 and number <= rounds and (number % self.every == 0 or number == rounds)

    def wait(self, worker: Worker, number: int) -> None:
        """The worker waits until the checkpoint is made, or cannot be made."""
        self._waiting[worker] = number
        self._unsaid = True
        self.host.hub.wait(lambda: worker not in self._waiting, lambda: f"the checkpoint of round {number}")

    def waits(self, worker: Worker) -> bool:
        """Whether a worker waits for a checkpoint."""
        return worker in self._waiting

    @property
    def waited_for(self) -> bool:
        """Whether a worker of this host waits for a checkpoint."""
        return bool(self._waiting)

    def still(self) -> None:
        """Nobody here can run: say so if a checkpoint is due, or somebody asked."""
        while (self._wave or self._unsaid) and not self.host.hub.busy:
            wave, self._wave, self._unsaid = self._wave, 0, False
            if wave or self._waiting:
                sent, received = self.host.backend.traffic
                leads = any(worker.leads for worker in self._waiting)
                number = max(self._waiting.values(), default=0)
                self.host.outbox.send(Still(wave, sent, received, number, leads, self._problem()))

    def hear(self, inbox: Inbox[Command]) -> None:
        """The process that watches the run has said something."""
        for command in inbox.read():
            self.obey(command)
        if inbox.closed:
            raise RunError("the process that watches the run has gone")

    def obey(self, command: Command) -> None:
        """Do what the process that watches the run says."""
        if isinstance(command, Count):
            self._wave = command.wave
        elif isinstance(command, Write):
            self._write(Path(command.folder))
        else:
            for worker in list(self._waiting):
                del self._waiting[worker]
                worker.wake()

    def _problem(self) -> str:
        if self._ended:
            return self._ended
        return next((why for passes in self.passes.values() if (why := passes.problem())), "")

    def _write(self, folder: Path) -> None:
        host = self.host
        models = {worker.name: "model.safetensors" for worker in host.workers if worker.leads}
        try:
            files = write_states(folder, host.plan.number, self._states(), models)
        except EncodeError as error:
            host.failed(self._at or host.workers[0], error)
            return
        host.send_rows()
        backend = host.backend
        host.outbox.send(
            Kept([(file.path, file.nbytes, file.digest) for file in files], backend.sent_bytes, backend.sent_messages)
        )

    def _states(self) -> Iterator[tuple[str, Mapping[str, Any] | Payload]]:
        """The state of every worker that has one; of one that has not been built since the run went on, the old one."""
        for worker in self.host.workers:
            self._at = worker
            passes = self.passes.get(worker.name)
            if passes is not None and passes.role is not None:
                yield worker.name, passes.state()
            elif self.found is not None and (state := self.found.state_of(worker.name)) is not None:
                yield worker.name, state


class Passes:
    """Watches the loop of one worker: restores the worker when it is entered, and lets it wait where one is due."""

    def __init__(self, keeper: Keeper, worker: Worker) -> None:
        self._keeper, self._worker = keeper, worker
        self.role: Any = None
        self._loops = False
        self._found: dict[str, Any] | None = None
        self._made: frozenset[str] = frozenset()
        self._before: dict[str, Any] = {}
        self._lasting: list[str] = []
        self._moved = -1
        self._waited = 0

    def attend(self, role: Any) -> None:
        """Watch a role's chain, which has been composed."""
        self.role = role
        composer = role.composer
        rounds = composer.rounds
        if rounds is not None:
            self._loops = True
            composer.entering, composer.passed = self._enter, self._pass
        found = self._keeper.found
        self._found = None if found is None else found.state_of(self._worker.name)
        if self._found is not None:
            role._resumed = self._found["engine"]

    def problem(self) -> str:
        """Why the worker cannot be kept now, in words; "" if it can."""
        worker, role = self._worker, self.role
        if role is None or self._keeper.waits(worker):
            return ""
        if not self._loops:
            return f"{worker.name} has no loop"
        if self._moved < 0:
            return f"{worker.name} is not in its loop yet"
        if worker.touched or (role.cm.moved != self._moved and not role._can_wait_again()):
            return f"{worker.name} is in the middle of a round, at `{role.composer.current}`"
        return ""

    def state(self) -> dict[str, Any]:
        """The worker's state."""
        streams = self._keeper.host.streams
        return {**state_of(self.role, self._lasting), "streams": streams.state(self._worker.turn)}

    def _enter(self) -> None:
        keeper, worker, role = self._keeper, self._worker, self.role
        objects = objects_of(role)
        self._made = frozenset(objects)
        state, self._found, role._resumed = self._found, None, None
        if state is not None:
            restore(role, state)
            keeper.host.streams.restore(worker.turn, state["streams"])
            self._lasting = list(state["objects"])
            self._waited = role._rounds_passed()
        self._begin(objects)

    def _pass(self) -> None:
        role, keeper, worker = self.role, self._keeper, self._worker
        objects = objects_of(role)
        self._lasting = self._outlived(objects)
        number = role._rounds_passed()
        rounds = worker.config.hyperparameters.rounds
        due = keeper.due(number, rounds) and not (number >= rounds and role._ends_within)
        if due and number > self._waited and not worker.role.waits_first():
            self._waited = number
            keeper.wait(worker, number)
        self._begin(objects)

    def _begin(self, objects: dict[str, Any]) -> None:
        self._before = objects
        self._worker.touched = False
        self._moved = self.role.cm.moved

    def _outlived(self, objects: dict[str, Any]) -> list[str]:
        """The objects that were there when the pass began, and are still the same."""
        lasting = [name for name, value in objects.items() if self._before.get(name) is value]
        for name in [name for name in lasting if name not in self._made]:
            lasting.remove(name)
            if (key := (self._worker.config.role, name)) not in self._keeper.warned:
                self._keeper.warned.add(key)
                logger.warning(
                    "%s: `%s` outlives a round and is in no checkpoint: make it in `initialize`, or write state_dict",
                    self._worker.name,
                    name,
                )
        return lasting
