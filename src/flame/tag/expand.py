"""Expansion: a TAG and its datasets become one row per worker, in a fixed order and with lasting ids.

Roles go by name. A role that consumes no data has `replica` workers per association, replica by replica. A
data consumer has one worker per dataset, group by group in the order of their names, and each worker has the
first association that names its group for any channel. A worker's id hangs on nothing but its job, role,
association, dataset, and how many equal workers come before it: adding one somewhere changes no other id.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from flame.errors import TagError
from flame.tag.finding import Finding
from flame.tag.groups import lost_groups
from flame.tag.invariants import Data, Dataset
from flame.tag.schema import Role, Tag

DEFAULT_COMPUTE = "default"


class WorkerSpec(NamedTuple):
    """One worker of an expanded TAG.

    Attributes:
        task_id: 40 hexadecimal digits, unique in the job.
        role: its role.
        group_association: {channel: group}; shared between workers, treat it as read-only.
        dataset: its dataset's URL, or "" for a role that consumes none.
        compute: the compute that it belongs on.
    """

    task_id: str
    role: str
    group_association: Mapping[str, str]
    dataset: str
    compute: str


def expand(tag: Tag, data: Data, *, job_id: str = "job") -> list[WorkerSpec]:
    """Every worker of a TAG, in order.

    Time and memory are linear in the workers, whatever the number of groups.

    Args:
        tag: the TAG.
        data: for each data consumer and group, its datasets: a URL, or a URL and the compute that it belongs
            on. The same dataset may be listed several times. Roles that the TAG does not have are skipped.
        job_id: enters every task id.

    Raises:
        TagError: a data group that no association of its role names.
    """
    lost = [
        Finding(*problem, invariant="unknown-data")
        for role in tag.data_consumers()
        for problem in lost_groups(role, data.get(role.name, {}))
    ]
    if lost:
        raise TagError(lost)
    workers: list[WorkerSpec] = []
    for role in sorted(tag.roles, key=lambda one: one.name):
        seats = _Seats(job_id, role)
        if role.is_data_consumer:
            known = role.associations_by_group()
            groups = data.get(role.name, {})
            for group in sorted(groups):
                workers.extend(seats.take(known[group], iter(groups[group])))
        else:
            for _ in range(max(1, role.replica)):
                for association in role.group_association:
                    workers.extend(seats.take(association, iter([("", DEFAULT_COMPUTE)])))
    return workers


class _Seats:
    """The workers of one role: gives each its id, and remembers how many equal ones there were."""

    def __init__(self, job_id: str, role: Role) -> None:
        self._job_id, self._role = job_id, role.name
        self._taken: dict[str, dict[str, int]] = {}

    def take(self, association: Mapping[str, str], datasets: Iterator[Dataset]) -> Iterator[WorkerSpec]:
        import hashlib  # it brings OpenSSL, 3.5 MB that a worker, which expands nothing, does not need

        head = json.dumps([self._job_id, self._role, sorted(association.items())])
        taken = self._taken.setdefault(head, {})
        start = hashlib.sha1(head.encode(), usedforsecurity=False)
        role = self._role
        for dataset in datasets:
            url, compute = (dataset, DEFAULT_COMPUTE) if isinstance(dataset, str) else dataset
            before = taken.get(url, 0)
            taken[url] = before + 1
            # The head is one line of JSON, so that no two different workers are the same text.
            digest = start.copy()
            digest.update(f"\n{before}\n{url}".encode())
            yield WorkerSpec(digest.hexdigest(), role, association, url, compute)
