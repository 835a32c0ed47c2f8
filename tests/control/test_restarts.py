"""What becomes of a job when its server is killed: it goes on if the server comes back, and ends if it does not."""

from __future__ import annotations

import signal
import threading
from pathlib import Path

import pytest
from server import Server, archive
from upstream import PROGRAMS

from flame import cli
from flame.cli import server as cli_server

WAITS = """
import subprocess
import sys
import time
from pathlib import Path

from steps import Config, StepTrainer


class Waits(StepTrainer):
    def train(self):
        super().train()
        while self._round == 2 and not Path("go").exists():
            time.sleep(0.01)


subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)", str(Path.cwd())])  # it is left behind
trainer = Waits(Config(sys.argv[1]))
trainer.compose()
trainer.run()
"""


def test_a_job_goes_on_while_its_server_is_started_again(tmp_path: Path) -> None:
    """It is killed, comes back, is stopped, and comes back: one job is completed, another one can still be stopped.

    Nothing of either runs afterwards, not even what a program has left behind.
    """
    program = {name: (PROGRAMS / f"{name}.py").read_text() for name in ("trainer", "aggregator")}
    code = {
        "trainer/main.py": WAITS,
        "trainer/steps.py": program["trainer"],
        "aggregator/main.py": program["aggregator"],
    }
    with Server(tmp_path) as server:
        job = server.started(designId=server.design(code=archive(code)))
        other = server.started(hyper={"hangIn": 1}, backend="shm")
        server.until(lambda: server.sign(job, "trainer", "round-2").exists(), "the second round")
        server.until(lambda: server.sign(other, "trainer", "round-1").exists(), "the other job's first round")
        go, before = server.folder_of(job, "trainer") / "go", server.processes()
        server.kill()
        server.start()
        assert server.state(job) == server.state(other) == "running"
        server.process.send_signal(signal.SIGTERM)
        server.process.wait(20)
        assert server.processes() == before
        server.start()
        go.touch()
        assert server.ended(job)[-1] == "completed"
        assert server.tasks(job)["aggregator"]["log"].endswith("[1.0, 2.0, 3.0]\n")
        assert server.state(other) == "running"
        server.request(other, "stopping")
        assert server.ended(other, 20)[-1] == "terminated"
        server.until(lambda: not server.processes(), "nothing runs", 10)


def test_agents_that_are_left_alone_end_their_programs(tmp_path: Path) -> None:
    """And the server that comes too late says that the job has failed."""
    with Server(tmp_path, "--silence", "3") as server:
        job = server.started(hyper={"hangIn": 1})
        server.until(lambda: server.sign(job, "trainer", "round-1").exists(), "the first round")
        server.kill()
        server.until(lambda: not server.processes(), "nothing runs", 15)
        server.start()
        assert server.ended(job, 15)[-1] == "failed"
        assert "nothing was heard of its agent for 3 s" in [task["log"] for task in server.tasks(job).values()]


def test_a_second_server_on_the_same_store_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Server(tmp_path):
        assert cli.main(["server", "--port", "0", "--store", f"sqlite:///{tmp_path}/flame.db"]) == 2
    assert "another server has it open" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--store", "nonsense"], "--store: Could not parse SQLAlchemy URL"),
        (["--store", "mysql://host/flame"], "--store: mysql is not supported"),
        (["--store", "sqlite:////nowhere/flame.db"], "sqlite:////nowhere/flame.db cannot be opened"),
        (["--store", "sqlite://", "--port", "70000"], "cannot listen at 127.0.0.1:70000"),
        (["--store", "sqlite://", "--broker", "mqtt"], "--broker mqtt: is no NAME=VALUE"),
        (["--silence", "1"], "1 is below 2 s"),
    ],
)
def test_a_server_that_cannot_begin_says_why(
    options: list[str],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """And leaves nothing behind: it is asked for in this process, whose threads are counted."""
    monkeypatch.chdir(tmp_path)
    threads = threading.active_count()
    try:
        status = cli.main(["server", *options])
    except SystemExit as ended:  # of argparse
        status = int(ended.code or 0)
    assert status == 2 and threading.active_count() == threads
    assert said in capsys.readouterr().err


def test_what_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(cli_server, "NEEDED", ("json", "a_package_that_is_not_there"))
    assert cli.main(["server"]) == 2
    said = "flame server: needs a_package_that_is_not_there (pip install 'flame-fl[control]')"
    assert said in capsys.readouterr().err
