"""`flame run`: what it says about input that is wrong, and what it shows while it runs."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import subprocess
import sys
import termios
import time
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from flame.cli import main

ENTRY = "import sys; from flame.cli import main; sys.exit(main(sys.argv[1:]))"
TRAINER = """
import numpy as np
from flame.mode.horizontal.trainer import Trainer

class Site(Trainer):
    def initialize(self):
        self.model, self.dataset_size = np.zeros(3, np.float32), 1
    def train(self):
        self.model += 1
        self.update_metrics({"loss": 1.0 / self._round})
"""
AGGREGATOR = """
import numpy as np
from flame.mode.horizontal.top_aggregator import TopAggregator

class Server(TopAggregator):
    def initialize(self):
        self.model = np.zeros(3, np.float32)
"""
SCHEMA = {
    "name": "small",
    "roles": [
        {"name": "trainer", "isDataConsumer": True, "groupAssociation": [{"param": "default"}]},
        {"name": "aggregator", "groupAssociation": [{"param": "default"}]},
    ],
    "channels": [
        {
            "name": "param",
            "pair": ["trainer", "aggregator"],
            "groupBy": {"type": "tag", "value": ["default"]},
            "funcTags": {"trainer": ["fetch", "upload"], "aggregator": ["distribute", "aggregate"]},
        }
    ],
}


def job(top: Path, **change: Any) -> Path:
    """A job's folder; `change` replaces a file (text as it is), or leaves it out if None."""
    files: dict[str, Any] = {
        "schema.json": SCHEMA,
        "job.json": {"name": "small", "dataSpecPath": "dataSpec.json", "modelSpecPath": "modelSpec.json"},
        "modelSpec.json": {"hyperparameters": {"rounds": 2}},
        "dataSpec.json": [{"role": "trainer", "datasetGroups": {"default": ["dataset"] * 2}}],
        "dataset.json": {"url": "file://./nothing", "dataFormat": "none", "realm": "default"},
        "trainer/main.py": TRAINER,
        "aggregator/main.py": AGGREGATOR,
        **change,
    }
    for name, content in files.items():
        if content is not None:
            path = top / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content if isinstance(content, str) else json.dumps(content))
    return top


def model(**content: Any) -> dict[str, Any]:
    return {"modelSpec.json": {"hyperparameters": {"rounds": 2}, **content}}


WRONG: dict[str, tuple[dict[str, Any], list[str], str]] = {
    "no schema": ({"schema.json": None}, [], r"\S*/job: has no schema\.json"),
    "a broken schema": ({"schema.json": '{"name": "x",\n  oops}'}, [], r"schema\.json:2:3: is not JSON"),
    "a broken job": ({"job.json": "{"}, [], r"job\.json:1:2: is not JSON"),
    "a broken model": ({"modelSpec.json": "[]"}, [], r"modelSpec\.json: is not a JSON object"),
    "a broken data file": ({"dataset.json": "nothing"}, [], r"dataset\.json:1:1: is not JSON"),
    "no data file": ({"dataSpec.json": None}, [], r"job\.json: dataSpecPath: there is no file 'dataSpec\.json'"),
    "a dataset that is not there": (
        {"dataSpec.json": [{"role": "trainer", "datasetGroups": {"default": ["dataset", "other"]}}]},
        [],
        r"dataSpec\.json: \[0\]\.datasetGroups\.default\[1\]: no dataset 'other'",
    ),
    "a role that is not there": (
        {"dataSpec.json": [{"role": "nobody", "datasetGroups": {"default": ["dataset"]}}]},
        [],
        r"dataSpec\.json: \[0\]\.role: no role named 'nobody'",
    ),
    "no program": ({"trainer/main.py": None}, [], r"trainer"),
    "a program that is none": ({"trainer/main.py": "x = 1\n"}, [], r"trainer/main\.py: role trainer: no class here"),
    "a program with an error": ({"trainer/main.py": "x = = 1\n"}, [], r"trainer/main\.py:1: role trainer: invalid"),
    "rounds that are no number": (model(hyperparameters={"rounds": "many"}), [], r"modelSpec\.json: .*rounds"),
    "an optimizer that nobody knows": (model(optimizer={"sort": "fedmagic"}), [], r"fedmagic"),
    "a selector that nobody knows": (model(selector={"sort": "magic"}), [], r"magic"),
    "a key that is no setting": (
        {},
        ["--set", "hyperparameters.colour=red"],
        r"--set hyperparameters\.colour: no such",
    ),
    "no value": ({}, ["--set", "hyperparameters.rounds"], r"--set: 'hyperparameters\.rounds' is not KEY=VALUE"),
    "a value that is none": ({}, ["--set", "hyperparameters.rounds=many"], r"rounds"),
    "another schema that is not there": ({}, ["--schema", "nowhere.json"], r"nowhere\.json"),
    "other data that are not there": ({}, ["--data", "nowhere.json"], r"nowhere\.json: cannot be read"),
}
LATE: dict[str, tuple[dict[str, Any], list[str], str]] = {
    "an argument that the optimizer does not take": (
        model(optimizer={"sort": "fedprox", "kwargs": {"nu": 1}}),
        [],
        r"optimizer\.kwargs",
    ),
    "an argument that the optimizer lacks": (model(optimizer={"sort": "fedprox"}), [], r"optimizer\.kwargs\.mu"),
    "an argument that the selector does not take": (
        model(selector={"sort": "random", "kwargs": {"k": "all"}}),
        [],
        r"selector\.kwargs\.k",
    ),
}


def refused(capfd: pytest.CaptureFixture[str], arguments: list[str], said: str) -> None:
    """Status 2, nothing on standard output, and one message, in one piece, that says where."""
    assert main(["run", *arguments]) == 2
    out, err = capfd.readouterr()
    messages = [line for line in err.splitlines() if not re.match(r"note: |\S+ · starting$", line)]
    assert out == "" and "Traceback" not in err and 'File "' not in err
    assert len([line for line in messages if not line.startswith("  ")]) == 1 and messages[0].startswith("flame: ")
    assert re.search(said, "\n".join(messages)), err


@pytest.mark.parametrize("case", WRONG)
def test_wrong_input_is_one_located_message(tmp_path: Path, capfd: pytest.CaptureFixture[str], case: str) -> None:
    change, arguments, said = WRONG[case]
    folder, out = job(tmp_path / "job", **change), tmp_path / "out"
    refused(capfd, [str(folder), "--hosts", "0", "--out", str(out), *arguments], said)
    assert not out.exists()


@pytest.mark.parametrize("case", LATE)
def test_wrong_settings_are_found_before_anything_runs(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], case: str
) -> None:
    change, arguments, said = LATE[case]
    folder, out = job(tmp_path / "job", **change), tmp_path / "out"
    refused(capfd, [str(folder), "--hosts", "0", "--out", str(out), *arguments], said)


def test_a_folder_that_is_not_there(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    refused(capfd, [str(tmp_path / "nowhere")], r"/nowhere: is not a folder")


@pytest.mark.parametrize("out", ["a-file", "a-file/below"])
def test_a_run_directory_that_cannot_be_made(tmp_path: Path, capfd: pytest.CaptureFixture[str], out: str) -> None:
    (tmp_path / "a-file").touch()
    refused(capfd, [str(job(tmp_path / "job")), "--hosts", "0", "--out", str(tmp_path / out)], r"a-file")


@pytest.mark.parametrize("arguments", [["--hosts", "-1"], ["--hosts", "two"], ["--seed", "x"], ["--colour"], []])
def test_wrong_arguments(tmp_path: Path, capfd: pytest.CaptureFixture[str], arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["run", *([str(tmp_path)] if arguments else []), *arguments])
    out, err = capfd.readouterr()
    assert ended.value.code == 2 and out == "" and re.match(r"flame( run)?: error: ", err.splitlines()[-1])


def test_a_run_says_where_its_results_are(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert (
        main(["run", str(job(tmp_path / "job")), "--hosts", "1", "--out", "out", "--set", "hyperparameters.rounds=3"])
        == 0
    )
    out, err = capfd.readouterr()
    lines = out.splitlines()
    assert "completed" in lines[0] and "3 rounds" in lines[0]
    assert any(line.split() == ["loss", "0.3333"] for line in lines)
    assert lines[-2:] == ["report  out/report.html", "model   out/model.safetensors"]
    for line in lines[-2:]:
        assert Path(line.split()[1]).is_file()
    starting, *shown = err.splitlines()
    assert starting == "small · starting" and shown
    assert all(re.match(r"small · round \d/3 · 3 workers in 1 host · [1-9]\d* B sent · \d+ s", line) for line in shown)


def test_nothing_is_said_of_a_run_that_is_not_on_a_terminal_before_a_round_is_over(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    broken = TRAINER.replace("self.model += 1", "raise ValueError('no')")
    folder = job(tmp_path / "job", **{"trainer/main.py": broken})
    assert main(["run", str(folder), "--hosts", "1", "--out", str(tmp_path / "out")]) == 1
    assert [line for line in capfd.readouterr().err.splitlines() if " · " in line] == ["small · starting"]


def test_a_single_thing_is_not_counted_as_several(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    schema = str(job(tmp_path) / "schema.json")
    assert main(["tag", "check", schema]) == 0
    assert capfd.readouterr().out == f"{schema}: sound: 2 roles, 1 channel\n"


def test_the_version_is_the_one_that_is_installed(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == 0
    assert capfd.readouterr() == (f"flame {metadata.version('flame-fl')}\n", "")


def test_quiet_is_quiet(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["run", str(job(tmp_path / "job")), "--hosts", "1", "--quiet", "--out", str(tmp_path / "out")]) == 0
    out, err = capfd.readouterr()
    assert err == "" and "completed" in out


def test_a_worker_that_fails_is_shown_with_its_traceback(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    broken = TRAINER.replace("self.model += 1", "self.model = np.zeros(4, np.float32)")
    folder = job(tmp_path / "job", **{"trainer/main.py": broken})
    assert main(["run", str(folder), "--hosts", "2", "--out", str(tmp_path / "out")]) == 1
    out, err = capfd.readouterr()
    *_, cause, last = err.splitlines()
    assert out == "" and "WeightsError" in cause and "array" in cause
    assert re.fullmatch(r"flame: worker trainer/\d \(role trainer\) failed; nothing is left running", last)


def test_on_a_terminal_one_line_is_rewritten(tmp_path: Path) -> None:
    """And it is gone when the run is over."""
    slow = TRAINER.replace(
        "        self.model += 1\n", "        import time; time.sleep(0.15)\n        self.model += 1\n"
    )
    folder = job(tmp_path / "job", **{"trainer/main.py": slow})
    leader, follower = pty.openpty()
    termios.tcsetwinsize(follower, (24, 120))
    command = [sys.executable, "-c", ENTRY, "run", str(folder), "--hosts", "2", "--out", str(tmp_path / "out")]
    command += ["--set", "hyperparameters.rounds=6"]
    started = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=follower, text=True)
    os.close(follower)
    shown, end = b"", time.monotonic() + 20
    while time.monotonic() < end:
        if select.select([leader], [], [], 0.1)[0]:
            try:
                shown += os.read(leader, 1 << 16)
            except OSError:  # the other side has been closed
                break
    os.close(leader)
    out, _ = started.communicate(timeout=5)
    assert started.returncode == 0 and "completed" in out
    text = shown.decode()
    frames = [frame for frame in text.split("\r") if frame.strip()]
    assert len(frames) >= 3 and "\n" not in text
    assert frames[0] == "small · starting"
    assert all("3 workers in 2 hosts" in frame for frame in frames[1:]) and not any("0.0 MB" in f for f in frames)
    assert re.search(r"round \d/6", frames[-1]) and "left" in frames[-1]
    assert text.endswith("\r") and not text.split("\r")[-2].strip()  # blanks over the last line
