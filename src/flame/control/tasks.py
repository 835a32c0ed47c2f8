"""Tasks: what an agent is given, what it reports, and how long it may be silent."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from typing import Any

from sqlalchemy.orm import Session

from flame.control.computes import same
from flame.control.jobs import Jobs, found, tasks_of
from flame.control.lifecycle import UNDER_WAY, task_move
from flame.control.records import ENDED, LOG_BYTES, JobState, TaskInfo, TaskState, TaskStatus
from flame.control.store import ProgramRow, Store, TaskRow
from flame.control.times import Clock
from flame.errors import ConfigError, NotAllowed, NotFound

REPORTED = (TaskState.RUNNING, TaskState.COMPLETED, TaskState.FAILED, TaskState.TERMINATED)


class Tasks:
    """The tasks of all jobs.

    Args:
        store: where they are kept.
        clock: tells the time.
        jobs: whom their reports move.
        changed: called after a report, outside of the transaction.
    """

    def __init__(self, store: Store, clock: Clock, jobs: Jobs, changed: Callable[[], None]) -> None:
        self._store, self._clock, self._jobs, self._changed = store, clock, jobs, changed
        self._heard: dict[tuple[str, str], float] = {}

    def all(self, user: str, job_id: str, *, compute: bool = False) -> list[TaskInfo]:
        """A job's tasks, in order.

        Args:
            user: whose job it is; or the compute whose tasks are meant.
            job_id: the job.
            compute: whether `user` is a compute.
        """
        with self._store.transaction() as session:
            found(session, job_id, None if compute else user)
            return [_info(row) for row in tasks_of(session, job_id) if not compute or row.compute_id == user]

    def get(self, user: str, job_id: str, task_id: str) -> TaskInfo:
        """One task."""
        with self._store.transaction() as session:
            found(session, job_id, user)
            return _info(_task(session, job_id, task_id))

    def work(self, job_id: str, task_id: str, key: str) -> tuple[dict[str, Any], bytes]:
        """A task's config and an archive of its code, for its agent.

        Raises:
            NotAllowed: the key is not the task's.
        """
        with self._store.transaction() as session:
            row = self._opened(session, job_id, task_id, key)
            program = session.get(ProgramRow, (job_id, row.role))
            if program is None:
                raise NotFound(f"no code found for role {row.role}")
            return row.config, program.archive

    def report(self, job_id: str, task_id: str, key: str, status: TaskStatus) -> None:
        """An agent says what its task is doing.

        Raises:
            NotAllowed: the key is not the task's.
            ConfigError: a task cannot be in that state.
        """
        if status.state not in REPORTED:
            raise ConfigError("state", f"prohibited state: {status.state}", f"it is one of {', '.join(REPORTED)}")
        with self._store.transaction() as session:
            row = self._opened(session, job_id, task_id, key)
            self._put(session, row, TaskState(status.state), status.log)
        self._changed()

    def should_stop(self, job_id: str, task_id: str, key: str) -> bool:
        """An agent shows that it is alive, and is told whether its work is still wanted.

        Raises:
            NotAllowed: the key is not the task's: it is that of a later start of the job.
        """
        with self._store.transaction() as session:
            row = self._opened(session, job_id, task_id, key)
            job = found(session, job_id)
            return row.state in ENDED or job.state is JobState.STOPPING or job.state not in UNDER_WAY

    def lost(self, job_id: str, task_id: str, why: str) -> None:
        """A task's agent is gone: what has not ended has failed."""
        with self._store.transaction() as session:
            row = session.get(TaskRow, (job_id, task_id))
            if row is None or row.state in ENDED or found(session, job_id).state not in UNDER_WAY:
                return
            self._put(session, row, TaskState.FAILED, why)
        self._changed()

    def expect(self, job_id: str) -> None:
        """From now on a job's agents are listened for."""
        with self._store.transaction() as session:
            for row in tasks_of(session, job_id):
                self._heard[job_id, row.id] = time.monotonic()

    def forget_all_but(self, jobs: Collection[str]) -> None:
        """Agents of other jobs are no longer listened for."""
        for key in [key for key in list(self._heard) if key[0] not in jobs]:
            self._heard.pop(key, None)

    def silent(self, job_id: str, for_s: float) -> list[str]:
        """The tasks under way whose agent has not been heard for so long."""
        now = time.monotonic()
        with self._store.transaction() as session:
            ids = [row.id for row in tasks_of(session, job_id) if row.state not in ENDED]
        return [task for task in ids if now - self._heard.get((job_id, task), now) > for_s]

    def busy(self, job_id: str) -> bool:
        """Whether a task of a job is still running."""
        with self._store.transaction() as session:
            return any(row.state is TaskState.RUNNING for row in tasks_of(session, job_id))

    def _opened(self, session: Session, job_id: str, task_id: str, key: str) -> TaskRow:
        found(session, job_id)
        row = _task(session, job_id, task_id)
        if not same(row.key, key):
            raise NotAllowed(f"the key is not that of task {task_id}")
        self._heard[job_id, task_id] = time.monotonic()
        return row

    def _put(self, session: Session, row: TaskRow, state: TaskState, log: str) -> None:
        job = found(session, row.job_id)
        if job.state not in UNDER_WAY and row.state not in ENDED:
            return  # it is not its turn: its job has not been started
        row.state, row.timestamp = task_move(row.state, state), self._clock()
        said = log.encode()[-LOG_BYTES:].decode(errors="replace").replace("\0", " ")  # which PostgreSQL does not keep
        row.log = said or row.log
        self._jobs.settle(session, job)


def _task(session: Session, job_id: str, task_id: str) -> TaskRow:
    row = session.get(TaskRow, (job_id, task_id))
    if row is None:
        raise NotFound(f"task id {task_id} of job {job_id} not found")
    return row


def _info(row: TaskRow) -> TaskInfo:
    return TaskInfo(
        job_id=row.job_id,
        task_id=row.id,
        role=row.role,
        group_association=row.group_association,
        state=row.state,
        compute_id=row.compute_id,
        log=row.log,
        timestamp=row.timestamp,
    )
