"""When something goes wrong: who it was is said at once, and nothing is left running."""

from __future__ import annotations

import gc
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_jobs import TRAINER, Node, Server, Site, alive, children, job_folder, open_files, pair_tag, until

import flame
from flame.errors import ConfigError, DeadlinePassed, FlameError, RunError, WorkerFailed
from flame.mode.function import receives, sends

BUSY_S = 60.0
Started = subprocess.Popen[str]


def busy_for(seconds: float) -> None:
    """Compute, and look at nothing else."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        np.ones(1000).sum()


def read_json(path: Path) -> Any:
    return json.loads(path.read_text())


@pytest.mark.parametrize("fails", [0, 1], ids=["elsewhere", "beside the aggregator"])
def test_a_failure_is_told_at_once_though_another_host_is_busy(tmp_path: Path, fails: int) -> None:
    """One of two sites raises while the other computes."""

    class OneFails(Site):
        def train(self) -> None:
            (tmp_path / f"trains-{self.data}").touch()
            if self.data != fails:
                busy_for(BUSY_S)
            until((tmp_path / f"trains-{1 - fails}").exists, "the other one computes")
            (tmp_path / "now").touch()
            raise ZeroDivisionError("one over nothing")

    with pytest.raises(WorkerFailed) as raised:
        flame.run(trainer=OneFails, aggregator=Server, data=[0, 1], rounds=3, hosts=2, out=tmp_path / "out")
    assert time.time() - (tmp_path / "now").stat().st_mtime < 2
    assert (raised.value.worker, raised.value.role) == (f"trainer/{fails}", "trainer")
    assert raised.value.traceback.rstrip().endswith("ZeroDivisionError: one over nothing")
    assert 'raise ZeroDivisionError("one over nothing")' in raised.value.traceback
    assert str(raised.value) == f"worker trainer/{fails} (role trainer) raised: ZeroDivisionError: one over nothing"
    assert children(os.getpid()) == []
    facts = read_json(tmp_path / "out" / "run.json")
    assert facts["status"] == "failed" and facts["error"]["worker"] == f"trainer/{fails}"
    assert facts["error"]["traceback"] == raised.value.traceback
    assert "ZeroDivisionError" in (tmp_path / "out" / "report.html").read_text()
    for name in ("tag.json", "metrics.json", "timeline.json"):
        assert read_json(tmp_path / "out" / name)
    assert len((tmp_path / "out" / "configs.jsonl").read_text().splitlines()) == 3


def test_a_failure_in_this_process_is_told_the_same_way(tmp_path: Path) -> None:
    class Fails(Site):
        def train(self) -> None:
            if self.data == 1:
                raise ZeroDivisionError("one over nothing")

    with pytest.raises(WorkerFailed, match=r"worker trainer/1 \(role trainer\) raised: ZeroDivisionError"):
        flame.run(trainer=Fails, aggregator=Server, data=[0, 1, 2], hosts=0, out=tmp_path)
    assert read_json(tmp_path / "run.json")["status"] == "failed"


@pytest.mark.parametrize("method", ["__init__", "load_data", "initialize", "train", "evaluate", "compose"])
def test_a_failure_in_any_method_names_the_worker(tmp_path: Path, method: str) -> None:
    def fail(self: Any, *given: Any) -> None:
        raise LookupError(method)

    fails = type("Fails", (Site,), {method: fail})
    with pytest.raises(WorkerFailed, match=f"trainer/0 .* LookupError: {method}"):
        flame.run(trainer=fails, aggregator=Server, data=[0], hosts=1, out=tmp_path)


@pytest.mark.parametrize("hosts", [0, 1])
def test_a_program_that_exits_has_failed(tmp_path: Path, hosts: int) -> None:
    class Exits(Site):
        def train(self) -> None:
            sys.exit(3)

    with pytest.raises(WorkerFailed, match=r"trainer/0 .* SystemExit: 3"):
        flame.run(trainer=Exits, aggregator=Server, data=[0, 1], hosts=hosts, out=tmp_path)


def test_a_host_that_is_killed_is_named_with_its_workers(tmp_path: Path) -> None:
    class Killed(Site):
        def train(self) -> None:
            if self.data == 0 and self._round == 2:
                os.kill(os.getpid(), signal.SIGKILL)

    with pytest.raises(
        RunError, match=r"host \d \(process \d+\) was killed by signal 9 \(SIGKILL\); it ran .*trainer/0"
    ):
        flame.run(trainer=Killed, aggregator=Server, data=[0, 1, 2], rounds=3, hosts=2, out=tmp_path)
    assert children(os.getpid()) == []
    facts = read_json(tmp_path / "run.json")
    assert facts["status"] == "failed" and "SIGKILL" in facts["error"]["traceback"]


# -- everybody waits ---------------------------------------------------------------------------------------------------


class Asks(Node):
    """Waits for an answer to nothing."""

    @receives("listen", frm="tell")
    def listen(self, channel: Any) -> None:
        channel.recv(channel.one_end())


class Tells(Node):
    """Should tell, and listens."""

    @sends("tell", to="listen")
    def tell(self, channel: Any) -> None:
        list(channel.recv_fifo(channel.ends()))


@pytest.mark.parametrize("hosts", [0, 1, 2])
def test_a_deadlock_is_found_and_told(tmp_path: Path, hosts: int) -> None:
    roles = {"asker": Asks, "teller": Tells}
    with pytest.raises(RunError) as raised:
        flame.run(roles=roles, tag=pair_tag("asker", "listen", "teller", "tell"), data=[0], hosts=hosts, out=tmp_path)
    said = str(raised.value)
    assert said.startswith("deadlock: every worker that has not ended waits for another\n")
    assert "  asker/0 waits for a message of teller/0 on channel" in said
    assert "  teller/0 waits for a message of any of 1 on channel: asker/0" in said
    assert read_json(tmp_path / "run.json")["status"] == "failed"


class Talks(Node):
    """Node 0 tells everybody twice and goes; the others wait for each other."""

    data: int

    @sends("say", to="say")
    def say(self, channel: Any) -> None:
        if self.data == 0:
            channel.broadcast("hello")
            channel.broadcast("goodbye")
        else:
            list(channel.recv_fifo(channel.all_ends()))


@pytest.mark.timeout(5)
@pytest.mark.parametrize("hosts", [0, 1, 3])
def test_a_deadlock_is_found_when_some_have_ended(tmp_path: Path, hosts: int) -> None:
    with pytest.raises(RunError, match="node/1 waits for a message of any of 1 on channel: node/2"):
        flame.run(
            roles={"node": Talks}, tag=pair_tag("node", "say", "node", "say"), data=[0, 1, 2], hosts=hosts, out=tmp_path
        )


def test_a_long_computation_is_no_deadlock(tmp_path: Path) -> None:
    """The server wakes up right after it has been idle, answers once, and then computes."""

    class Questions(Node):
        @sends("ask", to="answer")
        def ask(self, channel: Any) -> None:
            end = channel.one_end()
            busy_for(0.55)
            channel.send(end, "one question")
            assert [channel.recv(end)[0] for _ in range(2)] == ["one moment", "the answer"]

    class Answers(Node):
        @receives("answer", frm="ask")
        def answer(self, channel: Any) -> None:
            end = channel.one_end()
            channel.recv(end)
            channel.send(end, "one moment")
            with pytest.raises(DeadlinePassed):
                channel.take(end, 0.001)
            busy_for(1.2)
            channel.send(end, "the answer")

    roles = {"client": Questions, "server": Answers}
    flame.run(roles=roles, tag=pair_tag("client", "ask", "server", "answer"), data=[0], hosts=2, out=tmp_path)


# -- the command, as a process -----------------------------------------------------------------------------------------

HANGS = TRAINER.replace(
    "        self.model += 1\n",
    "        import os, pathlib\n        pathlib.Path(f'hangs-{os.getpid()}').touch()\n        while True: pass\n",
)


@pytest.fixture
def hanging(tmp_path: Path) -> Iterator[Started]:
    """`flame run` of a job whose trainers compute for ever, in two hosts."""
    job_folder(tmp_path, **{"trainer/main.py": HANGS})
    entry = "import sys; from flame.cli import main; sys.exit(main(sys.argv[1:]))"
    command = [sys.executable, "-c", entry, "run", ".", "--hosts", "2", "--out", "out"]
    started = subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    until(lambda: len(list(tmp_path.glob("hangs-*"))) == 2 or started.poll() is not None, "both hosts compute")
    assert started.poll() is None, started.communicate()[1]
    yield started
    if started.poll() is None:
        os.killpg(started.pid, signal.SIGKILL)
    started.communicate()


def test_when_the_command_is_killed_its_hosts_go_too(hanging: Started) -> None:
    hosts = children(hanging.pid)
    assert len(hosts) == 2
    hanging.kill()
    hanging.wait()
    until(lambda: not any(alive(host) for host in hosts), "the hosts are gone", 5)


def test_an_interrupt_ends_everything(hanging: Started, tmp_path: Path) -> None:
    """As from a keyboard: the signal goes to the whole process group."""
    hosts = children(hanging.pid)
    began = time.monotonic()
    os.killpg(hanging.pid, signal.SIGINT)
    _, err = hanging.communicate(timeout=10)
    assert hanging.returncode == 130 and time.monotonic() - began < 4
    assert err.splitlines()[-1] == "flame: interrupted; nothing is left running" and "Traceback" not in err
    assert len(hosts) == 2 and not any(alive(host) for host in hosts)
    facts = read_json(tmp_path / "out" / "run.json")
    assert facts["status"] == "failed" and "interrupted" in facts["error"]["traceback"]
    assert (tmp_path / "out" / "report.html").is_file()


def test_an_interrupt_that_another_thread_takes_ends_everything(tmp_path: Path) -> None:
    """As a BLAS's threads may: the main one, which waits for its hosts, is not woken by it."""
    job_folder(tmp_path, **{"trainer/main.py": HANGS})
    entry = """
import pathlib, signal, sys, threading, time
from flame.cli import main

def interrupt():
    while len(list(pathlib.Path().glob("hangs-*"))) < 2:
        time.sleep(0.01)
    time.sleep(0.5)  # the main thread waits
    signal.pthread_kill(threading.get_ident(), signal.SIGINT)

threading.Thread(target=interrupt, daemon=True).start()
sys.exit(main(sys.argv[1:]))
"""
    command = [sys.executable, "-c", entry, "run", ".", "--hosts", "2", "--out", "out"]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=30)
    assert ended.returncode == 130, ended.stderr
    assert ended.stderr.splitlines()[-1] == "flame: interrupted; nothing is left running"


def test_a_request_to_end_ends_everything_and_leaves_a_record(hanging: Started, tmp_path: Path) -> None:
    """SIGTERM, as `timeout` and batch systems send it."""
    hosts = children(hanging.pid)
    hanging.terminate()
    hanging.communicate(timeout=10)
    until(lambda: not any(alive(host) for host in hosts), "the hosts are gone", 5)
    assert read_json(tmp_path / "out" / "run.json")["status"] == "failed"


def test_a_host_that_is_killed_ends_the_command(hanging: Started) -> None:
    hosts = children(hanging.pid)
    os.kill(hosts[0], signal.SIGKILL)
    _, err = hanging.communicate(timeout=10)
    assert "was killed by signal 9 (SIGKILL); it ran" in err.splitlines()[-1] and "Traceback" not in err
    assert hanging.returncode != 0 and not any(alive(host) for host in hosts)


def test_a_run_that_began_and_could_not_end_is_status_1(hanging: Started) -> None:
    """2 is for what could not begin."""
    os.kill(children(hanging.pid)[0], signal.SIGKILL)
    hanging.communicate(timeout=10)
    assert hanging.returncode == 1


# -- what is left behind -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("hosts", "fails"), [(0, False), (0, True), (2, False), (2, True)])
def test_five_runs_leave_no_file_thread_or_child_behind(tmp_path: Path, hosts: int, fails: bool) -> None:
    class Big(Site):
        def initialize(self) -> None:
            self.model, self.dataset_size = np.zeros(50_000, np.float32), 1

        def train(self) -> None:
            if fails and self._round == 2:
                raise ValueError("enough")

    class BigServer(Server):
        def initialize(self) -> None:
            self.model = np.zeros(50_000, np.float32)

    counts = []
    for number in range(6):
        try:
            flame.run(
                trainer=Big, aggregator=BigServer, data=[0] * 3, rounds=2, hosts=hosts, out=tmp_path / str(number)
            )
        except FlameError:
            assert fails
        gc.collect()
        counts.append((open_files(), threading.active_count(), children(os.getpid())))
    assert counts[1:] == counts[:-1]


def test_a_folder_that_is_used_again_shows_nothing_of_the_run_before(tmp_path: Path) -> None:
    class Broken(Site):
        def train(self) -> None:
            raise ValueError("enough")

    flame.run(trainer=Site, aggregator=Server, data=[0], hosts=0, out=tmp_path)
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "other.safetensors").touch()
    assert (tmp_path / "model.safetensors").exists()
    with pytest.raises(WorkerFailed):
        flame.run(trainer=Broken, aggregator=Server, data=[0], hosts=0, out=tmp_path)
    assert not list(tmp_path.rglob("*.safetensors"))
    assert json.loads((tmp_path / "run.json").read_text())["status"] == "failed"


def test_a_number_of_hosts_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="hosts"):
        flame.run(trainer=Site, aggregator=Server, data=[0], hosts=-1, out=tmp_path)


def test_remarks_that_a_library_adds_below_an_error_do_not_hide_it() -> None:
    """JAX adds some to every traceback."""
    text = (
        "Traceback (most recent call last):\n  ...\nTypeError: no\n--------------------\nFor simplicity, see below.\n"
    )
    assert str(WorkerFailed("trainer/1", "trainer", text)).endswith("raised: TypeError: no")
    assert str(WorkerFailed("trainer/1", "trainer", "ValueError: a\nb")).endswith("raised: b")


@pytest.mark.parametrize("hosts", [0, 2])
def test_a_job_whose_time_is_over_is_ended(tmp_path: Path, hosts: int) -> None:
    """However busy its workers are; and the error says how to go on."""

    class Slow(Site):
        def train(self) -> None:
            busy_for(0.3 if hosts == 0 else BUSY_S)

    began = time.monotonic()
    with pytest.raises(RunError, match=r"maxRunTime of 1 s is over; .* no limit, .* can be resumed"):
        flame.run(
            trainer=Slow,
            aggregator=Server,
            data=[0, 1],
            rounds=500,
            hosts=hosts,
            out=tmp_path / "out",
            set={"maxRunTime": 1},
        )
    assert time.monotonic() - began < BUSY_S / 2
    assert children(os.getpid()) == []
    assert read_json(tmp_path / "out" / "run.json")["status"] == "failed"
