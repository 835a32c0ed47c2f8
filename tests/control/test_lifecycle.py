"""No job makes a move that is not in the table, whatever its users, tasks, clock and deployer do."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from server import CODE, SCHEMA
from sqlalchemy import func, select

from flame.control.lifecycle import MOVES, UNDER_WAY, Trigger, move, task_move, wanted
from flame.control.plane import Control
from flame.control.records import ENDED, Dataset, DesignInfo, Job, JobState, RoleGroups, TaskState, TaskStatus
from flame.control.store import Base, ComputeRow, DeploymentRow, DesignRow, ProgramRow, Store, TaskRow
from flame.control.watch import Watch
from flame.errors import ConfigError, NotAllowed, Refused

LEGAL = {
    "ready": {"starting"},
    "starting": {"deploying", "failed", "stopping", "terminated"},
    "deploying": {"running", "failed", "stopping", "terminated"},
    "running": {"completed", "failed", "stopping", "terminated"},
    "stopping": {"terminated"},
    "completed": {"starting"},
    "failed": {"starting"},
    "terminated": {"starting"},
}
REPORTS = [TaskState.RUNNING, TaskState.COMPLETED, TaskState.FAILED, TaskState.TERMINATED]


def test_the_table_has_the_legal_moves_and_no_others() -> None:
    found: dict[str, set[str]] = {}
    for (before, _), after in MOVES.items():
        found.setdefault(before, set()).add(after)
    assert found == LEGAL
    for state in JobState:
        for trigger in Trigger:
            if (state, trigger) not in MOVES:
                with pytest.raises(Refused, match=f"a job that is {state} cannot {trigger}"):
                    move(state, trigger)


@pytest.mark.parametrize(
    ("tasks", "trigger"),
    [
        ("trainer ready, trainer ready", None),
        ("trainer running, aggregator ready", None),
        ("trainer completed, aggregator ready", None),
        ("trainer completed, trainer failed, aggregator completed", Trigger.DONE),
        ("trainer failed, trainer failed, aggregator running", Trigger.ROLE_FAILED),
        ("trainer failed, trainer running, aggregator running", None),
        ("trainer failed, trainer terminated, aggregator completed", Trigger.BROKEN),
    ],
)
def test_what_tasks_ask_for(tasks: str, trigger: Trigger | None) -> None:
    rows = [(role, TaskState(state)) for role, state in (one.split() for one in tasks.split(", "))]
    assert wanted(JobState.RUNNING, rows) is trigger
    early = {None: Trigger.TASK_RUNNING, Trigger.ROLE_FAILED: Trigger.ROLE_FAILED}.get(trigger, Trigger.TASK_RUNNING)
    begun = any(state is not TaskState.READY for _, state in rows)
    assert wanted(JobState.DEPLOYING, rows) is (early if begun else None)
    for state in set(JobState) - {JobState.RUNNING, JobState.DEPLOYING}:
        assert wanted(state, rows) is None


def test_what_has_ended_stays_as_it_ended() -> None:
    for state in ENDED:
        assert {task_move(state, reported) for reported in TaskState} == {state}


def new_job(control: Control, limit: int = 0) -> str:
    """A job with two trainers and an aggregator, in a store that has nothing yet; its id."""
    control.designs.create("foo", DesignInfo(id="d"))
    control.designs.set_schema("foo", "d", SCHEMA)
    control.designs.set_code("foo", "d", CODE)
    data = control.datasets.create("foo", Dataset(url="file:///x", data_format="npy", realm="default/us"))
    groups = [RoleGroups(role="trainer", dataset_groups={"default": [data, data]})]
    asked = Job(name="j", design_id="d", backend="shm", max_run_time=limit, data_spec=groups)
    return control.jobs.create("foo", asked).id


def test_statement_35_what_belongs_to_a_job_goes_with_it() -> None:
    """No task and no program is left in the store, whereas the design is."""
    store = Store("sqlite://")
    control = Control(store, {}, {"default": "default/us"})
    job = new_job(control)
    key = control.computes.deployment("default", job, key_of(store)).agent_kvs
    control.computes.report("default", job, key_of(store), dict.fromkeys(key, "agentDeploySuccess"))
    assert rows(store) == {TaskRow: 3, ProgramRow: 2, DeploymentRow: 1, DesignRow: 1}
    control.jobs.delete("foo", job)
    assert rows(store) == {TaskRow: 0, ProgramRow: 0, DeploymentRow: 0, DesignRow: 1}


def key_of(store: Store) -> str:
    with store.transaction() as session:
        return session.scalars(select(ComputeRow.api_key)).one()


def rows(store: Store) -> dict[type[Base], int]:
    with store.transaction() as session:
        tables = (TaskRow, ProgramRow, DeploymentRow, DesignRow)
        return {table: session.scalar(select(func.count()).select_from(table)) or 0 for table in tables}


class Agents:
    """A deployer that starts nothing, and knows the keys that agents would show."""

    def __init__(self) -> None:
        self.keys: dict[str, dict[str, str]] = {}
        self.ended: list[tuple[str, str]] = []
        self.refuses = False

    def deploy(self, job_id: str, keys: Mapping[str, str]) -> None:
        if self.refuses:
            raise ConfigError("agents", "cannot be started")
        self.keys.setdefault(job_id, {}).update(keys)

    def revoke(self, job_id: str) -> None:
        self.keys.pop(job_id, None)

    def jobs(self) -> Collection[str]:
        return set(self.keys)

    def gone(self) -> Collection[tuple[str, str]]:
        told, self.ended = self.ended, []
        return told


def test_one_job_that_goes_wrong_does_not_keep_the_watch_from_the_next() -> None:
    control = Control(Store("sqlite://"), {}, {"default": "default/us"})
    jobs = [new_job(control)]
    jobs.append(control.jobs.create("foo", control.jobs.get("foo", jobs[0])).id)

    class Defective(Agents):
        def deploy(self, job_id: str, keys: Mapping[str, str]) -> None:
            assert job_id != jobs[0]
            super().deploy(job_id, keys)

    for job in jobs:
        control.jobs.request("foo", job, "starting")
    Watch(control, Defective(), 60.0).look()
    assert [control.jobs.status("foo", job).state for job in jobs] == ["starting", "deploying"]


class Life(RuleBasedStateMachine):
    """A job of three tasks among users, agents and time."""

    @initialize(limit=st.sampled_from([0, 60]))
    def begin(self, limit: int) -> None:
        self.now, self.limit = datetime(2026, 1, 1, tzinfo=UTC), limit
        self.store, self.agents = Store("sqlite://"), Agents()
        self.start_server()
        self.job = new_job(self.control, limit)
        self.seen = JobState.READY
        self.old_keys: dict[str, str] = {}

    def clock(self) -> str:
        self.now += timedelta(milliseconds=1)
        return self.now.isoformat(timespec="microseconds").replace("+00:00", "Z")

    @rule()
    def start_server(self) -> None:
        """It may be started again at any time; nothing but the store is left."""
        self.control = Control(self.store, {}, {"default": "default/us"}, self.clock)
        self.watch = Watch(self.control, self.agents, silence_s=1e9)

    @rule()
    def look(self) -> None:
        self.watch.look()
        self.check()
        assert (self.job in self.agents.jobs()) <= (self.state() in UNDER_WAY)

    @rule(fails=st.booleans())
    def start(self, fails: bool) -> None:
        self.agents.refuses = fails
        before = self.state()
        if before in UNDER_WAY:
            with pytest.raises(Refused, match="cannot start"):
                self.control.jobs.request("foo", self.job, "starting")
            return
        self.old_keys = self.agents.keys.get(self.job, {})
        self.control.jobs.request("foo", self.job, "starting")
        self.check()
        assert {task.state for task in self.tasks()} == {"ready"}

    @rule()
    def stop(self) -> None:
        if self.state() in UNDER_WAY - {JobState.STOPPING}:
            self.control.jobs.request("foo", self.job, "stopping")
            self.check()
            return
        with pytest.raises(Refused, match="cannot stop"):
            self.control.jobs.request("foo", self.job, "stopping")

    @precondition(lambda self: hasattr(self, "agents") and self.agents.keys)
    @rule(which=st.integers(0, 2), state=st.sampled_from(REPORTS))
    def report(self, which: int, state: TaskState) -> None:
        task, key = list(self.agents.keys[self.job].items())[which]
        self.control.tasks.report(self.job, task, key, TaskStatus(state=state, log="said"))
        self.check()

    @precondition(lambda self: hasattr(self, "old_keys") and self.old_keys)
    @rule(which=st.integers(0, 2))
    def report_from_an_earlier_start(self, which: int) -> None:
        task, key = list(self.old_keys.items())[which]
        if self.agents.keys.get(self.job, {}).get(task, key) != key:
            with pytest.raises(NotAllowed):
                self.control.tasks.report(self.job, task, key, TaskStatus(state="failed"))

    @precondition(lambda self: hasattr(self, "agents") and self.agents.keys)
    @rule(which=st.integers(0, 2))
    def lose_an_agent(self, which: int) -> None:
        self.agents.ended.append((self.job, list(self.agents.keys[self.job])[which]))

    @rule()
    def wait(self) -> None:
        self.now += timedelta(seconds=90)
        before = self.state()
        self.watch.look()
        self.check(steps=2)
        if self.limit and before in ("deploying", "running"):
            assert self.state() not in UNDER_WAY

    @rule()
    def delete(self) -> None:
        if self.state() in UNDER_WAY:
            with pytest.raises(Refused, match="Stop the job first"):
                self.control.jobs.delete("foo", self.job)

    @invariant()
    def tasks_agree_with_their_job(self) -> None:
        if not hasattr(self, "job"):
            return
        state, tasks = self.state(), [task.state for task in self.tasks()]
        status = self.control.jobs.status("foo", self.job)
        if state not in UNDER_WAY and state != "ready":
            assert set(tasks) <= set(ENDED)
            assert status.started_at <= status.ended_at
        if state == "completed":
            assert {task.role for task in self.tasks() if task.state == "completed"} == {"trainer", "aggregator"}

    def state(self) -> JobState:
        return JobState(self.control.jobs.status("foo", self.job).state)

    def tasks(self) -> list[Any]:
        return list(self.control.tasks.all("foo", self.job))

    def check(self, steps: int = 3) -> None:
        """The state is one that at most so many legal moves lead to."""
        reachable = {str(self.seen)}
        for _ in range(steps):
            reachable |= {after for state in reachable for after in LEGAL[state] if after != "starting"}
        if self.seen not in UNDER_WAY:
            reachable |= {"starting"}
        assert self.state() in reachable, (self.seen, self.state())
        self.seen = self.state()


Life.TestCase.settings = settings(
    max_examples=25, stateful_step_count=20, deadline=None, suppress_health_check=list(HealthCheck)
)
test_no_illegal_move_is_reached = Life.TestCase
