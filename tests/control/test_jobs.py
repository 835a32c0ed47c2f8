"""Jobs of two tasks over a real server, each task a process of its own: statements 34, 35 and 37."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest
from server import Server

LIFE = ["ready", "starting", "deploying", "running", "completed"]


@pytest.mark.parametrize("backend", ["p2p", "mqtt"])
def test_statement_34_a_job_is_completed_and_35_deleted(server: Server, backend: str) -> None:
    """It has no `maxRunTime`, and is not terminated at once; its tasks go with it."""
    job = server.started(backend=backend)
    seen = server.ended(job)
    assert seen == [state for state in LIFE if state in seen] and seen[-2:] == ["running", "completed"]
    status = server.ask("GET", f"jobs/{job}/status")
    assert status["createdAt"] < status["startedAt"] < status["endedAt"] == status["updatedAt"]
    tasks = server.tasks(job)
    assert [tasks[role]["state"] for role in tasks] == ["completed"] * 2
    assert tasks["aggregator"]["log"].endswith("[1.0, 2.0, 3.0]\n") and tasks["trainer"]["key"] == "hidden by system"
    assert server.ask("GET", "/jobs/default/") and server.ask("GET", "jobs/?limit=1")[0]
    server.until(lambda: not server.processes(job), "nothing of it runs")
    server.ask("DELETE", f"jobs/{job}")
    for path in ("", "/status", "/tasks", f"/tasks/{tasks['trainer']['taskId']}"):
        assert server.ask("GET", f"jobs/{job}{path}", 404) == f"job id {job} not found"


def test_statement_34_a_job_fails_when_all_tasks_of_a_role_fail(server: Server) -> None:
    """The reason is in the task's log; whoever waits for the failed role is ended; mended, it is started again."""
    body = server.body(hyper={"samples": None})
    job = server.ask("POST", "jobs", 201, json=body)["id"]
    server.request(job, "starting")
    assert server.ended(job)[-1] == "failed"
    tasks = server.tasks(job)
    assert (tasks["trainer"]["state"], tasks["aggregator"]["state"]) == ("failed", "terminated")
    assert "no hyperparameter 'samples'" in tasks["trainer"]["log"] and len(tasks["trainer"]["log"]) <= 1000
    server.until(lambda: not server.processes(job), "nothing of it runs")
    body["modelSpec"]["hyperparameters"]["samples"] = 10
    server.ask("PUT", f"jobs/{job}", json=body)
    server.request(job, "starting")
    assert server.ended(job)[-1] == "completed"


def test_statement_34_and_35_a_job_that_runs_is_not_deleted_and_is_stopped(server: Server) -> None:
    """What its state does not know is refused at once, and says what it knows."""
    job = server.job(hyper={"hangIn": 2})
    said = server.request(job, "stopping", 409)
    assert said == "a job that is ready cannot stop; it can: start"
    server.request(job, "starting")
    server.until(lambda: server.sign(job, "trainer", "round-2").exists(), "the second round")
    began = time.monotonic()
    refused = f"delete job not allowed since job: {job} in state: running. Stop the job first"
    assert server.ask("DELETE", f"jobs/{job}", 409) == refused
    assert server.request(job, "starting", 409) == "a job that is running cannot start; it can: stop"
    assert "not allowed from user" in server.request(job, "applying", 409)
    body = server.body()
    assert server.ask("PUT", f"jobs/{job}", 409, json=body) == (
        "the current job state (running) is not an updatable state"
    )
    assert time.monotonic() - began < 5
    server.request(job, "stopping")
    assert server.ended(job)[-1] == "terminated"
    assert {task["state"] for task in server.tasks(job).values()} == {"terminated"}
    server.until(lambda: not server.processes(job), "nothing of it runs", 10)
    server.ask("DELETE", f"jobs/{job}")


def test_statement_34_a_job_that_runs_too_long_is_terminated(server: Server) -> None:
    job = server.started(hyper={"hangIn": 1}, maxRunTime=4)
    assert server.ended(job)[-1] == "terminated"
    status = server.ask("GET", f"jobs/{job}/status")
    assert "running" not in {task["state"] for task in server.tasks(job).values()}
    server.until(lambda: not server.processes(job), "nothing of it runs", 10)
    assert status["startedAt"] < status["endedAt"]


def test_statement_37_only_who_shows_its_key_is_the_task(server: Server) -> None:
    """Whether for what it is to do, or with what it has done; the key of an earlier start is worth nothing."""
    job = server.job()
    task = server.tasks(job)["trainer"]["taskId"]
    path, done = f"/jobs/{job}/{task}/task", {"json": {"state": "completed"}}
    assert server.ask("GET", path, 400) == "query.key: field required"
    server.ask("GET", path, 403, params={"key": "wrong"})
    server.ask("PUT", f"{path}/status", 401, **done)
    server.ask("PUT", f"{path}/status", 403, params={"key": "wrong"}, **done)
    server.ask("GET", f"{path}/event", 403, params={"key": "wrong"})
    server.ask("PUT", f"/jobs/{job}/nobody/task/status", 404, params={"key": "wrong"}, **done)
    config = f"/computes/default/deployments/{job}/config"
    server.ask("GET", config, 403)
    server.ask("GET", config, 403, headers={"X-API-KEY": "wrong"})
    assert [task["state"] for task in server.tasks(job).values()] == ["ready", "ready"]
    assert server.ask("GET", f"jobs/{job}/tasks/{task}")["state"] == "ready"


def test_the_program_of_an_agent_that_is_killed_ends_and_its_task_has_failed(server: Server) -> None:
    job = server.started(hyper={"hangIn": 1})
    server.until(lambda: server.sign(job, "trainer", "round-1").exists(), "the first round")
    folder = str(server.folder_of(job, "trainer"))
    agents = [pid for pid in server.processes(job) if f"--work\0{folder}\0".encode() in cmdline(pid)]
    assert len(agents) == 1
    os.kill(agents[0], signal.SIGKILL)
    assert server.ended(job, 10)[-1] == "failed"
    assert server.tasks(job)["trainer"]["log"] == "its agent has ended without a word"
    server.until(lambda: not server.processes(job), "nothing of it runs", 10)


def cmdline(pid: int) -> bytes:
    return Path(f"/proc/{pid}/cmdline").read_bytes()
