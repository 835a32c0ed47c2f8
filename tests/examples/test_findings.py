"""The findings' commands run from end to end, and what they say of several seeds is what the numbers say."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "findings"
FINDINGS = ("adaptive", "skew", "stragglers", "oort")


@pytest.fixture(scope="module")
def intervals(load):
    return load("findings/intervals.py")


@pytest.fixture(scope="module")
def federation(load):
    return load("findings/federation.py")


def command(*arguments: str, out: Path) -> str:
    done = subprocess.run(
        [sys.executable, str(EXAMPLE / "run.py"), *arguments, f"--out={out}", "--jobs=2"],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("finding", FINDINGS)
def test_a_finding_is_one_command(finding: str, tmp_path: Path) -> None:
    plan = json.loads((EXAMPLE / f"{finding}.json").read_text())
    told = command(finding, "--seeds=2", "--rounds=2", out=tmp_path)
    rows = [line for line in told.splitlines() if line.startswith("| ")]
    assert [row.split("|")[1].strip() for row in rows[2:]] == list(plan["arms"])
    result = json.loads((tmp_path / finding / "result.json").read_text())
    for arm, found in result["arms"].items():
        assert len(found["curves"]) == len(found["times"]) == len(found["accuracies"]) == 2, arm
        assert all(len(curve) == 2 and all(0 < accuracy < 1 for _, accuracy in curve) for curve in found["curves"])
        assert found["curves"][0] != found["curves"][1]  # another seed is another federation
    svg = (tmp_path / finding / f"{finding}.svg").read_text()
    assert all(f">{arm} " in svg for arm in plan["arms"]) and plan["title"] in svg


def test_arms_are_tuned_over_their_grid_on_other_seeds(tmp_path: Path) -> None:
    command("oort", "--tune", "--rounds=1", out=tmp_path)
    mine = json.loads((tmp_path / "oort" / "tuned.json").read_text())
    for finding, tuned in [
        ("oort", mine),
        *((f, json.loads((EXAMPLE / "tuned" / f"{f}.json").read_text())) for f in FINDINGS),
    ]:
        plan = json.loads((EXAMPLE / f"{finding}.json").read_text())
        assert min(tuned["seeds"]) > 100  # those that are reported begin with 1
        assert list(tuned["best first"]) == list(plan["arms"])
        for arm, rows in tuned["best first"].items():
            axes = {**plan["grid"], **plan["arms"][arm].get("grid", {})}
            points = {json.dumps([row["settings"][key] for key in axes]) for row in rows}
            assert len(points) == len(rows) == math.prod(map(len, axes.values()))
            order = [(row[plan["counts"]], -row["accuracy"]) for row in rows]
            assert order == sorted(order)


def test_the_interval_of_a_mean_is_students(intervals) -> None:
    found = intervals.interval([1.0, 2.0, 3.0, 4.0, 5.0])
    half = 2.776445 * math.sqrt(2.5 / 5)  # t of 4 degrees of freedom; the variance is 2.5
    assert found == pytest.approx((3.0, 3.0 - half, 3.0 + half), rel=1e-6)
    assert intervals.interval([0.5, 0.5, 0.5]) == (0.5, 0.5, 0.5)
    assert intervals.interval([7.0]) == (7.0, -math.inf, math.inf)
    with pytest.raises(ValueError, match="no values"):
        intervals.interval([])


def test_a_paired_difference_does_not_see_what_the_seeds_have_in_common(intervals) -> None:
    base, faster = [100.0, 40.0, 10.0], [90.0, 29.0, 1.0]  # less 10, 11, 9
    half = 4.302653 * math.sqrt(1 / 3)
    assert intervals.difference(faster, base) == pytest.approx((-10.0, -10.0 - half, -10.0 + half), rel=1e-6)
    assert intervals.ratio([10.0, 40.0], [20.0, 20.0]).mean == pytest.approx(1.0)  # half and twice
    assert intervals.ratio([5.0, 10.0], [10.0, 20.0]) == pytest.approx((0.5, 0.5, 0.5))
    with pytest.raises(ValueError):
        intervals.difference([1.0], base)


def test_a_run_that_never_gets_there_is_neither_left_out_nor_guessed(intervals) -> None:
    curve = [(1.0, 0.2), (2.0, 0.6), (3.0, 0.4), (4.0, 0.7)]
    assert intervals.reached(curve, 0.5, 4.0) == 2.0  # the first time counts
    assert intervals.reached(curve, 0.7, 4.0) == 4.0
    assert intervals.reached(curve, 0.7, 3.5) is None  # too late
    assert intervals.reached(curve, 0.9, 4.0) is None
    assert intervals.reached(curve, 0.6, 9.0) == 2.0  # it ended early, but had been there
    with pytest.raises(ValueError, match="give it more rounds"):
        intervals.reached(curve, 0.9, 9.0)


def test_between_rounds_a_curve_is_what_it_was(intervals) -> None:
    curve = [(10.0, 0.1), (20.0, 0.3), (30.0, 0.5)]
    assert [intervals.level(curve, x) for x in (10, 19.9, 20, 99)] == [0.1, 0.1, 0.3, 0.5]
    assert math.isnan(intervals.level(curve, 9.9))
    assert intervals.at_end(curve, 25.0) == pytest.approx(0.2)
    assert intervals.smoothed(curve) == [(10.0, 0.1), (20.0, pytest.approx(0.2)), (30.0, pytest.approx(0.3))]
    assert intervals.at_end([(float(x), float(x)) for x in range(1, 11)], 10.0) == 8.0  # of the last five


def test_sites_hold_every_image_once_and_as_many_classes_as_asked(federation) -> None:
    everything = np.sort(federation.pixels(federation.images("")["train_images"]).sum(1))
    for sites in ({"number": 9, "classes": 1}, {"number": 12, "classes": 2}, {"number": 30, "alpha": 0.3}):
        hands, others = (federation.deal("", sites, seed) for seed in (1, 2))
        assert len(hands) == sites["number"]
        assert np.array_equal(np.sort(np.concatenate([rows.sum(1) for rows, _ in hands])), everything)
        assert any(a[1].tolist() != b[1].tolist() for a, b in zip(hands, others, strict=True))
        if "classes" in sites:
            assert max(len(np.unique(labels)) for _, labels in hands) <= 2 * sites["classes"]
            assert len({len(labels) for _, labels in hands}) <= sites["classes"] + 1


def test_the_gradient_is_the_slope_of_the_loss(federation) -> None:
    rng = np.random.default_rng(0)
    rows, labels = rng.normal(size=(6, 147)), rng.integers(0, 9, 6)
    model = {name: array.astype(np.float64) for name, array in federation.network().items()}
    losses, gradient = federation.losses_and_gradient(model, rows, labels)
    assert losses.mean() == pytest.approx(math.log(9), rel=0.3)
    for name, array in model.items():
        way = rng.normal(size=array.shape)
        ahead, behind = (
            federation.losses_and_gradient({**model, name: array + step * way}, rows, labels)[0].mean()
            for step in (1e-6, -1e-6)
        )
        assert (gradient[name] * way).sum() == pytest.approx((ahead - behind) / 2e-6, rel=1e-4, abs=1e-8)
