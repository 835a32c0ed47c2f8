"""The few requests that an agent makes."""

from __future__ import annotations

import json
from typing import Any

import httpx
import msgspec
from python_multipart.multipart import MultipartParser, parse_options_header

from flame.control.records import TaskEvent, TaskState, TaskStatus
from flame.errors import ConfigError, NotAllowed

TIMEOUT_S = 10.0

UNREACHABLE = (httpx.TransportError,)
"""Raised when the server cannot be reached; it may be again."""


class Client:
    """The API, as one task's agent uses it.

    Args:
        api: the server's URL.
        job_id: the task's job.
        task_id: the task.
        key: shows that this is the task's agent.
    """

    def __init__(self, api: str, job_id: str, task_id: str, key: str) -> None:
        path = f"{api.rstrip('/')}/jobs/{job_id}/{task_id}/task"
        # The environment's proxies are for the world outside, not for the server that started us.
        self._http = httpx.Client(timeout=TIMEOUT_S, trust_env=False)
        self._path, self._key = path, key

    def work(self) -> tuple[dict[str, Any], bytes]:
        """The task's config and an archive of its code.

        Raises:
            NotAllowed: the key is of another start of the job.
            ConfigError: the reply cannot be read.
        """
        reply = self._ask("GET", "")
        parts = _parts(reply)
        try:
            return json.loads(parts["config"]), parts["code.zip"]
        except (KeyError, ValueError) as error:
            raise ConfigError(self._path, f"is no task: {error!r}") from None

    def report(self, state: TaskState, log: str = "") -> None:
        """Say what the task is doing."""
        self._ask("PUT", "/status", msgspec.json.encode(TaskStatus(state=state, log=log)))

    def should_stop(self) -> bool:
        """Show that this agent is alive; whether it should stop."""
        return msgspec.json.decode(self._ask("GET", "/event").content, type=TaskEvent).event == "stop"

    def _ask(self, method: str, path: str, content: bytes | None = None) -> httpx.Response:
        reply = self._http.request(method, self._path + path, params={"key": self._key}, content=content)
        if reply.status_code in (401, 403, 404):
            raise NotAllowed(reply.text)
        if reply.status_code >= 500:
            raise httpx.RemoteProtocolError(f"{reply.status_code} {reply.text}")
        if reply.is_error:
            raise ConfigError(path or "task", reply.text)
        return reply


def _parts(reply: httpx.Response) -> dict[str, bytes]:
    """The parts of a multipart reply, by name."""
    _, options = parse_options_header(reply.headers.get("content-type"))
    found: dict[str, bytearray] = {}
    name, value = bytearray(), bytearray()
    at = [""]

    def header_end() -> None:
        if name.lower() == b"content-disposition":
            at[0] = parse_options_header(bytes(value))[1].get(b"name", b"").decode()
            found[at[0]] = bytearray()
        name.clear()
        value.clear()

    parser = MultipartParser(
        options.get(b"boundary", b""),
        {
            "on_header_field": lambda data, start, end: name.extend(data[start:end]),
            "on_header_value": lambda data, start, end: value.extend(data[start:end]),
            "on_header_end": header_end,
            "on_part_data": lambda data, start, end: found.setdefault(at[0], bytearray()).extend(data[start:end]),
        },
    )
    parser.write(reply.content)
    parser.finalize()
    return {part: bytes(content) for part, content in found.items()}
