"""Computes: the places where tasks run, each with a deployer."""

from __future__ import annotations

import secrets
from collections.abc import Mapping

from sqlalchemy import select
from sqlalchemy.orm import Session

from flame.control.records import AGENT_STATES, ComputeSpec, ComputeStatus, DeploymentConfig
from flame.control.store import ComputeRow, DeploymentRow, JobRow, Store, TaskRow
from flame.control.times import Clock
from flame.errors import ConfigError, NotAllowed, NotFound, Refused
from flame.tag.expand import DEFAULT_COMPUTE


class Computes:
    """All computes."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store, self._clock = store, clock

    def register(self, spec: ComputeSpec) -> ComputeStatus:
        """A compute is there, for the first time or again.

        Raises:
            Refused: another one has this id, or it has moved.
        """
        with self._store.transaction() as session:
            row = session.get(ComputeRow, spec.compute_id)
            if row is None:
                row = ComputeRow(id=spec.compute_id, region=spec.region, admin_id=spec.admin_id, api_key=spec.api_key)
                row.registered_at = self._clock()
                session.add(row)
            elif not same(row.api_key, spec.api_key):
                raise Refused(f"ComputeId {spec.compute_id} already in use: it was registered with another apiKey")
            elif row.region != spec.region:
                raise Refused(f"ComputeId {spec.compute_id} already in use in region {row.region!r}")
            return ComputeStatus(
                compute_id=row.id, registered_at=row.registered_at, state="up", updated_at=row.registered_at
            )

    def ours(self, regions: Mapping[str, str]) -> None:
        """The computes whose deployer is in this process; nobody else can speak for them."""
        with self._store.transaction() as session:
            for compute, region in regions.items():
                row = session.get(ComputeRow, compute)
                registered_at = self._clock() if row is None else row.registered_at
                key = secrets.token_hex(16) if row is None else row.api_key
                session.merge(
                    ComputeRow(id=compute, region=region, admin_id="", api_key=key, registered_at=registered_at)
                )

    def all(self, admin: str) -> list[ComputeSpec]:
        """An administrator's computes; their keys are hidden."""
        with self._store.transaction() as session:
            rows = session.scalars(select(ComputeRow).where(ComputeRow.admin_id == admin).order_by(ComputeRow.id))
            return [ComputeSpec(compute_id=row.id, region=row.region, admin_id=row.admin_id) for row in rows]

    def deployment(self, compute: str, job: str, api_key: str) -> DeploymentConfig:
        """The agents of a job on a compute, and their keys.

        Raises:
            NotAllowed: the key is not the compute's.
        """
        with self._store.transaction() as session:
            self._known(session, compute, job, api_key)
            mine = select(TaskRow).where(TaskRow.job_id == job, TaskRow.compute_id == compute)
            keys = {row.id: row.key for row in session.scalars(mine.order_by(TaskRow.number))}
            return DeploymentConfig(job_id=job, agent_kvs=keys)

    def report(self, compute: str, job: str, api_key: str, states: Mapping[str, str]) -> None:
        """A deployer says what has become of its agents.

        Raises:
            NotAllowed: the key is not the compute's.
            ConfigError: a state that there is not.
        """
        for task, state in states.items():
            if state not in AGENT_STATES:
                raise ConfigError(task, f"is {state!r}", f"it is one of {', '.join(AGENT_STATES)}")
        with self._store.transaction() as session:
            self._known(session, compute, job, api_key)
            row = session.get(DeploymentRow, (compute, job)) or DeploymentRow(compute_id=compute, job_id=job, states={})
            row.states = {**row.states, **states}
            session.add(row)

    def _known(self, session: Session, compute: str, job: str, api_key: str) -> None:
        row = session.get(ComputeRow, compute)
        if row is None:
            raise NotFound(f"compute id {compute} not found")
        if not same(row.api_key, api_key):
            raise NotAllowed(f"X-API-KEY is not the key of compute {compute}")
        if session.get(JobRow, job) is None:
            raise NotFound(f"job id {job} not found")


def same(ours: str, theirs: str) -> bool:
    """Whether two secrets are equal; it takes as long if they are not. No secret equals nothing."""
    return bool(ours) and secrets.compare_digest(ours.encode(), theirs.encode())


def place(session: Session, realm: str, *, public: bool) -> tuple[str, str]:
    """The realm and the compute of a dataset: `default/…` is a region, anything else a compute.

    Raises:
        Refused: there is no compute for it.
    """
    if realm.startswith(f"{DEFAULT_COMPUTE}/"):
        for row in session.scalars(select(ComputeRow).order_by(ComputeRow.id)):
            if realm in (row.region, found := f"{row.region}/{row.id}"):  # a dataset that is described anew has both
                return found, row.id
        if public:
            return realm, DEFAULT_COMPUTE
    elif session.get(ComputeRow, realm) is not None:
        return realm, realm
    there = [f"{row.id} ({row.region})" for row in session.scalars(select(ComputeRow).order_by(ComputeRow.id))]
    raise Refused(f"no compute found for realm {realm!r}; there are: {', '.join(there) or 'none'}")
