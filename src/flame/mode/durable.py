"""Checkpoints of a program that runs alone: the worker that leads keeps its own state, and goes on from it.

Whoever is below is started again and joins. What it had remembered is not known here, and what was under way is asked
for again: no update counts twice.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from flame.config.compare import comparable, difference
from flame.errors import ConfigError
from flame.mode.role import Role
from flame.mode.state import objects_of, restore, state_of
from flame.registry.journal import FOLDER, Checkpoint, RecordFile, begin, commit, has_any, newest, write_states

logger = logging.getLogger(__name__)


class Durable:
    """Watches the loop of a role whose config has a `checkpoint`.

    Args:
        role: its chain has been composed.
    """

    def __init__(self, role: Role) -> None:
        config = role.config
        self._role, self._every = role, config.checkpoint.every
        self._folder = Path(config.checkpoint.dir)
        self._record: RecordFile | None = None
        self._lasting: list[str] = []
        role.composer.entering, role.composer.passed = self._enter, self._pass

    def _enter(self) -> None:
        """Go on from the newest checkpoint, if there is one."""
        role = self._role
        if has_any(self._folder):
            found = newest(self._folder)
            self._check(found)
            state = found.state_of("leader")
            assert state is not None  # it is written below
            self._lasting = list(state["objects"])
            restore(role, _of_itself(state))
            logger.warning("%s goes on after round %s, from %s", role.config.name, found.round, found.folder)
        self._record = RecordFile(self._folder / FOLDER)
        self._made = self._before = objects_of(role)

    def _pass(self) -> None:
        role, objects = self._role, objects_of(self._role)
        lasting = [name for name, value in objects.items() if self._before.get(name) is value]
        self._lasting, self._before = [name for name in lasting if name in self._made], objects
        number = role._rounds_passed()
        if number % self._every == 0 or number == role.config.hyperparameters.rounds:
            self._write(number)

    def _write(self, number: int) -> None:
        assert self._record is not None  # the loop has been entered
        top = self._folder / FOLDER
        states = [("leader", state_of(self._role, self._lasting))]
        files = write_states(begin(top, number), 0, states, {"leader": "model.safetensors"})
        commit(top, number, files, {"job": comparable(self._role.config), "record": self._record.append(b"")})

    def _check(self, found: Checkpoint) -> None:
        """Refuse to go on with another job. Raises ConfigError."""
        config, where = self._role.config, f"checkpoint {found.folder}"
        other = difference(found.manifest["job"], comparable(config), "")
        if other is not None:
            raise ConfigError(where, f"the job has changed: {other}", "go on with the same job, or name another folder")
        if found.round >= config.hyperparameters.rounds:
            reason = f"all {found.round} rounds are over"
            raise ConfigError(where, reason, "raise hyperparameters.rounds, or name another folder")


def _of_itself(state: dict[str, Any]) -> dict[str, Any]:
    """A state without who was busy and what had come: those who were asked have been started again."""
    engine = dict(state["engine"])
    engine["leading"] = {}
    engine["channels"] = {
        name: {part: value for part, value in channel.items() if part != "inbox"}
        for name, channel in engine["channels"].items()
    }
    return {**state, "engine": engine}
