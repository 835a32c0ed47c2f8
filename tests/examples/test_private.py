"""Digits under differential privacy, of sites and of images, by one line of the settings."""

from __future__ import annotations

import json
from pathlib import Path

import flame

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "private"
DPSGD = {"sort": "dpsgd", "kwargs": {"noise_multiplier": 3.0, "max_grad_norm": 1.0, "target_epsilon": 8}}


def test_a_model_learns_from_sites_that_cannot_be_told_from_it(tmp_path: Path) -> None:
    result = flame.run(EXAMPLE, seed=1, hosts=0, out=tmp_path)
    assert result.final("test-accuracy") > 0.85
    budget = json.loads((EXAMPLE / "modelSpec.json").read_text())["privacy"]["kwargs"]["target_epsilon"]
    assert 0 < result.final("epsilon") < budget


def test_the_same_programs_protect_single_images(tmp_path: Path) -> None:
    changes = {f"privacy.{key}": value for key, value in DPSGD.items()}
    result = flame.run(EXAMPLE, seed=1, hosts=0, out=tmp_path, rounds=4, set=changes)
    assert result.final("test-accuracy") > 0.4
    assert all(0 < curve[-1][1] < 8 for curve in result.series("epsilon").values())
