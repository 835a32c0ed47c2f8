"""What goes over the control plane's doors: the bodies of its requests and replies, with upstream's keys.

Every field has a default, so that a body which lacks one can be answered as upstream answers; the fields that may not
be empty are named in `REQUIRED`. Agents and deployers know these records, and nothing else of the control plane.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, ClassVar

from msgspec import Meta, Struct, field

NEVER = "0001-01-01T00:00:00Z"
"""How a time that has not come is written."""


LOG_BYTES = 1000
"""How much of what a program has printed is told and kept: its end."""

Count = Annotated[int, Meta(ge=0, lt=2**31)]


class JobState(StrEnum):
    """Where a job is in its life."""

    READY = "ready"
    STARTING = "starting"
    DEPLOYING = "deploying"
    RUNNING = "running"
    STOPPING = "stopping"
    COMPLETED = "completed"
    FAILED = "failed"
    TERMINATED = "terminated"


class TaskState(StrEnum):
    """Where a task is in its life."""

    READY = "ready"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    TERMINATED = "terminated"


ENDED = frozenset({TaskState.COMPLETED, TaskState.FAILED, TaskState.TERMINATED})
"""The states that a task does not leave before its job is started again."""


class Body(Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """A request's or a reply's content."""

    REQUIRED: ClassVar[tuple[str, ...]] = ()


class DesignInfo(Body, frozen=True, kw_only=True):
    """A design, without its schema and code."""

    REQUIRED: ClassVar[tuple[str, ...]] = ("id",)
    id: str = ""
    user_id: str = ""
    name: str = ""
    description: str = ""


class Design(DesignInfo, frozen=True, kw_only=True):
    """A design with its schema: an object of revision 0 where it has none."""

    schema: dict[str, Any] = {}


class Dataset(Body, frozen=True, kw_only=True):
    """Where a dataset is, and who may see it."""

    REQUIRED: ClassVar[tuple[str, ...]] = ("url", "data_format", "realm")
    id: str = ""
    user_id: str = ""
    name: str = ""
    description: str = ""
    url: str = ""
    data_format: str = ""
    realm: str = ""
    compute_id: str = ""
    is_public: bool = False


class RoleGroups(Body, frozen=True, kw_only=True):
    """The datasets of a role's groups, by id."""

    REQUIRED: ClassVar[tuple[str, ...]] = ("role",)
    role: str = ""
    dataset_groups: dict[str, list[str]] = {}


class Job(Body, frozen=True, kw_only=True):
    """What is to be done: a design, with data and settings; `max_run_time` in seconds, 0 for no limit.

    `seed` is our own.
    """

    REQUIRED: ClassVar[tuple[str, ...]] = ("name", "design_id", "backend")
    id: str = ""
    user_id: str = ""
    name: str = ""
    design_id: str = ""
    schema_revision: Count = 0
    code_revision: Count = 0
    priority: str = "low"
    backend: str = ""
    max_run_time: Count = 0
    seed: Count = 0
    data_spec: list[RoleGroups] = []
    model_spec: dict[str, Any] = {}


class JobStatus(Body, frozen=True, kw_only=True):
    """Where a job is, and since when."""

    REQUIRED: ClassVar[tuple[str, ...]] = ("state",)
    id: str = ""
    name: str = ""
    state: str = ""
    created_at: str = NEVER
    started_at: str = NEVER
    updated_at: str = NEVER
    ended_at: str = NEVER


class TaskInfo(Body, frozen=True, kw_only=True):
    """A task, for people: its key is hidden."""

    job_id: str = ""
    task_id: str = ""
    role: str = ""
    group_association: dict[str, str] = {}
    key: str = "hidden by system"
    state: str = TaskState.READY
    compute_id: str = ""
    log: str = ""
    timestamp: str = NEVER


class TaskStatus(Body, frozen=True, kw_only=True):
    """What an agent reports: `log` is the end of what its program has printed. The time that counts is the server's."""

    REQUIRED: ClassVar[tuple[str, ...]] = ("state",)
    state: str = ""
    log: str = ""
    timestamp: str = NEVER


class TaskEvent(Body, frozen=True, kw_only=True):
    """What an agent that asks is told: to go on, or to stop. It is our own."""

    event: str = ""


class ComputeSpec(Body, frozen=True, kw_only=True):
    """A place where tasks run, as its deployer registers it."""

    REQUIRED: ClassVar[tuple[str, ...]] = ("compute_id", "api_key")
    admin_id: str = ""
    region: str = ""
    api_key: str = ""
    compute_id: str = ""


class ComputeStatus(Body, frozen=True, kw_only=True):
    """A registered compute."""

    compute_id: str = ""
    registered_at: str = NEVER
    state: str = "up"
    updated_at: str = NEVER


class DeploymentConfig(Body, frozen=True, kw_only=True):
    """Which agents a deployer starts for a job, and the key that each shows."""

    job_id: str = ""
    image_loc: str = ""
    agent_kvs: dict[str, str] = field(default={}, name="agentKVs")


AGENT_STATES = ("agentDeploySuccess", "agentDeployFailed", "agentRevokeSuccess", "agentRevokeFailed")
