"""Programs over mutual TLS with a job token, each started by itself with nothing but its config.json."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from upstream import Machine, aggregator, answers, finished, ok, task_id, trainer, until

from flame.backend.certificates import issue_service, issue_worker, make_authority
from flame.backend.directory import Seat

pytest.importorskip("cryptography")

JOB = "622a358619ab59012eabeefb"
LOCAL = ["127.0.0.1"]
TOKEN = "0123456789abcdef0123456789abcdef"


class Federation(Machine):
    """Programs that have certificates and know a token."""

    def __init__(self, folder: Path, sort: str, broker: str, authority: Path) -> None:
        super().__init__(folder, sort, broker)
        self._authority = authority

    def network(self, name: str, role: str, *, group: str = "default", token: str = TOKEN) -> dict[str, Any]:
        """The `network` of a worker's config, whose certificate is for these seats."""
        end = task_id(name)
        files = issue_worker(
            self._authority, JOB, end, [Seat("param-channel", group, role, end)], hosts=LOCAL, force=True
        )
        secret = self.folder / f"{name}.token"
        secret.write_text(token)
        return {"ca": str(files.ca), "cert": str(files.cert), "key": str(files.key), "tokenFile": secret.name}


@pytest.fixture(params=["p2p", "mqtt"])
def federation(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Federation]:
    authority = tmp_path / "ca"
    make_authority(authority, "test")
    with guarded_point(request.param, tmp_path, authority) as address:
        machine = Federation(tmp_path, request.param, address, authority)
        yield machine
        machine.close()


@contextmanager
def guarded_point(sort: str, folder: Path, authority: Path) -> Iterator[str]:
    """A rendezvous or a broker that lets in only whom the authority knows."""
    files = issue_service(authority, "meeting-point", LOCAL)
    with socket.create_server(("127.0.0.1", 0)) as free:
        host, port = free.getsockname()
    address = f"{host}:{port}"
    if sort == "p2p":
        (folder / "token").write_text(TOKEN)
        command = [str(Path(sys.executable).with_name("flame")), "rendezvous", "--listen", address]
        command += ["--ca", str(files.ca), "--cert", str(files.cert), "--key", str(files.key)]
        command += ["--token-file", str(folder / "token")]
    else:
        program = shutil.which("mosquitto", path="/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin")
        if program is None:
            pytest.skip("mosquitto is not installed, and the broker in Python asks nobody for a certificate")
        lines = [f"listener {port} {host}", "require_certificate true", "allow_anonymous true", "user root"]
        lines += [f"cafile {files.ca}", f"certfile {files.cert}", f"keyfile {files.key}"]
        (folder / "acl").write_text(rules_on("secure-a-federation.md"))
        lines += ["use_identity_as_username true", f"acl_file {folder / 'acl'}"]
        (folder / "mosquitto.conf").write_text("\n".join(lines) + "\n")
        command = [program, "-c", str(folder / "mosquitto.conf")]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        until(lambda: process.poll() is not None or answers(address), "the meeting point answers")
        yield address
        assert process.poll() is None
    finally:
        process.kill()
        process.wait()


def rules_on(page: str) -> str:
    """The broker's rules, as the documentation gives them."""
    text = (Path(__file__).parents[2] / "docs" / "how-to" / page).read_text(encoding="utf-8")
    return text.split('title="acl"\n')[1].split("```")[0]


@pytest.mark.parametrize("federation", ["mqtt"], indirect=True)
def test_the_broker_lets_nobody_speak_for_somebody_else(federation: Federation) -> None:
    """A worker with a certificate of its own tells a trainer, in the aggregator's name, that it is all over."""
    paho = pytest.importorskip("paho.mqtt.client")
    site = federation.start("trainer", trainer(network=federation.network("site", "trainer")), "site")
    until(federation.sign("site", "loading").exists, "the trainer loads")
    files = federation.network("rogue", "trainer")
    rogue = paho.Client(paho.CallbackAPIVersion.VERSION2)
    rogue.tls_set(files["ca"], files["cert"], files["key"])
    host, port = federation.broker.split(":")
    rogue.connect(host, int(port))
    rogue.loop_start()
    heard: list[str] = []
    rogue.on_message = lambda client, data, message: heard.append(message.topic)
    rogue.subscribe(f"flame/{JOB}/to/#", 1)
    for sender in ("top", "rogue"):
        topic = f"flame/{JOB}/to/{task_id('site')}/{task_id(sender)}"
        rogue.publish(topic, b"nonsense", 1).wait_for_publish(5)
    top = federation.start("aggregator", aggregator(network=federation.network("top", "aggregator")), "top")
    assert ok(top) == [1.0, 2.0, 3.0] and len(ok(site)) == 3
    rogue.loop_stop()
    assert not heard


def test_a_job_of_three_processes(federation: Federation) -> None:
    more = {"hyper": {"minPeers": 2}}
    top = federation.start("aggregator", aggregator(network=federation.network("top", "aggregator"), **more), "top")
    sites = [
        federation.start("trainer", trainer(network=federation.network(name, "trainer")), name)
        for name in ("one", "two")
    ]
    assert [len(ok(site)) for site in sites] == [3, 3]
    assert ok(top) == [1.0, 2.0, 3.0]


def test_who_does_not_know_the_token_stays_outside(federation: Federation) -> None:
    network = federation.network("stranger", "trainer", token="another token, as long as it has to be")
    content = {**trainer(network=network), "maxRunTime": 4}
    stranger = federation.start("trainer", content, "stranger")
    top = federation.start("aggregator", aggregator(network=federation.network("top", "aggregator")), "top")
    site = federation.start("trainer", trainer(network=federation.network("site", "trainer")), "site")
    assert ok(top) == [1.0, 2.0, 3.0] and len(ok(site)) == 3
    status, diary, err = finished(stranger)
    assert (status != 0 and "token" in err) or diary == []


def test_who_has_no_certificate_stays_outside(federation: Federation) -> None:
    stranger = federation.start("trainer", {**trainer(), "maxRunTime": 3}, "stranger")
    top = federation.start("aggregator", aggregator(network=federation.network("top", "aggregator")), "top")
    site = federation.start("trainer", trainer(network=federation.network("site", "trainer")), "site")
    assert ok(top) == [1.0, 2.0, 3.0] and len(ok(site)) == 3
    _, diary, _ = finished(stranger)
    assert not diary


@pytest.mark.parametrize("federation", ["p2p"], indirect=True)
@pytest.mark.parametrize(("role", "group"), [("aggregator", "default"), ("trainer", "another group")])
def test_who_takes_a_place_that_its_certificate_does_not_name_is_refused(
    federation: Federation, role: str, group: str
) -> None:
    network = federation.network("stranger", role, group=group)
    stranger = federation.start("trainer", trainer(network=network), "stranger")
    top = federation.start("aggregator", aggregator(network=federation.network("top", "aggregator")), "top")
    site = federation.start("trainer", trainer(network=federation.network("site", "trainer")), "site")
    assert ok(top) == [1.0, 2.0, 3.0] and len(ok(site)) == 3
    status, _, err = finished(stranger)
    assert status != 0 and "refused" in err


@pytest.mark.parametrize("federation", ["p2p"], indirect=True)
def test_who_shows_the_certificate_of_somebody_else_is_refused(federation: Federation) -> None:
    network = federation.network("site", "trainer")
    status, _, err = finished(federation.start("trainer", trainer(network=network), "stranger"))
    assert status != 0 and "its certificate is not for" in err
