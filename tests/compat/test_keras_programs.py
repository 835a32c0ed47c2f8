"""Keras programs written for Cisco's Flame, by `flame run` in several hosts."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from upstream import PROGRAMS

from flame.lab.result import Result


@pytest.fixture(autouse=True)
def backend(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keras's backend is the user's to choose: here the one that compiles nothing."""
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


@pytest.mark.timeout(150)
def test_flame_run_gives_the_same_bits_for_any_number_of_hosts(tmp_path: Path) -> None:
    """Shuffling and dropout draw from the worker's own stream, wherever it runs."""
    job = tmp_path / "mnist"
    shutil.copytree(PROGRAMS.parents[2] / "examples" / "keras", job)
    for role in ("trainer", "aggregator"):
        shutil.copy(PROGRAMS / f"keras_{role}.py", job / role / "main.py")
    bits = []
    for hosts in (0, 2):
        out = tmp_path / f"run-{hosts}"
        flame = str(Path(sys.executable).with_name("flame"))
        more = ["--set", "hyperparameters.rounds=2", "--hosts", str(hosts), "--seed", "3", "--out", str(out)]
        done = subprocess.run(
            [flame, "run", str(job), *more], env=os.environ, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        result = Result(out)
        assert result.history.facts["roles"] == {"aggregator": 1, "trainer": 3}
        bits.append(result.weights().data.tobytes())
    assert bits[0] == bits[1]
