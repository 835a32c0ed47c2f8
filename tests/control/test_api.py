"""What the API says, whether it does what it is asked or not: upstream's bodies and texts, a place for each fault."""

from __future__ import annotations

import copy
import io
import itertools
import json
import zipfile
from typing import Any

import pytest
from fastapi.testclient import TestClient
from server import CODE, SCHEMA, Server, archive, upload

from flame.api.app import make_app
from flame.api.guard import LOOPBACK, MAX_BYTES
from flame.control.plane import Control
from flame.control.store import Store


def test_a_design_from_its_making_to_its_end(server: Server) -> None:
    """In both forms of a path; revisions go on counting; names may be blanked, owners not changed."""
    design = server.design()
    path = f"designs/{design}"
    assert server.ask("POST", "designs/", 409, json={"id": design}) == f"duplicate key error: design id {design} exists"
    server.ask("PUT", f"{path}/schema", json=SCHEMA)
    got = server.ask("GET", f"{path}/")
    assert got["schema"] == {**SCHEMA, "revision": 2, "roles": [SCHEMA["roles"][0], without(SCHEMA["roles"][1])]}
    assert server.ask("GET", f"{path}/schema/") == got["schema"]
    assert server.http.get(f"/users/foo/{path}/code").content == CODE
    assert server.ask("GET", f"{path}/code/revision") == {"revision": 1}
    assert server.ask("PUT", f"{path}/code", 501).endswith("is not implemented")
    server.ask("PUT", path, json={"id": design, "description": "new", "userId": "somebody else"})
    assert server.ask("GET", path)["description"] == "new" and server.ask("GET", path)["userId"] == "foo"
    assert {"id": design, "userId": "foo", "name": "", "description": "new"} in server.ask("GET", "designs?limit=0")
    assert len(server.ask("GET", "designs/?limit=1")) == 1
    assert server.ask("GET", "/users/bar/designs") == []
    assert "can be no part of a path" in server.ask("POST", "designs", 400, json={"id": "a/b"})
    assert server.ask("GET", f"/users/bar/{path}", 404) == f"design id {design} not found"
    server.ask("DELETE", f"{path}/schema")
    server.ask("DELETE", f"{path}/code")
    assert server.ask("GET", path)["schema"]["revision"] == 0
    assert server.ask("GET", f"{path}/schema", 404) == f"no design schema found: design id {design}"
    assert server.ask("GET", f"{path}/code/revision", 404) == f"no design code found: design id {design}"
    server.ask("POST", f"{path}/schema", 201, json=SCHEMA)
    assert server.ask("GET", f"{path}/schema")["revision"] == 3
    assert server.ask("DELETE", path) == f"{design} design deleted"
    assert server.ask("DELETE", path, 404) == f"design id {design} not found"


def without(role: dict[str, Any]) -> dict[str, Any]:
    """A role as it is told: what is the default is left out."""
    return {key: value for key, value in role.items() if (key, value) != ("replica", 1)}


def test_a_design_that_jobs_use_is_deleted_only_by_force_and_they_go_on_without(server: Server) -> None:
    design = server.design()
    job = server.job(designId=design)
    said = f"design used in job: design id: {design} | jobs count 1"
    assert server.ask("DELETE", f"designs/{design}", 409) == said
    server.ask("DELETE", f"designs/{design}?forceDelete=true")
    server.request(job, "starting")
    assert server.ended(job)[-1] == "completed"


def test_datasets_find_their_computes(server: Server) -> None:
    url = "https://example.org/own.npz"
    content = {"url": url, "dataFormat": "npz", "realm": "default/us", "//": "a comment", "computeId": "mine"}
    made = json.loads(server.ask("POST", "datasets", 201, json=content))
    (row,) = [row for row in server.ask("GET", "datasets/?limit=100") if row["id"] == made]
    assert (row["realm"], row["computeId"], row["userId"]) == ("default/us/default", "default", "foo")
    assert server.ask("POST", "datasets", 409, json=content) == f"duplicate key error: url {url} is registered"
    server.ask("PUT", f"datasets/{made}", json={**row, "name": "told anew", "id": "", "userId": "bar"})
    assert made not in [row["id"] for row in server.ask("GET", "/datasets")]
    server.ask("PUT", f"datasets/{made}", json={**content, "isPublic": True, "realm": "default/mars"})
    assert [row["computeId"] for row in server.ask("GET", "/datasets") if row["id"] == made] == ["default"]
    nowhere = server.ask("POST", "datasets", 409, json={**content, "url": "u", "realm": "eu1"})
    assert nowhere == "no compute found for realm 'eu1'; there are: default (default/us)"
    server.ask("GET", f"datasets/{made}", 501)
    assert server.ask("DELETE", f"/users/bar/datasets/{made}", 404) == f"dataset id {made} not found"
    assert server.ask("DELETE", f"datasets/{made}") == f"{made} dataset deleted"


def test_computes_are_known_by_their_key(server: Server) -> None:
    spec = {"computeId": "eu1", "region": "default/eu", "adminId": "admin-1", "apiKey": "secret"}
    made = server.ask("POST", "/computes", 201, json=spec)
    assert server.ask("POST", "/computes/", 201, json=spec) == made and made["state"] == "up"
    assert "already in use" in server.ask("POST", "/computes", 409, json={**spec, "apiKey": "other"})
    assert "already in use" in server.ask("POST", "/computes", 409, json={**spec, "computeId": "default"})
    assert server.ask("GET", "/computes?adminId=admin-1") == [{**spec, "apiKey": ""}]
    server.ask("GET", "/computes", 400)
    server.ask("GET", "/computes/eu1/config", 501)
    content = {"url": "file:///eu", "dataFormat": "npy", "realm": "eu1"}
    groups = {"default": [json.loads(server.ask("POST", "datasets", 201, json=content))]}
    job = server.job(dataSpec=[{"role": "trainer", "datasetGroups": groups}])
    assert "no deployer serves compute eu1" in server.request(job, "starting", 409)
    assert server.state(job) == "ready"
    task = server.tasks(job)["trainer"]["taskId"]
    assert [row["taskId"] for row in server.ask("GET", f"/users/eu1/jobs/{job}/tasks?generic=true")] == [task]
    key = {"X-API-KEY": "secret"}
    keys = server.ask("GET", f"/computes/eu1/deployments/{job}/config", headers=key)["agentKVs"]
    assert list(keys) == [task]
    work = server.http.get(f"/jobs/{job}/{task}/task", params={"key": keys[task]})
    assert work.status_code == 200 and b'name="config"' in work.content and b'name="code.zip"' in work.content
    status = f"/computes/eu1/deployments/{job}/status"
    server.ask("PUT", status, headers=key, json={task: "agentDeploySuccess"})
    assert server.ask("PUT", status, 400, headers=key, json={task: "fine"}).startswith(f"{task}: is 'fine'")
    server.ask("PUT", f"/jobs/{job}/{task}/task/status", 400, params={"key": keys[task]}, json={"state": "ready"})


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        (b"{", 400, "body: is not JSON"),
        (b"[]", 400, "body: expected `object`, got `array`"),
        (b"[" * 100_000, 400, "body: is not JSON"),
        (rb'{"id": "\u0000"}', 400, "body: holds a NUL character"),
        (b'{"id": 5}', 400, "body: id: expected `str`"),
        (b'{"id": "x", "colour": "red"}', 400, "body: object contains unknown field `colour`"),
        (b'{"ID": ""}', 422, "required field 'id' is zero value."),
        (b"{}", 422, "required field 'id' is zero value."),
    ],
)
def test_a_body_that_is_wrong_is_refused_with_its_place(server: Server, body: bytes, status: int, said: str) -> None:
    assert server.ask("POST", "designs", status, content=body).startswith(said)


def test_a_schema_that_is_wrong_is_refused_with_all_places(server: Server) -> None:
    design = server.design()
    schema = copy.deepcopy(SCHEMA)
    schema["roles"][0]["nane"] = "trainer"
    said = server.ask("POST", f"designs/{design}/schema", 400, json=schema)
    assert "roles[0]" in said and "did you mean 'name'?" in said
    schema = copy.deepcopy(SCHEMA)
    schema["channels"][0]["pair"][1] = schema["roles"][0]["groupAssociation"][0]["param-channel"] = "nobody"
    said = server.ask("PUT", f"designs/{design}/schema", 422, json=schema)
    assert "channels[0].pair[1]" in said and "roles[0].groupAssociation[0]" in said
    assert server.ask("PUT", f"designs/{design}/schema", 422, json={}) == "required field 'name' is zero value."
    assert server.ask("GET", f"designs/{design}/schema")["revision"] == 1


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (b"no archive", "code.zip: cannot be unpacked"),
        (archive({"../trainer/main.py": ""}), "code.zip: ../trainer/main.py: leads out of the archive"),
        (archive({"/trainer/main.py": ""}), "code.zip: /trainer/main.py: leads out of the archive"),
        (archive({"main.py": ""}), "code.zip: main.py: failed to find a top level directory"),
    ],
)
def test_code_that_is_no_archive_of_folders_is_refused(server: Server, code: bytes, said: str) -> None:
    design = server.design()
    assert server.ask("POST", f"designs/{design}/code", 400, **upload(code)).startswith(said)
    assert server.ask("GET", f"designs/{design}/code/revision") == {"revision": 1}
    assert "fileData" in server.ask("POST", f"designs/{design}/code", 400, data={"fileName": "code.zip"})
    form = {"Content-Type": "multipart/form-data"}
    assert (
        server.ask("POST", f"designs/{design}/code", 400, content=b"x", headers=form)
        == "Missing boundary in multipart."
    )


def test_what_is_too_large_is_refused_whether_it_says_so_or_not(server: Server) -> None:
    said = f"a request has at most {MAX_BYTES} bytes"
    assert server.ask("POST", "designs", 413, content=b" " * (MAX_BYTES + 1)) == said
    form = b'--x\r\nContent-Disposition: form-data; name="fileData"; filename="code.zip"\r\n\r\n'
    for path, head in (("designs", b""), ("designs/any/code", form)):
        chunks = itertools.chain([head], itertools.repeat(b" " * (1 << 20), (MAX_BYTES >> 20) + 1))
        headers = {"Content-Type": "multipart/form-data; boundary=x"} if head else {}
        assert server.ask("POST", path, 413, content=chunks, headers=headers) == said


def test_pages_of_others_cannot_use_a_browser_to_reach_it(server: Server) -> None:
    assert "not answered" in server.ask("GET", "/datasets", 403, headers={"Origin": "https://example.org"})
    assert "is not 'example.org'" in server.ask("GET", "/datasets", 403, headers={"Host": "example.org:80"})
    own = str(server.http.base_url).rstrip("/")
    server.ask("GET", "/datasets", headers={"Origin": own})


def test_a_server_on_loopback_is_known_by_each_name_of_this_machine_and_by_no_other() -> None:
    app = make_app(Control(Store("sqlite://"), {}, {}), LOOPBACK)
    for name, status in (("localhost", 200), ("127.0.0.1", 200), ("[::1]", 200), ("example.org", 403), ("[::2]", 403)):
        assert TestClient(app, base_url=f"http://{name}:10100").get("/datasets").status_code == status


@pytest.mark.parametrize(
    ("change", "status", "said"),
    [
        ({"designId": "nobody"}, 404, "design id nobody not found"),
        ({"designId": ""}, 422, "required field 'designId' is zero value."),
        ({"backend": ""}, 422, "required field 'backend' is zero value."),
        ({"backend": "pigeon"}, 400, "job.json: backend: no backend named 'pigeon'"),
        ({"backend": "local"}, 400, "backend: local cannot join tasks"),
        ({"dataSpec": []}, 404, "no dataset group specified for trainer role trainer"),
        ({"dataSpec": {"fromSystem": {}}}, 400, "body: dataSpec: expected `array`"),
        ({"dataSpec": [{"role": "", "datasetGroups": {}}]}, 422, "required field 'role' is zero value."),
        (
            {"dataSpec": [{"role": "trainer", "datasetGroups": {"default": []}}]},
            404,
            "no dataset specified for trainer role trainer, group default",
        ),
        (
            {"dataSpec": [{"role": "trainer", "datasetGroups": {"default": ["nothing"]}}]},
            404,
            "dataset nothing - no document found",
        ),
        ({"dataSpec": [{"role": "tramer", "datasetGroups": {}}]}, 400, "dataSpec[0].role: no role named 'tramer'"),
        ({"modelSpec": {"optimiser": {}}}, 400, "modelSpec: optimiser: is no setting"),
        ({"modelSpec": {"hyperParameters": {"rounds": "many"}}}, 400, "modelSpec: hyperparameters.rounds: expected"),
        ({"maxRunTime": -1}, 400, "body: maxRunTime: expected `int` >= 0"),
        ({"maxRunTime": 2**70}, 400, "body: maxRunTime: "),
    ],
)
def test_a_job_that_cannot_be_made_is_refused_and_leaves_nothing(
    server: Server, change: dict[str, Any], status: int, said: str
) -> None:
    before = len(server.ask("GET", "jobs"))
    assert server.ask("POST", "jobs", status, json={**server.body(), **change}).startswith(said)
    assert len(server.ask("GET", "jobs")) == before


def test_statement_33_what_a_job_is_made_of_has_to_be_whole(server: Server) -> None:
    """Errors that upstream finds only when tasks are built, or never."""
    code = archive({"trainer/main.py": "", "aggregator/readme.txt": ""})
    body = {**server.body(designId=server.design(code=code))}
    assert server.ask("POST", "jobs", 404, json=body) == "no code found for role aggregator"
    groups = [{"role": "trainer", "datasetGroups": {"uk": [server.dataset()]}}]
    said = server.ask("POST", "jobs", 422, json={**server.body(), "dataSpec": groups})
    assert "uk" in said
    schema = copy.deepcopy(SCHEMA)
    schema["roles"][0]["isDataConsumer"] = False
    assert "no-data-consumer" in server.ask("PUT", f"designs/{body['designId']}/schema", 422, json=schema)
    server.ask("DELETE", f"designs/{body['designId']}/code")
    assert server.ask("POST", "jobs", 404, json=body).startswith("no design code found")


def test_a_task_gets_its_own_role_s_code_and_a_config_that_is_whole(server: Server) -> None:
    """The job's brokers, its group, its dataset; keys of the request in any case."""
    body = server.body(trainers=2, hyper={"minPeers": 2})
    body = {key.upper() if key == "maxRunTime" else key: value for key, value in {**body, "maxRunTime": 60}.items()}
    body["ModelSpec"] = body.pop("modelSpec")
    job = server.ask("POST", "jobs", 201, json=body)["id"]
    told = server.ask("GET", f"jobs/{job}")
    assert (told["maxRunTime"], told["schemaRevision"], told["codeRevision"], told["userId"]) == (60, 1, 1, "foo")
    rows = server.ask("GET", f"jobs/{job}/tasks")
    assert [row["role"] for row in rows] == ["aggregator", "trainer", "trainer"]
    assert len({row["taskId"] for row in rows}) == 3 and all(row["computeId"] == "default" for row in rows)
    assert [len(server.ask("GET", f"jobs/{job}/tasks?limit={limit}")) for limit in (0, 2)] == [3, 2]
    server.ask("GET", f"jobs/{job}/tasks?limit=many", 400)
    server.request(job, "starting")
    server.ended(job)
    folder = server.folder_of(job, "trainer")
    config = json.loads((folder / "config.json").read_text())
    assert config["job"] == {"id": job, "name": told["designId"]} and config["maxRunTime"] == 60
    assert {row["sort"] for row in config["brokers"]} >= {"p2p"} and config["dataset"].startswith("file:///")
    assert zipfile.ZipFile(io.BytesIO((folder / "code.zip").read_bytes())).namelist() == ["trainer/main.py"]


def test_paths_that_there_are_not(server: Server) -> None:
    assert server.ask("GET", "/nowhere", 404) == "there is no GET /nowhere"
    assert server.ask("PATCH", "designs", 405) == "there is no PATCH /users/foo/designs"
    assert server.ask("GET", "jobs//") == server.ask("GET", "jobs")
