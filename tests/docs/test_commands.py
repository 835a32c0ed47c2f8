"""The Makefile, CI's script and the bench: what they promise by name is there."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from flame.config.job import read_job
from flame.tag import check, expand

ROOT = Path(__file__).resolve().parents[2]
PROMISED = {"help", "run", "test", "check", "bench", "fix", "docs", "fuzz", "clean"}


def test_make_help_lists_every_promised_target() -> None:
    said = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert set(re.findall(r"^  make ([a-z]+)", said, re.MULTILINE)) == PROMISED


def test_ci_runs_what_everybody_runs() -> None:
    commands = [line for line in (ROOT / ".ci" / "run").read_text().splitlines() if line and line[0] != "#"]
    assert commands[-1].startswith("make test")
    assert all(line.startswith(("set ", "cd ")) for line in commands[:-1])


@pytest.mark.parametrize("programs", ["a_cnn", "b_transfer", "c_cohort", "e_crowd"])
def test_the_jobs_of_the_bench_are_sound(programs: str, tmp_path: Path) -> None:
    job = shutil.copytree(ROOT / "bench" / programs, tmp_path / "job")
    groups = {"default": ["synthetic", "synthetic"]}
    (job / "dataSpec.json").write_text(json.dumps([{"role": "trainer", "datasetGroups": groups}]))
    files = read_job(job)
    assert check(files.tag, data=files.data) == []
    assert len(expand(files.tag, files.data, job_id="bench")) == 3


def test_the_bench_knows_its_workloads() -> None:
    done = subprocess.run([sys.executable, "-m", "bench", "Z"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "A, B, C, D, E" in done.stderr
