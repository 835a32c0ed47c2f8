"""What agents ask for and report; each shows its task's key."""

from __future__ import annotations

import secrets

import msgspec
from fastapi import APIRouter, Response

from flame.api.bodies import read, reply
from flame.api.requests import Content
from flame.control.plane import Control
from flame.control.records import TaskEvent, TaskStatus


def routes(control: Control) -> APIRouter:
    """`/jobs/{job}/{task}/task…`."""
    router, tasks = APIRouter(prefix="/jobs/{job}/{task}/task"), control.tasks

    @router.get("")
    def work(job: str, task: str, key: str = "") -> Response:
        if not key:
            return reply("query.key: field required", 400)
        config, archive = tasks.work(job, task, key)
        return _parts({"config": msgspec.json.encode(config), "code.zip": archive})

    @router.put("/status")
    def report(job: str, task: str, body: Content, key: str = "") -> Response:
        if not key:
            return reply("query.key: the task's key is needed", 401)
        tasks.report(job, task, key, read(body, TaskStatus))
        return reply(None)

    @router.get("/event")
    def event(job: str, task: str, key: str = "") -> Response:
        if not key:
            return reply("query.key: the task's key is needed", 401)
        return reply(TaskEvent(event="stop" if tasks.should_stop(job, task, key) else "go-on"))

    return router


def _parts(parts: dict[str, bytes]) -> Response:
    """A multipart reply."""
    boundary = secrets.token_hex(16)
    content = bytearray()
    for name, part in parts.items():
        head = f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"; filename="{name}"\r\n'
        content += f"{head}Content-Type: application/octet-stream\r\n\r\n".encode() + part + b"\r\n"
    content += f"--{boundary}--\r\n".encode()
    return Response(bytes(content), media_type=f"multipart/form-data; boundary={boundary}")
