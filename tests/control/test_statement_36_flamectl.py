"""Statement 36: the outputs of `flamectl` for the whole walk through an example, and for whatever goes wrong."""

from __future__ import annotations

import http.server
import io
import itertools
import json
import os
import re
import shutil
import ssl
import subprocess
import sys
import threading
import time
import tomllib
import zipfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from server import SCHEMA, Server
from upstream import PROGRAMS

from flame.backend.certificates import issue_service, make_authority
from flame.cli.flamectl import COMMANDS, main

ROOT = Path(__file__).resolve().parents[2]
DATASET = {
    "//": "a worker is handed the url",
    "name": "site 1",
    "description": "digits",
    "url": "mnist_1.npz",
    "dataFormat": "npz",
    "realm": "default/us",
    "isPublic": True,
}
MODEL = {
    "baseModel": {"name": "", "version": 1},
    "hyperparameters": {"batchSize": 32, "rounds": 3, "samples": 10, "minPeers": 2},
    "selector": {"sort": "random", "kwargs": {"k": 1}},
    "dependencies": ["numpy >= 1.2.0"],
}
JOB = {
    "name": "digits",
    "designId": "mnist",
    "priority": "high",
    "backend": "mqtt",
    "maxRunTime": 1800,
    "dataSpecPath": "specs/dataSpec.json",
    "modelSpecPath": "specs/modelSpec.json",
    "schemaVersion": "1",
}
USERS = itertools.count(10)
WORDS = {
    "create design": "create a new design",
    "create schema": "create schema",
    "create code": "create code",
    "create dataset": "create a new dataset",
    "create job": "create a new job",
    "get design": "get design",
    "get designs": "get designs",
    "get schema": "get schema",
    "get code": "get code",
    "get coderevision": "get code revision",
    "get dataset": "get dataset",
    "get datasets": "get datasets",
    "get job": "get job",
    "get jobs": "get jobs",
    "get task": "get task",
    "get tasks": "get tasks",
    "update design": "update design",
    "update schema": "update schema",
    "update dataset": "update dataset",
    "update job": "update job",
    "remove design": "delete design",
    "remove schema": "delete schema",
    "remove code": "delete code",
    "remove dataset": "delete dataset",
    "remove job": "delete job",
    "start job": "start job",
    "stop job": "stop job",
}
"""What follows `Failed to`, of each command."""


class Said(NamedTuple):
    status: int
    out: str
    err: str


class Desk:
    """A user at a terminal, in a folder with the files of an example below it."""

    def __init__(self, folder: Path, user: str, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder, self.user, self._capsys = folder, user, capsys

    def says(self, *argv: str) -> Said:
        self._capsys.readouterr()
        try:
            status = main(argv)
        except SystemExit as ended:
            status = int(ended.code or 0)
        return Said(status, *self._capsys.readouterr())

    def out(self, *argv: str) -> str:
        """What a command prints that does what it is told."""
        status, out, err = self.says(*argv)
        assert (status, err) == (0, "")
        return out

    def json(self, *argv: str) -> Any:
        return json.loads(self.out(*argv))

    def write(self, name: str, content: object) -> str:
        file = self.folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content if isinstance(content, str) else json.dumps(content))
        return name

    def settings(self, endpoint: str, name: str = "other.yaml") -> str:
        return self.write(name, f"apiserver:\n  endpoint: {endpoint}\nuser: {self.user}\n")

    def ended(self, job: str, state: str) -> None:
        """Wait until a job is in a state."""
        deadline = time.monotonic() + 60
        while f"| {state} " not in self.out("get", "job", job, "--status"):
            assert time.monotonic() < deadline, self.out("get", "tasks", job)
            time.sleep(0.1)


@pytest.fixture
def desk(
    server: Server,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Desk:
    """Every test is a user of its own."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    desk = Desk(tmp_path, f"user-{next(USERS)}", capsys)
    desk.settings(str(server.http.base_url), ".flame/config.yaml")
    for role in ("trainer", "aggregator"):
        target = tmp_path / "mnist" / role / "main.py"
        target.parent.mkdir(parents=True)
        shutil.copy(PROGRAMS / f"{role}.py", target)
    for name, content in (("schema", SCHEMA), ("dataset", DATASET), ("job", JOB), ("specs/modelSpec", MODEL)):
        desk.write(f"mnist/{name}.json", content)
    return desk


def a_job(desk: Desk, **hyperparameters: object) -> str:
    """A job that is ready; its id."""
    desk.out("create", "design", "mnist")
    desk.out("create", "schema", "mnist", "mnist/schema.json")
    desk.out("create", "code", "mnist", "mnist")
    desk.out("create", "dataset", "mnist/dataset.json")
    desk.write("mnist/specs/dataSpec.json", [{"role": "trainer", "datasetGroups": {"default": [DATASET["name"]]}}])
    model = {**MODEL, "hyperparameters": {"rounds": 3, "samples": 10, **hyperparameters}}
    desk.write("mnist/specs/modelSpec.json", model)
    return the_id(desk.out("create", "job", "mnist/job.json"))


def the_id(text: str) -> str:
    """The id of a job or a dataset in what was printed."""
    return re.findall(r"\b[0-9a-f]{24}\b", text)[0]


def masked(text: str) -> str:
    """The text with the same letters for every id and for every time."""
    text = re.sub(r"\b[0-9a-f]{40}\b", "T" * 40, text)
    text = re.sub(r"\b[0-9a-f]{24}\b", "J" * 24, text)
    return re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d \+0000 UTC", "YYYY-MM-DD hh:mm:ss +0000 UTC", text)


def test_statement_36_the_walk_through(desk: Desk) -> None:
    assert desk.out("create", "design", "mnist", "-d", "handwritten digits") == (
        "New design 'mnist' created successfully\n"
    )
    assert desk.out("get", "designs") == (
        "+-----------+------+--------------------+\n"
        "| Deisgn ID | Name | Description        |\n"
        "+-----------+------+--------------------+\n"
        "| mnist     |      | handwritten digits |\n"
        "+-----------+------+--------------------+\n"
    )
    created = "created successfully for design 'mnist'\n"
    assert desk.out("create", "schema", "mnist/schema.json", "--design", "mnist") == f"Schema {created}"
    assert desk.out("create", "code", "mnist", "--design=mnist") == f"Code {created}"
    out = desk.out("create", "dataset", "mnist/dataset.json")
    assert masked(out) == f'New dataset created successfully\n\tdataset ID: "{"J" * 24}"\n'
    dataset = the_id(out)
    for own_or_public in ((), ("--all",)):
        table = desk.out("get", "datasets", *own_or_public)
        assert masked(table) == (
            "+--------------------------+--------+-------------+---------+--------+\n"
            "| Dataset ID               | Name   | Description | Owner   | Public |\n"
            "+--------------------------+--------+-------------+---------+--------+\n"
            f"| {'J' * 24} | site 1 | digits      | {desk.user} | true   |\n"
            "+--------------------------+--------+-------------+---------+--------+\n"
        )
    desk.write("mnist/specs/dataSpec.json", [{"role": "trainer", "datasetGroups": {"default": [dataset, dataset]}}])
    out = desk.out("create", "job", "mnist/job.json")
    assert masked(out) == f"New job created successfully\n\tID: {'J' * 24}\n\tstate: ready\n"
    job = the_id(out)
    assert desk.says("remove", "design", "mnist") == (
        1,
        "",
        "Failed to delete design - code: 409; design used in job: design id: mnist | jobs count 1; "
        "use --force to delete it all the same\n",
    )

    assert desk.out("start", "job", job) == "Initiated to start a job successfully\n"
    desk.ended(job, "completed")
    frame = f"+{'-' * 26}+{'-' * 42}+-----------+-------------------------------+\n"
    rows = f"| {'J' * 24} | {'T' * 40} | completed | YYYY-MM-DD hh:mm:ss +0000 UTC |\n" * 3
    head = f"| Job ID{' ' * 19}| Task ID{' ' * 34}| State     | Timestamp                     |\n"
    tasks = desk.out("get", "tasks", job)
    assert masked(tasks) == frame + head + frame + rows + frame
    few = desk.says("get", "tasks", job, "--limit", "2")
    assert masked(few.out) == frame + head + frame + rows[: 2 * len(frame)] + frame
    assert few.err == "note: only the first 2; there are more: --limit 0 shows all\n"
    assert desk.out("get", "tasks", job, "-l0") == desk.out("get", "tasks", job, "-l3") == tasks
    task = desk.json("get", "task", job, re.findall(r"[0-9a-f]{40}", tasks)[0])
    assert (task["jobId"], task["state"], task["key"]) == (job, "completed", "hidden by system")
    moment = "YYYY-MM-DD hh:mm:ss +0000 UTC"
    frame = f"+{'-' * 26}+--------+-----------+{'-' * 31}+{'-' * 31}+{'-' * 31}+\n"
    head = f"| Job ID{' ' * 19}| Name   | State     | created At{' ' * 20}| started At{' ' * 20}| ended At{' ' * 22}|\n"
    rows = f"| {'J' * 24} | digits | completed | {moment} | {moment} | {moment} |\n"
    assert masked(desk.out("get", "jobs")) == frame + head + frame + rows + frame
    assert masked(desk.out("get", "job", job, "-s")) == (frame + head + frame + rows + frame).replace(
        "+--------+--", "+--"
    ).replace("| Name   ", "").replace("| digits ", "")

    assert desk.out("remove", "job", job) == "Request to delete a job successful\n"
    assert desk.out("remove", "dataset", dataset) == f"Dataset '{dataset}' deleted successfully\n"
    assert desk.out("remove", "code", "mnist") == "Deleted code for design 'mnist' successfully\n"
    assert desk.out("remove", "schema", "mnist") == "Deleted schema successfully\n"
    assert desk.out("remove", "design", "mnist") == "Design 'mnist' deleted successfully\n"
    assert [len(desk.out("get", what).splitlines()) for what in ("designs", "datasets", "jobs")] == [3, 3, 3]


def test_what_is_there_can_be_looked_at_and_changed(desk: Desk) -> None:
    job = a_job(desk)
    design = desk.json("get", "design", "mnist")
    assert design["schema"]["revision"] == desk.json("get", "schema", "--design", "mnist")["revision"] == 1
    desk.write("mnist/schema.json", {**SCHEMA, "description": "the same again"})
    assert desk.out("update", "schema", "mnist", "mnist/schema.json") == (
        "Updated schema successfully for design mnist\n"
    )
    assert desk.json("get", "schema", "mnist") == {**design["schema"], "description": "the same again", "revision": 2}
    assert desk.json("get", "coderevision", "mnist") == {"revision": 1}

    assert desk.out("update", "design", "mnist", "-n", "Digits") == "Updated design successfully\n"
    assert desk.out("update", "design", "--desc", "in \x1b[31mred", "mnist") == "Updated design successfully\n"
    assert desk.out("get", "designs").splitlines()[3] == r"| mnist     | Digits | in \x1b[31mred |"
    assert desk.says("update", "design", "mnist") == (
        1,
        "",
        "flamectl: update design: changes nothing (give --name, --desc or both)\n",
    )

    dataset = the_id(desk.out("get", "datasets"))
    desk.write("mnist/dataset.json", {**DATASET, "description": "more digits", "url": "file://pixels.npz"})
    assert desk.out("update", "dataset", dataset, "mnist/dataset.json") == "Updated dataset successfully\n"
    found = desk.json("get", "dataset", dataset)
    assert (found["id"], found["description"], found["computeId"]) == (dataset, "more digits", "default")
    assert found["url"] == f"file://{desk.folder}/mnist/pixels.npz"

    head, _, body = desk.out("get", "job", job).partition("\n")
    assert head == "Request to get job successful"
    asked = json.loads(body)
    assert (asked["maxRunTime"], asked["modelSpec"]["hyperparameters"]["rounds"]) == (1800, 3)
    assert asked["dataSpec"] == [{"role": "trainer", "datasetGroups": {"default": [dataset]}}]
    desk.write("mnist/specs/modelSpec.json", {"hyperParameters": {"rounds": 4, "samples": 10}})
    assert desk.out("update", "job", job, "mnist/job.json") == "Job updated successfully\n"
    asked = json.loads(desk.out("get", "job", job).partition("\n")[2])
    assert (asked["id"], asked["modelSpec"]["hyperparameters"]["rounds"], asked["schemaRevision"]) == (job, 4, 2)
    desk.write("mnist/dataset.json", DATASET)
    desk.out("create", "dataset", "mnist/dataset.json")
    assert desk.says("create", "job", "mnist/job.json").err == (
        "flamectl: dataset 'site 1': is the name of several of yours (list it by its id)\n"
    )
    assert desk.out("remove", "design", "mnist", "--force") == "Design 'mnist' deleted successfully\n"


def test_a_job_is_stopped(desk: Desk) -> None:
    job = a_job(desk, hangIn=1)
    assert desk.says("stop", "job", job).err.startswith("Failed to stop job - code: 409; ")
    desk.out("start", "job", job)
    desk.ended(job, "running")
    assert desk.says("start", "job", job).err.startswith("Failed to start job - code: 409; ")
    assert desk.says("remove", "job", job) == (
        1,
        "",
        f"Failed to delete job - code: 409; delete job not allowed since job: {job} in state: running. "
        "Stop the job first\n",
    )
    refused = desk.says("update", "job", job, "mnist/job.json")
    assert refused.err == (
        "Failed to update job - code: 409; the current job state (running) is not an updatable state\n"
    )
    assert desk.out("stop", "job", job) == "Request to stop a job successful\n"
    desk.ended(job, "terminated")


def test_code_comes_back_as_it_went(desk: Desk) -> None:
    desk.out("create", "design", "mnist")
    for clutter in ("trainer/.notes", "trainer/__pycache__/main.pyc", "data/pixels", "README.md"):
        desk.write(f"mnist/{clutter}", "not for the server")
    desk.write("mnist/trainer/net/__init__.py", "")
    archives = []
    for _ in range(2):
        desk.out("create", "code", "mnist", "mnist")
        assert desk.out("get", "code", "mnist") == "Downloaded mnist.zip successfully\n"
        archives.append((desk.folder / "mnist.zip").read_bytes())
        os.utime(desk.folder / "mnist" / "trainer" / "main.py", (0, 0))
    assert archives[0] == archives[1]
    names = zipfile.ZipFile(io.BytesIO(archives[0])).namelist()
    assert names == ["aggregator/main.py", "trainer/main.py", "trainer/net/__init__.py"]
    other = desk.folder / "other.zip"
    with zipfile.ZipFile(other, "w") as archive:
        archive.writestr("trainer/main.py", "print('by hand')")
    desk.out("create", "code", "mnist", "other.zip")
    desk.out("get", "code", "--design", "mnist")
    assert (desk.folder / "mnist.zip").read_bytes() == other.read_bytes()
    assert desk.json("get", "coderevision", "mnist") == {"revision": 3}


def lines(desk: Desk, words: str) -> tuple[str, ...]:
    """A command line with files that are there and ids that nobody has."""
    command = next(one for one in COMMANDS if f"{one.verb} {one.noun}" == words)
    file = f"mnist/{words.split()[1]}.json"
    given = {"FILE": file, "ZIP_OR_FOLDER": "mnist", "DESIGN": "nobodys", "JOB": "0" * 24, "TASK": "1" * 40}
    options = ("--name", "New") if words == "update design" else ()
    return (*words.split(), *(given.get(what, "2" * 24) for what in command.takes), *options)


def test_every_command_tells_that_there_is_no_server(desk: Desk) -> None:
    assert {f"{one.verb} {one.noun}" for one in COMMANDS} == set(WORDS)
    closed = desk.settings("http://127.0.0.1:9")
    desk.write("mnist/specs/dataSpec.json", [])
    for words, told in WORDS.items():
        assert desk.says("--config", closed, *lines(desk, words)) == (
            1,
            "",
            f"Failed to {told} - code: -1; cannot connect to http://127.0.0.1:9: Connection refused\n",
        )


def test_every_command_tells_that_the_server_refuses(desk: Desk) -> None:
    desk.write("mnist/specs/dataSpec.json", [{"role": "trainer", "datasetGroups": {"default": ["0" * 24]}}])
    never = {"create design", "create dataset", "get designs", "get datasets", "get jobs"}
    for words in WORDS.keys() - never:
        status, out, err = desk.says(*lines(desk, words))
        assert (status, out) == (1, "")
        what = "mnist" if words in ("create job", "update job") and "job id" not in err else ""
        missing = rf"(design|dataset|job) id {what or '[0-9a-z]+'} not found"
        assert re.fullmatch(rf"Failed to {WORDS[words]} - code: 404; {missing}\n", err), err
    assert not (desk.folder / "nobodys.zip").exists()

    desk.out("create", "design", "mnist")
    assert desk.says("create", "design", "mnist").err.startswith(
        "Failed to create a new design - code: 409; duplicate key error"
    )
    desk.out("create", "dataset", "mnist/dataset.json")
    assert desk.says("create", "dataset", "mnist/dataset.json").err.startswith(
        "Failed to create a new dataset - code: 409; duplicate key error"
    )
    desk.write("mnist/dataset.json", {key: item for key, item in DATASET.items() if key != "realm"})
    assert desk.says("create", "dataset", "mnist/dataset.json") == (
        1,
        "",
        "Failed to create a new dataset - code: 422; required field 'realm' is zero value.\n",
    )
    desk.write("mnist/schema.json", {**SCHEMA, "roles": SCHEMA["roles"][:1]})
    for verb in ("create", "update"):
        refused = desk.says(verb, "schema", "mnist", "mnist/schema.json")
        assert refused.err.startswith(f"Failed to {verb} schema - code: 422; ")
        assert "channels[0].pair" in refused.err
    assert desk.says("get", "schema", "mnist").status == 1
    for listing in ("designs", "datasets", "jobs"):
        refused = desk.says("get", listing, "--limit", "-1")
        assert refused.err.startswith(f"Failed to get {listing} - code: 400; ")


@pytest.mark.parametrize(
    ("content", "argv", "told"),
    [
        ("{", ("create", "schema", "mnist", "given"), "given:1:2: is not JSON: "),
        ("[]", ("create", "schema", "mnist", "given"), "given: is not an object"),
        ("[]", ("create", "dataset", "given"), "given: is not a JSON object"),
        ("{", ("create", "job", "given"), "given:1:2: is not JSON: "),
        ('{"dataSpecPath": "no.json"}', ("create", "job", "given"), "given: dataSpecPath: there is no file 'no.json'"),
        ('{"modelSpecPath": 7}', ("create", "job", "given"), "given: modelSpecPath: is 7, not a file's name"),
        ("", ("create", "code", "mnist", "missing.zip"), "missing.zip: cannot be read: No such file or directory"),
        ("", ("create", "code", "mnist", "mnist/specs"), "mnist/specs: has no folder with a main.py"),
        ("", ("create", "dataset", "missing.json"), "missing.json: cannot be read: No such file or directory"),
        ("", ("get", "design", ".."), "DESIGN: '..' is no id"),
        ("", ("get", "job", "a/b"), "JOB: 'a/b' is no id"),
        ("", ("get", "designs", "--config", "missing.yaml"), "missing.yaml: cannot be read: No such file or directory"),
        ("{", ("get", "designs", "--config", "given"), "given: is not YAML: "),
        ("", ("get", "designs", "--config", "given"), "given: has no settings"),
        ("user: foo", ("get", "designs", "--config", "given"), "given: apiserver: is missing"),
        (
            "apiserver: {endpoint: 'localhost'}\nuser: foo",
            ("get", "jobs", "--config", "given"),
            "'localhost' is no URL",
        ),
        ("apiserver: {endpoint: 'http://h:x'}\nuser: foo", ("get", "jobs", "--config", "given"), "'http://h:x' is no"),
        ("apiserver: {endpoint: 'http://h'}\nuser: ''", ("get", "jobs", "--config", "given"), "user: '' is no user's"),
    ],
)
def test_what_is_wrong_with_a_file_is_told_in_one_line(
    desk: Desk, content: str, argv: tuple[str, ...], told: str
) -> None:
    desk.write("given", content)
    status, out, err = desk.says(*argv)
    assert (status, out, err.count("\n")) == (1, "", 1 + err.count("problem"))
    assert err.startswith("flamectl: ")
    assert told in err


@pytest.mark.parametrize(
    ("argv", "told"),
    [
        ((), "the following arguments are required: COMMAND"),
        (("get",), "the following arguments are required: {design,designs,schema,code,"),
        (("get", "desing", "x"), "invalid choice: 'desing'"),
        (("get", "design"), "takes DESIGN, and got none"),
        (("get", "designs", "x"), "takes no arguments, and got x"),
        (("create", "schema", "s.json"), "takes DESIGN FILE, and got s.json"),
        (("create", "schema", "mnist", "s.json", "--design", "mnist"), "takes DESIGN FILE, and got mnist mnist s.json"),
        (("get", "design", "x", "--limit", "3"), "unrecognized arguments: --limit"),
        (("get", "jobs", "--limit", "many"), "invalid int value: 'many'"),
    ],
)
def test_a_wrong_command_line_ends_with_1(desk: Desk, argv: tuple[str, ...], told: str) -> None:
    status, out, err = desk.says(*argv)
    assert (status, out) == (1, "")
    assert err.startswith("usage: flamectl")
    assert told in err


@pytest.mark.parametrize("value", ["\\ud800", float("nan")])
def test_what_no_request_can_hold_is_not_sent(desk: Desk, value: object) -> None:
    desk.write("mnist/dataset.json", json.dumps({**DATASET, "url": value}).replace("\\\\", "\\"))
    status, out, err = desk.says("create", "dataset", "mnist/dataset.json")
    assert (status, out, err.count("\n")) == (1, "", 1)
    assert err.startswith("Failed to create a new dataset - code: -1; cannot be sent: ")


def test_keys_that_nobody_reads_are_left_out_with_a_note(desk: Desk) -> None:
    desk.write("mnist/dataset.json", {**DATASET, "id": "mine", "colour": "red"})
    status, _, err = desk.says("create", "dataset", "mnist/dataset.json")
    assert (status, err) == (0, "note: mnist/dataset.json: colour: is no setting and was left out\n")
    desk.out("create", "design", "mnist")
    desk.write("mnist/star.yaml", "template: two-tier\n")
    desk.out("create", "schema", "mnist", "--insecure", "mnist/star.yaml")
    assert [role["name"] for role in desk.json("get", "schema", "mnist")["roles"]]


@pytest.fixture(params=["http", "https"])
def website(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Something else that speaks HTTP; over TLS with a certificate that nobody knows."""

    class Page(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if "designs" in self.path else 502)
            self.end_headers()
            self.wfile.write(b"<html>welcome</html>")

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page) as server:
        if request.param == "https":
            make_authority(tmp_path / "ca", "nobody")
            own = issue_service(tmp_path / "ca", "website", ["127.0.0.1"])
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(own.cert, own.key)
            server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
            server.handle_error = lambda *_: None  # type: ignore[method-assign]
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"{request.param}://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_whoever_is_no_api_server_is_found_out(desk: Desk, website: str) -> None:
    there = ("--config", desk.settings(website))
    if website.startswith("https"):
        status, out, err = desk.says("get", "designs", *there)
        assert (status, out, err.count("\n")) == (1, "", 1)
        assert err.startswith(f"Failed to get designs - code: -1; cannot connect to {website}: ")
        assert "certificate verify failed" in err
        there = (*there, "--insecure")
    status, out, err = desk.says(*there, "get", "designs")
    assert (status, out, err.count("\n")) == (1, "", 1)
    assert err.startswith("Failed to get designs - code: 200; the answer is none of an API server's: ")
    assert desk.says("get", "jobs", *there) == (1, "", "Failed to get jobs - code: 502; <html>welcome</html>\n")


def test_the_command_is_installed(desk: Desk) -> None:
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    module, _, function = scripts["flamectl"].partition(":")
    entry = f"import sys; from {module} import {function}; sys.exit({function}())"
    run = partial(subprocess.run, capture_output=True, text=True, check=False)
    done = run([sys.executable, "-c", entry, "create", "schema", "--help"])
    assert done.stdout.splitlines()[0] == "usage: flamectl create schema [OPTIONS] DESIGN FILE"
    done = run([sys.executable, "-c", entry, "get", "designs", "--config", "missing.yaml"])
    assert done.returncode == 1 and done.stderr.startswith("flamectl: missing.yaml: cannot be read: ")
    assert "Traceback" not in done.stderr
