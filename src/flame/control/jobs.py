"""Jobs: made from a design, started and stopped by their users, moved on by what their tasks report."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Collection, Mapping, Sequence

import msgspec
from sqlalchemy import select
from sqlalchemy.orm import Session

from flame.control import lifecycle
from flame.control.lifecycle import REQUESTS, UNDER_WAY, Trigger
from flame.control.making import Made, code_for, make, new_key
from flame.control.records import ENDED, NEVER, Job, JobState, JobStatus, TaskState
from flame.control.store import JobRow, ProgramRow, Store, TaskRow
from flame.control.times import Clock
from flame.errors import NotFound, Refused


class Jobs:
    """The jobs of all users.

    Args:
        store: where they are kept.
        clock: tells the time.
        brokers: what workers are told of where to meet.
        computes: the computes that have a deployer.
        changed: called after a job has changed, outside of the transaction.
    """

    def __init__(
        self,
        store: Store,
        clock: Clock,
        brokers: Mapping[str, str],
        computes: Collection[str],
        changed: Callable[[], None],
    ) -> None:
        self._store, self._clock, self._brokers, self._computes = store, clock, brokers, computes
        self._changed = changed

    def create(self, user: str, asked: Job) -> JobStatus:
        """A new job with its tasks.

        Raises:
            FlameError: see `flame.control.making.make`; then there is no job.
        """
        job_id, code = secrets.token_hex(12), code_for(self._store, user, asked)
        with self._store.transaction() as session:
            made = make(session, user, job_id, asked, self._brokers, code)
            row = JobRow(id=job_id, user_id=user, created_at=self._clock(), state=JobState.READY)
            row.started_at = row.updated_at = row.ended_at = NEVER
            session.add(row)
            self._fill(session, row, made)
            return _status(row)

    def update(self, user: str, job_id: str, asked: Job) -> None:
        """Make a job's tasks anew, from what its design is now.

        Raises:
            Refused: somebody works for it.
        """
        self.status(user, job_id)  # there is such a job
        code = code_for(self._store, user, asked)
        with self._store.transaction() as session:
            row = found(session, job_id, user)
            if row.state in UNDER_WAY:
                raise Refused(f"the current job state ({row.state}) is not an updatable state")
            made = make(session, user, job_id, asked, self._brokers, code)
            for table in (TaskRow, ProgramRow):
                for old in session.scalars(select(table).where(table.job_id == job_id)):
                    session.delete(old)
            session.flush()
            row.updated_at = self._clock()
            self._fill(session, row, made)

    def _fill(self, session: Session, row: JobRow, made: Made) -> None:
        row.name, row.design_id, row.max_run_time = made.job.name, made.job.design_id, made.job.max_run_time
        row.body = msgspec.to_builtins(made.job)
        session.flush()
        session.add_all([*made.tasks, *made.programs])

    def get(self, user: str, job_id: str) -> Job:
        """What was asked for."""
        with self._store.transaction() as session:
            return msgspec.convert(found(session, job_id, user).body, Job)

    def status(self, user: str, job_id: str) -> JobStatus:
        """Where a job is."""
        with self._store.transaction() as session:
            return _status(found(session, job_id, user))

    def all(self, user: str) -> list[JobStatus]:
        """A user's jobs, the oldest first."""
        return self._statuses(JobRow.user_id == user)

    def on(self, compute: str) -> list[JobStatus]:
        """The jobs that have tasks on a compute."""
        return self._statuses(JobRow.id.in_(select(TaskRow.job_id).where(TaskRow.compute_id == compute)))

    def under_way(self) -> list[JobStatus]:
        """The jobs that somebody works for."""
        return self._statuses(JobRow.state.in_(UNDER_WAY))

    def limit(self, job_id: str) -> int:
        """How many seconds a job may run; 0 for as long as it takes, and for a job that is gone."""
        with self._store.transaction() as session:
            row = session.get(JobRow, job_id)
            return row.max_run_time if row else 0

    def _statuses(self, which: object) -> list[JobStatus]:
        with self._store.transaction() as session:
            rows = session.scalars(select(JobRow).where(which).order_by(JobRow.created_at, JobRow.id))  # type: ignore[arg-type]
            return [_status(row) for row in rows]

    def delete(self, user: str, job_id: str) -> None:
        """Away with a job, its tasks and their code.

        Raises:
            Refused: somebody works for it.
        """
        with self._store.transaction() as session:
            row = found(session, job_id, user)
            if row.state in UNDER_WAY:
                raise Refused(f"delete job not allowed since job: {job_id} in state: {row.state}. Stop the job first")
            session.delete(row)

    def request(self, user: str, job_id: str, state: str) -> None:
        """A user starts or stops a job; it is answered at once, and done soon after.

        Raises:
            Refused: the job has no such move now, or a compute that it needs has no deployer.
        """
        if state not in REQUESTS:
            there = ", ".join(REQUESTS)
            raise Refused(f"status update operation not allowed from user: {state!r}; there are: {there}")
        with self._store.transaction() as session:
            row = found(session, job_id, user)
            self._move(row, REQUESTS[state])
            if row.state is JobState.STARTING:
                tasks = tasks_of(session, job_id)
                for compute in sorted({task.compute_id for task in tasks} - set(self._computes)):
                    raise Refused(f"no deployer serves compute {compute}, which job {job_id} has tasks on")
                for task in tasks:
                    task.state, task.log, task.timestamp = TaskState.READY, "", NEVER
        self._changed()

    def deploying(self, job_id: str) -> dict[str, dict[str, str]]:
        """New keys for the agents of a job that starts: for each compute a key per task. Old ones are worth nothing."""
        keys: dict[str, dict[str, str]] = {}
        with self._store.transaction() as session:
            for task in tasks_of(session, job_id):
                task.key = new_key()
                keys.setdefault(task.compute_id, {})[task.id] = task.key
        return keys

    def trigger(self, job_id: str, trigger: Trigger, at: Collection[JobState] = UNDER_WAY) -> None:
        """Move a job if it is still in one of these states; it may have moved, or gone, meanwhile."""
        with self._store.transaction() as session:
            row = session.get(JobRow, job_id)
            if row is None or row.state not in at:
                return
            self._move(row, trigger)
            self.settle(session, row)
        self._changed()

    def settle(self, session: Session, row: JobRow) -> None:
        """Move a job as far as its tasks ask for; tasks of a job that has ended are over, too."""
        tasks = tasks_of(session, row.id)
        while trigger := lifecycle.wanted(row.state, [(task.role, task.state) for task in tasks]):
            self._move(row, trigger)
        if row.state in (JobState.FAILED, JobState.TERMINATED):
            for task in tasks:
                if task.state not in ENDED:
                    task.state, task.timestamp = TaskState.TERMINATED, self._clock()

    def _move(self, row: JobRow, trigger: Trigger) -> None:
        row.state = lifecycle.move(row.state, trigger)
        now = self._clock()
        row.updated_at = now
        if row.state is JobState.STARTING:
            row.started_at, row.ended_at = now, NEVER
        elif row.state not in UNDER_WAY:
            row.ended_at = now


def found(session: Session, job_id: str, user: str | None = None) -> JobRow:
    """A job's row, locked until the transaction ends.

    Raises:
        NotFound: there is no such job, or it is not the user's.
    """
    row = session.get(JobRow, job_id, with_for_update=True)
    if row is None or user not in (None, row.user_id):
        raise NotFound(f"job id {job_id} not found")
    return row


def tasks_of(session: Session, job_id: str) -> Sequence[TaskRow]:
    """A job's tasks, in order."""
    return session.scalars(select(TaskRow).where(TaskRow.job_id == job_id).order_by(TaskRow.number)).all()


def _status(row: JobRow) -> JobStatus:
    return JobStatus(
        id=row.id,
        name=row.name,
        state=row.state,
        created_at=row.created_at,
        started_at=row.started_at,
        updated_at=row.updated_at,
        ended_at=row.ended_at,
    )
