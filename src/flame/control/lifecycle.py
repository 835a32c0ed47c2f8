"""A job's life: every move that there is, and which one a job's tasks ask for. Pure: no clock, no socket, no store.

```
ready ──start──▶ starting ──deployed──▶ deploying ──task running──▶ running ──done──▶ completed
                    │                       │                          │
                    ├── undeployed ─────────┼── role failed ───────────┼── broken ──▶ failed
                    └── stop ───────────────┴── stop ──▶ stopping ◀────┘
                         time is up, or stopping is over ──▶ terminated
```

A job that has ended may be started again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum
from types import MappingProxyType

from flame.control.records import ENDED, JobState, TaskState
from flame.errors import Refused


class Trigger(StrEnum):
    """What moves a job."""

    START = "start"
    DEPLOYED = "deployed"
    UNDEPLOYED = "undeployed"
    TASK_RUNNING = "task running"
    ROLE_FAILED = "role failed"
    DONE = "done"
    BROKEN = "broken"
    STOP = "stop"
    STOPPED = "stopped"
    TIME_UP = "time up"


MOVES: Mapping[tuple[JobState, Trigger], JobState] = MappingProxyType(
    {
        (JobState.READY, Trigger.START): JobState.STARTING,
        (JobState.STARTING, Trigger.DEPLOYED): JobState.DEPLOYING,
        (JobState.STARTING, Trigger.UNDEPLOYED): JobState.FAILED,
        (JobState.STARTING, Trigger.STOP): JobState.STOPPING,
        (JobState.STARTING, Trigger.TIME_UP): JobState.TERMINATED,
        (JobState.DEPLOYING, Trigger.TASK_RUNNING): JobState.RUNNING,
        (JobState.DEPLOYING, Trigger.ROLE_FAILED): JobState.FAILED,
        (JobState.DEPLOYING, Trigger.STOP): JobState.STOPPING,
        (JobState.DEPLOYING, Trigger.TIME_UP): JobState.TERMINATED,
        (JobState.RUNNING, Trigger.DONE): JobState.COMPLETED,
        (JobState.RUNNING, Trigger.BROKEN): JobState.FAILED,
        (JobState.RUNNING, Trigger.ROLE_FAILED): JobState.FAILED,
        (JobState.RUNNING, Trigger.STOP): JobState.STOPPING,
        (JobState.RUNNING, Trigger.TIME_UP): JobState.TERMINATED,
        (JobState.STOPPING, Trigger.STOPPED): JobState.TERMINATED,
        (JobState.COMPLETED, Trigger.START): JobState.STARTING,
        (JobState.FAILED, Trigger.START): JobState.STARTING,
        (JobState.TERMINATED, Trigger.START): JobState.STARTING,
    }
)

UNDER_WAY = frozenset({JobState.STARTING, JobState.DEPLOYING, JobState.RUNNING, JobState.STOPPING})
"""The states in which somebody works for the job; in all others it may be changed and deleted."""

REQUESTS: Mapping[str, Trigger] = MappingProxyType({"starting": Trigger.START, "stopping": Trigger.STOP})
"""What a user may ask for."""


def move(state: JobState, trigger: Trigger) -> JobState:
    """The state that a job gets into.

    Raises:
        Refused: the state has no such move; the message says which it has.
    """
    after = MOVES.get((state, trigger))
    if after is None:
        there = [str(name) for (at, name) in MOVES if at is state and name in REQUESTS.values()]
        raise Refused(f"a job that is {state} cannot {trigger}; it can: {', '.join(there) or 'nothing but wait'}")
    return after


def wanted(state: JobState, tasks: Iterable[tuple[str, TaskState]]) -> Trigger | None:
    """The move that a job's tasks, each a role and a state, ask for; None if it is well where it is.

    A task that has not begun is still to come, however many others have ended.
    """
    if state not in (JobState.DEPLOYING, JobState.RUNNING):
        return None
    by_role: dict[str, set[TaskState]] = {}
    for role, of_task in tasks:
        by_role.setdefault(role, set()).add(of_task)
    if any(states == {TaskState.FAILED} for states in by_role.values()):
        return Trigger.ROLE_FAILED
    if state is JobState.DEPLOYING:
        return Trigger.TASK_RUNNING if any(states != {TaskState.READY} for states in by_role.values()) else None
    if not all(states <= ENDED for states in by_role.values()):
        return None
    return Trigger.DONE if all(TaskState.COMPLETED in states for states in by_role.values()) else Trigger.BROKEN


def task_move(state: TaskState, reported: TaskState) -> TaskState:
    """A task's state after a report: what has ended stays as it ended."""
    return state if state in ENDED or reported is TaskState.READY else reported
