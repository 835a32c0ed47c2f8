"""`flame ca` as a user types it: files, modes, messages, exit status; and a real broker that takes what it issues."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import ssl
import stat
import subprocess
import zipfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flame import cli
from flame.backend.certificates import issue_service, issue_worker, make_authority, read
from flame.backend.credentials import Credentials
from flame.backend.tls import client_context, credentials_of
from flame.config.build import configs
from flame.config.job import read_job
from flame.errors import ConfigError
from flame.runtime.launch import seats_of
from flame.tag import expand

SCHEMA = {
    "name": "two regions",
    "roles": [
        {"name": "trainer", "isDataConsumer": True, "groupAssociation": [{"param": "eu/1"}, {"param": "na"}]},
        {"name": "server", "groupAssociation": [{"param": "eu/1"}, {"param": "na"}]},
    ],
    "channels": [
        {
            "name": "param",
            "pair": ["trainer", "server"],
            "groupBy": {"type": "tag", "value": ["eu/1", "na"]},
            "funcTags": {"trainer": ["fetch", "upload"], "server": ["distribute", "aggregate"]},
        }
    ],
}
DATA = [{"role": "trainer", "datasetGroups": {"eu/1": ["site", "site"], "na": ["site"]}}]
MQTT_CONNECT = bytes.fromhex("10 12 0004") + b"MQTT" + bytes.fromhex("04 02 003c 0006") + b"client"
MQTT_ACCEPTED = bytes.fromhex("20020000")


@pytest.fixture
def top(tmp_path: Path) -> Iterator[Path]:
    (tmp_path / "job").mkdir()
    files = {"schema": SCHEMA, "dataSpec": DATA, "job": {"id": "j/1", "name": "small"}, "dataset": {"url": "site.npz"}}
    files["dataset"]["name"] = "site"
    for name, content in files.items():
        (tmp_path / "job" / f"{name}.json").write_text(json.dumps(content))
    with contextlib.chdir(tmp_path):
        yield tmp_path


def ca(capsys: pytest.CaptureFixture[str], command: str) -> tuple[int, str, str]:
    status = cli.main(["ca", *command.split()])
    return status, *capsys.readouterr()


def modes(folder: Path) -> dict[str, int]:
    return {str(path.relative_to(folder)): stat.S_IMODE(path.stat().st_mode) for path in sorted(folder.rglob("*"))}


def test_keys_are_their_users_alone(top: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = os.umask(0)
    try:
        assert ca(capsys, "init ca")[::2] == (0, "")
        assert ca(capsys, "service ca broker --host localhost 127.0.0.1")[::2] == (0, "")
        assert ca(capsys, "worker ca job --only server/1")[::2] == (0, "")
    finally:
        os.umask(before)
    found = modes(top / "ca")
    assert stat.S_IMODE((top / "ca").stat().st_mode) == found.pop("j%2F1") == 0o700
    assert len(found) == 6
    assert {name: mode for name, mode in found.items() if mode != (0o600 if name.endswith(".key") else 0o644)} == {}


def test_each_worker_of_the_job_gets_its_own_seats(top: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ca(capsys, "init ca")
    status, out, err = ca(capsys, "worker ca job --host 10.0.0.7 --host Site-1.example.org ::1")
    assert (status, err) == (0, "") and [row.split("\t")[0] for row in out.splitlines()][-1] == "trainer/2"
    files = read_job(top / "job", needs_code=False)
    workers = list(configs(files.tag, files.job, expand(files.tag, files.data, job_id="j/1")))
    assert len(workers) == len(out.splitlines()) == 5
    for config in workers:
        found = read(credentials_of(Path("ca"), "j/1", config.task_id).cert)
        assert (found.name, found.identity.job, found.identity.end) == (config.task_id, "j/1", config.task_id)
        assert found.identity.seats == set(seats_of(config))
        assert found.hosts == ("10.0.0.7", "Site-1.example.org", "::1")


def test_workers_may_be_chosen_and_are_not_issued_twice(top: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ca(capsys, "init ca")
    status, out, _ = ca(capsys, "worker ca job --only server trainer/0 --json")
    rows = json.loads(out)["workers"]
    assert status == 0 and [row["name"] for row in rows] == ["server/0", "server/1", "trainer/0"]
    content = Path(rows[0]["cert"]).read_bytes()
    status, out, err = ca(capsys, "worker ca job")
    assert (status, out) == (2, "") and "3 of 5 workers already have a certificate" in err and "--only" in err
    assert ca(capsys, f"worker ca job --only {rows[0]['end']} --force")[0] == 0
    assert Path(rows[0]["cert"]).read_bytes() != content
    assert ca(capsys, "worker ca job --only trainer/1 trainer/2")[0] == 0
    status, _, err = ca(capsys, "worker ca job --only nobody")
    assert status == 2 and "--only nobody: is no worker" in err and "server, trainer" in err


def test_an_archive_of_programs_is_not_left_unpacked(top: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with zipfile.ZipFile(top / "job" / "code.zip", "w") as archive:
        archive.writestr("trainer/main.py", "")
    before = set(Path(os.environ.get("TMPDIR", "/tmp")).glob("flame-code-*"))
    ca(capsys, "init ca")
    assert ca(capsys, "worker ca job --only trainer")[0] == 0
    assert set(Path(os.environ.get("TMPDIR", "/tmp")).glob("flame-code-*")) <= before


WRONG = {
    "init ca": "ca/ca.crt: is there already (use --force",
    "init open": "open: is open to other users (chmod 700 open)",
    "init file": "cannot be written",
    "init new --days 0": "days: is 0",
    f"init new --name {'x' * 65}": "name: a certificate cannot be for",
    "service ca broker --host localhost": "ca/broker.crt: is there already",
    "service ca ca --host localhost --force": "is the authority's own name",
    "service ca x --host 10.0.0": "is neither a host's name nor an address",
    "service ca x --host tcp://a:80": "without a scheme or a port",
    "service none x --host a": "make an authority: flame ca init none",
    "service mixed x --host a": "ca.key: does not belong to mixed/ca.crt",
    "service damaged x --host a": "ca.key: or ca.crt cannot be used",
    "worker none job": "make an authority: flame ca init none",
    "worker ca nowhere": "nowhere: is not a folder",
    "worker ca job --schema none.json": "none.json",
    "show none": "none: cannot be read: No such file",
    "show ca/ca.key": "is no certificate in PEM form",
}


@pytest.mark.parametrize("command", WRONG)
def test_what_is_wrong_is_said_and_nothing_is_written(
    command: str, top: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_authority(top / "ca", "one")
    issue_service(top / "ca", "broker", ["localhost"])
    (top / "open").mkdir(mode=0o755)
    (top / "file").touch()
    for name in ("mixed", "damaged"):
        shutil.copytree(top / "ca", top / name)
    shutil.copy(top / "ca" / "broker.key", top / "mixed" / "ca.key")
    (top / "damaged" / "ca.key").write_text("junk")
    before = {path: path.stat().st_mtime_ns for path in top.rglob("*") if path.is_file()}
    status, out, err = ca(capsys, command)
    assert (status, out) == (2, "") and WRONG[command] in err and "Traceback" not in err
    assert {path: path.stat().st_mtime_ns for path in top.rglob("*") if path.is_file()} == before


def test_force_replaces_an_authority_and_what_it_issued_is_worth_nothing(
    top: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ca(capsys, "init ca --name one")
    old = (top / "ca" / "ca.key").read_bytes()
    assert ca(capsys, "init ca --name two --force")[0] == 0
    assert (top / "ca" / "ca.key").read_bytes() != old
    assert json.loads(ca(capsys, "show ca/ca.crt --json")[1])["name"] == "two"


def test_nothing_outlives_the_authority(tmp_path: Path) -> None:
    last = read(make_authority(tmp_path / "ca", "short", days=2)).not_after
    found = read(issue_worker(tmp_path / "ca", "job", "end", [], days=30).cert)
    assert found.not_after == last and found.identity.end == "end"
    assert timedelta(minutes=4) < datetime.now(UTC) - found.not_before < timedelta(minutes=9)


def test_show(top: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ca(capsys, "init ca --name authority")
    made = json.loads(ca(capsys, "worker ca job --only server/0 --json")[1])["workers"][0]
    status, out, _ = ca(capsys, f"show {made['cert']}")
    assert status == 0 and out.splitlines()[:3] == [
        f"worker {made['end']}",
        "  job     j/1",
        "  seat    server on param, group eu/1",
    ]
    told = json.loads(ca(capsys, f"show --json {made['cert']}")[1])
    assert (told["kind"], told["issuer"], told["expired"]) == ("worker", "authority", False)
    assert told["seats"] == [{"channel": "param", "group": "eu/1", "role": "server"}]
    assert datetime.fromisoformat(told["notAfter"]) > datetime.now(UTC) + timedelta(days=364)
    ca(capsys, "service ca broker --host broker.example.org")
    assert ca(capsys, "show ca/broker.crt")[1].startswith("service broker\n  hosts   broker.example.org\n")
    assert ca(capsys, "show ca/ca.crt")[1].startswith("authority authority\n")
    escape = issue_worker(top / "ca", "\x1b[2J", "end", []).cert
    cli.main(["ca", "show", str(escape)])
    assert "\x1b" not in capsys.readouterr().out


@given(st.text(min_size=1, max_size=9), st.text(min_size=1, max_size=9), st.text(min_size=1), st.text(min_size=1))
def test_no_name_leads_out_of_the_folder_and_different_names_stay_different(a: str, b: str, job: str, end: str) -> None:
    folder = Path("/authority")
    files = credentials_of(folder, job, end)
    assert files.ca == folder / "ca.crt" and Path(os.path.normpath(files.key)).parent.parent == folder
    assert (credentials_of(folder, job, a) == credentials_of(folder, job, b)) == (a == b)
    assert (credentials_of(folder, a, end) == credentials_of(folder, b, end)) == (a == b)


def test_a_name_that_is_not_text_is_refused(tmp_path: Path) -> None:
    make_authority(tmp_path / "ca", "authority")
    for job, end in (("\ud800", "end"), ("job", "\ud800"), ("", "end"), ("job", "")):
        with pytest.raises(ConfigError):
            issue_worker(tmp_path / "ca", job, end, [])


def mosquitto() -> str:
    """The broker's program; where packages may be installed, it is."""
    install = ["apt-get", "-qq", "-y", "-o", "DPkg::Lock::Timeout=120", "install", "mosquitto"]
    path = f"{os.environ['PATH']}:/usr/sbin"
    if shutil.which("mosquitto", path=path) is None and os.geteuid() == 0 and shutil.which("apt-get"):
        env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        for command in (["apt-get", "-qq", "update"], install):
            subprocess.run(command, env=env, capture_output=True, stdin=subprocess.DEVNULL, check=False)
    found = shutil.which("mosquitto", path=path)
    if found is None:
        pytest.skip("mosquitto is not installed, and apt-get cannot install it here")
    return found


@contextlib.contextmanager
def broker(files: Credentials, folder: Path) -> Iterator[int]:
    """A mosquitto that asks its clients for certificates; gives its port once it listens."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    lines = ["user root", "log_dest stderr", f"listener {port} 127.0.0.1", "allow_anonymous true"]
    lines += [f"cafile {files.ca}", f"certfile {files.cert}", f"keyfile {files.key}", "require_certificate true"]
    (folder / "mosquitto.conf").write_text("\n".join(lines) + "\n")
    command = [mosquitto(), "-c", str(folder / "mosquitto.conf")]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        told = []
        try:
            for line in process.stderr:
                told.append(line)
                if line.rstrip().endswith("running"):
                    break
            else:
                pytest.fail(f"mosquitto did not start: {told}")
            yield port
        finally:
            process.terminate()
            process.stderr.read()


def says(port: int, context: ssl.SSLContext) -> Any:
    """What the broker answers to a client that wants to connect: bytes, or the error of the connection."""
    try:
        raw = socket.create_connection(("127.0.0.1", port), timeout=20)
        with raw, context.wrap_socket(raw, server_hostname="localhost") as sock:
            sock.sendall(MQTT_CONNECT)
            return sock.recv(16)
    except OSError as error:
        return error


@pytest.mark.timeout(300)
def test_mosquitto_takes_a_worker_and_nobody_without_a_certificate(tmp_path: Path) -> None:
    folder = make_authority(tmp_path / "ca", "authority").parent
    other = make_authority(tmp_path / "other", "authority").parent
    worker, stranger = (issue_worker(where, "job", "a" * 40, []) for where in (folder, other))
    bare = ssl.create_default_context(cafile=worker.ca)
    strange = client_context(Credentials(worker.ca, stranger.cert, stranger.key))
    with broker(issue_service(folder, "broker", ["localhost"]), tmp_path) as port:
        assert says(port, client_context(worker)) == MQTT_ACCEPTED
        assert isinstance(says(port, bare), OSError)
        assert isinstance(says(port, strange), OSError)
        assert says(port, client_context(worker)) == MQTT_ACCEPTED
