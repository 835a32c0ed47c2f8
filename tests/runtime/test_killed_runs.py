"""A run whose processes are all killed, at any moment, goes on from its last checkpoint as if nothing had been."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from random import Random

import pytest
from small_jobs import job_folder

from flame.errors import ConfigError
from flame.lab.result import Result
from flame.registry import journal
from flame.runtime.record import STALE

ROUNDS = 12
FLAME = "from flame.cli import main; raise SystemExit(main())"
TRAINER = """
import time
import numpy as np
from flame.config import Config
from flame.mode.horizontal.trainer import Trainer

class Site(Trainer):
    def __init__(self, config: Config) -> None:
        self.config, self.model, self.dataset_size = config, None, 0
    def load_data(self) -> None:
        self.dataset_size = 1
    def initialize(self) -> None:
        self.model = np.zeros(3, np.float32)
    def train(self) -> None:
        time.sleep(0.01)
        self.model += np.random.random(3)
        self.update_metrics({"loss": float(self.model.sum())})
    def evaluate(self) -> None:
        pass

if __name__ == "__main__":
    trainer = Site(Config("config.json"))
    trainer.compose()
    trainer.run()
"""


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = job_folder(tmp_path_factory.mktemp("job"), sites=3, rounds=ROUNDS)
    (folder / "trainer" / "main.py").write_text(TRAINER)
    return folder


def begin(job: Path, out: Path, *more: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", FLAME, "run", str(job), "--out", str(out), "--seed", "5", *more]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, start_new_session=True)


def run(job: Path, out: Path, *more: str) -> str:
    """To its end; returns what was said on stderr."""
    process = begin(job, out, *more)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 0, said
    return said


@pytest.fixture(scope="module")
def whole(job: Path, tmp_path_factory: pytest.TempPathFactory) -> Result:
    out = tmp_path_factory.mktemp("whole")
    run(job, out, "--hosts", "0")
    return Result(out)


def same(out: Path, whole: Result) -> None:
    result = Result(out)
    assert result.weights().data.tobytes() == whole.weights().data.tobytes()
    mine, theirs = ([(r.round, r.worker, r.values) for r in each.metrics] for each in (result, whole))
    assert mine == theirs
    assert [row.round for row in result.history.rounds] == list(range(1, ROUNDS + 1))


def kill(process: subprocess.Popen[str]) -> bool:
    """The whole process group at once; whether anything was left to be killed."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return False
    finally:
        process.communicate(timeout=20)
    return process.returncode == -signal.SIGKILL


def reached(out: Path, number: int, process: subprocess.Popen[str]) -> None:
    """Wait until there is a checkpoint of that round or of a later one."""
    while process.poll() is None:
        top = out / journal.FOLDER
        numbers = [int(path.name) for path in top.iterdir() if path.name.isdecimal()] if top.is_dir() else []
        if max(numbers, default=0) >= number:
            return
        time.sleep(0.001)


@pytest.mark.parametrize("seed", range(10))
def test_killed_at_a_random_moment(job: Path, whole: Result, tmp_path: Path, seed: int) -> None:
    chance = Random(seed)
    hosts = ("--hosts", str(chance.choice([0, 2])))
    process = begin(job, tmp_path, "--checkpoint", "1", *hosts)
    reached(tmp_path, chance.randint(1, ROUNDS - 3), process)
    time.sleep(chance.random() * 0.02)
    assert kill(process)
    said = run(job, tmp_path, "--resume", str(tmp_path), *hosts)
    assert "damaged" not in said
    same(tmp_path, whole)


@pytest.mark.parametrize("every", [1, ROUNDS])
def test_killed_between_its_last_checkpoint_and_its_end(job: Path, whole: Result, tmp_path: Path, every: int) -> None:
    """What is written at the end is not there: the rounds after the checkpoint before, or all, are done again."""
    run(job, tmp_path, "--hosts", "0", "--checkpoint", str(every))
    for name in STALE:
        (tmp_path / name).unlink()
    run(job, tmp_path, "--resume", str(tmp_path), "--hosts", "0")
    same(tmp_path, whole)
    assert str(ROUNDS) in [path.name for path in (tmp_path / "checkpoints").iterdir()]


def test_the_same_command_again_and_again(job: Path, whole: Result, tmp_path: Path) -> None:
    """What starts a run that is killed needs not know whether there is anything to go on from."""
    command = (job, tmp_path, "--checkpoint", "2", "--resume")
    for number in (0, 2, 4, 6):
        process = begin(*command)
        reached(tmp_path, number, process)
        assert kill(process)
    run(*command)
    same(tmp_path, whole)


@pytest.fixture(scope="module")
def kept(job: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("kept") / "run"
    run(job, out, "--hosts", "0", "--checkpoint", "4", "--set", "hyperparameters.rounds=8")
    return out


def damaged(kept: Path, to: Path, path: str, data: bytes | None) -> Path:
    """A copy of a run in which one file is another."""
    out = to / "run"
    shutil.copytree(kept, out)
    file = out / "checkpoints" / path
    assert file.is_file()
    if data is None:
        file.unlink()
    else:
        file.write_bytes(data(file.read_bytes()) if callable(data) else data)
    return out


def flipped(data: bytes) -> bytes:
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]


@pytest.mark.parametrize("file", ["8/manifest.json", "8/host-0.state", "8/model.safetensors"])
@pytest.mark.parametrize("harm", [flipped, lambda data: data[:-1], lambda data: b"", None], ids=range(4))
def test_a_damaged_checkpoint_is_passed_over(
    kept: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, file: str, harm: object
) -> None:
    found = journal.newest(damaged(kept, tmp_path, file, harm))
    assert found.round == 4
    assert "checkpoints/8 is damaged and passed over" in caplog.text


def test_a_run_goes_on_from_the_one_before(job: Path, whole: Result, kept: Path, tmp_path: Path) -> None:
    out = damaged(kept, tmp_path, "8/host-0.state", lambda data: data[:-1])
    (out / "checkpoints" / "12.part").mkdir()
    (out / "checkpoints" / "12.part" / "host-0.state").write_bytes(b"half")
    said = run(job, out, "--resume", str(out), "--set", f"hyperparameters.rounds={ROUNDS}")
    assert "checkpoints/8 is damaged and passed over" in said
    same(out, whole)
    assert sorted(path.name for path in (out / "checkpoints").iterdir()) == ["12", "4", "8", "record"]


def test_of_nothing_whole_nothing_is_resumed(kept: Path, tmp_path: Path) -> None:
    out = damaged(kept, tmp_path, "record", lambda data: b"\0" + data[1:])
    with pytest.raises(ConfigError, match="no checkpoint that is whole"):
        journal.newest(out)
    with pytest.raises(ConfigError, match="run it with --checkpoint N"):
        journal.newest(tmp_path)


def test_a_new_run_forgets_an_earlier_one_in_its_directory(job: Path, kept: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    shutil.copytree(kept, out)
    (out / "models").mkdir()
    (out / "models" / "another-0.safetensors").write_bytes(b"")
    run(job, out, "--hosts", "0")
    assert not (out / "checkpoints").exists()
    assert not (out / "models").exists()


def test_resume_has_to_know_what(job: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-c", FLAME, "run", str(job), "--resume"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert (done.returncode, "--out RUN --resume" in done.stderr) == (2, True)
