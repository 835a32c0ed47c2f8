"""Jobs, and their tasks as people see them."""

from __future__ import annotations

from fastapi import APIRouter, Response

from flame.api.bodies import read, reply
from flame.api.requests import Content, Limit, first
from flame.control.plane import Control
from flame.control.records import Job, JobStatus


def routes(control: Control) -> APIRouter:
    """`/users/{user}/jobs…` and `/jobs/{compute}`."""
    router, jobs, tasks = APIRouter(), control.jobs, control.tasks

    @router.post("/users/{user}/jobs")
    def create(user: str, body: Content) -> Response:
        return reply(jobs.create(user, read(body, Job)), 201)

    @router.get("/users/{user}/jobs")
    def get_all(user: str, limit: Limit = 0) -> Response:
        return first(jobs.all(user), limit)

    @router.get("/users/{user}/jobs/{job}")
    def get(user: str, job: str) -> Response:
        return reply(jobs.get(user, job))

    @router.put("/users/{user}/jobs/{job}")
    def update(user: str, job: str, body: Content) -> Response:
        jobs.update(user, job, read(body, Job))
        return reply(None)

    @router.delete("/users/{user}/jobs/{job}")
    def delete(user: str, job: str) -> Response:
        jobs.delete(user, job)
        return reply(None)

    @router.get("/users/{user}/jobs/{job}/status")
    def get_status(user: str, job: str) -> Response:
        return reply(jobs.status(user, job))

    @router.put("/users/{user}/jobs/{job}/status")
    def put_status(user: str, job: str, body: Content) -> Response:
        jobs.request(user, job, read(body, JobStatus).state)
        return reply(None)

    @router.get("/users/{user}/jobs/{job}/tasks")
    def get_tasks(user: str, job: str, limit: Limit = 0, generic: bool = False) -> Response:
        return first(tasks.all(user, job, compute=generic), limit)

    @router.get("/users/{user}/jobs/{job}/tasks/{task}")
    def get_task(user: str, job: str, task: str) -> Response:
        return reply(tasks.get(user, job, task))

    @router.get("/jobs/{compute}")
    def on_compute(compute: str) -> Response:
        return reply(jobs.on(compute))

    return router
