"""The watch: does what a request cannot wait for, and notices what nobody reports.

It remembers nothing that is not in the store. Each time it looks at every job that is under way: one that starts is
deployed, one that stops or has run too long is ended, a task whose agent is gone has failed.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Collection, Mapping
from typing import Protocol

from flame.control.lifecycle import UNDER_WAY, Trigger
from flame.control.plane import Control
from flame.control.records import JobState, JobStatus
from flame.control.times import seconds
from flame.errors import FlameError

LOOK_S = 0.5
"""How often it looks if nothing calls for it."""

STOPPING_S = 10.0
"""How long a job that is being stopped waits for agents that are not ours to end."""

log = logging.getLogger(__name__)


class Deployer(Protocol):
    """Starts and ends the agents of tasks somewhere."""

    def deploy(self, job_id: str, keys: Mapping[str, str]) -> None:
        """Start an agent for each task, which shows that key; FlameError if it cannot be done."""

    def revoke(self, job_id: str) -> None:
        """End a job's agents and what they have started; the ones that are not there are none of its business."""

    def jobs(self) -> Collection[str]:
        """The jobs that agents were started for and that have not been revoked."""

    def gone(self) -> Collection[tuple[str, str]]:
        """The agents, by job and task, that have ended since it was last asked."""


class Watch:
    """Keeps jobs going, in a thread of its own.

    Args:
        control: the control plane.
        deployer: of all computes that are ours.
        silence_s: how long an agent may be silent before its task has failed.
    """

    def __init__(self, control: Control, deployer: Deployer, silence_s: float) -> None:
        self._control, self._deployer, self._silence_s = control, deployer, silence_s
        self._stopped = False
        self._thread = threading.Thread(target=self._run, name="flame-watch", daemon=True)

    def start(self) -> None:
        """Begin; agents of jobs that are under way have as long as new ones to be heard."""
        for job in self._control.jobs.under_way():
            self._control.tasks.expect(job.id)
        self._thread.start()

    def stop(self) -> None:
        """Look no more; what runs goes on running."""
        self._stopped = True
        self._control.changed.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopped:
            try:
                self.look()
            except Exception:  # the store may be away for a while, as a database may
                log.exception("the watch stumbled")
            self._control.changed.wait(LOOK_S)
            self._control.changed.clear()

    def look(self) -> None:
        """Look once at everything."""
        for job_id, task_id in self._deployer.gone():
            self._control.tasks.lost(job_id, task_id, "its agent has ended without a word")
        there = {job.id: job for job in self._control.jobs.under_way()}
        for job_id in set(self._deployer.jobs()) - there.keys():
            self._deployer.revoke(job_id)
        self._control.tasks.forget_all_but(there)
        for job in there.values():
            try:
                self._keep(job)
            except Exception:  # whatever is wrong with one job must not end the watch over those behind it
                log.exception("the watch stumbled over job %s", job.id)

    def _keep(self, job: JobStatus) -> None:
        jobs, tasks = self._control.jobs, self._control.tasks
        if job.state == JobState.STARTING:
            self._deploy(job.id)
        elif job.state == JobState.STOPPING:
            self._deployer.revoke(job.id)
            if not tasks.busy(job.id) or seconds(job.updated_at, self._control.clock()) > STOPPING_S:
                jobs.trigger(job.id, Trigger.STOPPED, [JobState.STOPPING])
            return
        limit = jobs.limit(job.id)
        if limit and seconds(job.started_at, self._control.clock()) > limit:
            jobs.trigger(job.id, Trigger.TIME_UP, UNDER_WAY - {JobState.STOPPING})
            return
        for task_id in tasks.silent(job.id, self._silence_s):
            tasks.lost(job.id, task_id, f"nothing was heard of its agent for {self._silence_s:g} s")

    def _deploy(self, job_id: str) -> None:
        self._deployer.revoke(job_id)
        keys = self._control.jobs.deploying(job_id)
        self._control.tasks.expect(job_id)
        try:
            for of_compute in keys.values():
                self._deployer.deploy(job_id, of_compute)
        except FlameError as error:
            log.error("job %s cannot be deployed: %s", job_id, error)
            self._control.jobs.trigger(job_id, Trigger.UNDEPLOYED, [JobState.STARTING])
            return
        self._control.jobs.trigger(job_id, Trigger.DEPLOYED, [JobState.STARTING])
