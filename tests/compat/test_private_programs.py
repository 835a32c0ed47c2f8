"""The programs of upstream's dp_mnist, where the noise is added at the top, and in several hosts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from upstream import PROGRAMS, Machine, aggregator, finished, trainer

import flame

pytest.importorskip("torch")

PATIENCE_S = 60.0
"""Two processes import PyTorch."""
DP: dict[str, Any] = {"privacy": {"sort": "dp", "kwargs": {"clip_threshold": 0.1, "noise_factor": 0.0001}}}


@pytest.mark.parametrize("machine", ["shm"], indirect=True)
def test_an_aggregator_that_adds_the_noise_takes_no_update_that_was_not_clipped(machine: Machine) -> None:
    central = {"privacy": {"sort": "dp", "kwargs": {"clip_threshold": 0.5, "noise_multiplier": 1, "at": "server"}}}
    top = machine.start("dp_aggregator", aggregator(**central), "top")
    machine.start("dp_trainer", trainer(), "site")
    status, _, err = finished(top, PATIENCE_S)
    assert status != 0 and "was not clipped to 0.5: give all workers of the job the same privacy settings" in err


def test_the_same_programs_with_flame_run(tmp_path: Path) -> None:
    for role in ("trainer", "aggregator"):
        (tmp_path / role).mkdir()
        (tmp_path / role / "main.py").write_text((PROGRAMS / f"dp_{role}.py").read_text())
    (tmp_path / "schema.json").write_text(json.dumps(flame.tag.template("two-tier").to_dict()))
    (tmp_path / "dataset.json").write_text(json.dumps({"name": "d", "url": "d:"}))
    (tmp_path / "dataSpec.json").write_text(json.dumps([{"role": "trainer", "datasetGroups": {"default": ["d"] * 3}}]))
    (tmp_path / "modelSpec.json").write_text(json.dumps({"hyperparameters": {"rounds": 2}, **DP}))
    runs = [flame.run(tmp_path, hosts=hosts, seed=4, out=tmp_path / f"run-{hosts}") for hosts in (0, 2)]
    assert runs[0].weights().data.tobytes() == runs[1].weights().data.tobytes()
    assert len(runs[0].series("epsilon")) == 3
