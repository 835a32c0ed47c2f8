"""One example for each framework, run as its reader would."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from flame.lab.result import Result

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
ALONE = {**os.environ, "KERAS_BACKEND": "torch", "JAX_PLATFORMS": "cpu", "OMP_NUM_THREADS": "1"}


def run(*command: object, within_s: float = 100) -> str:
    words = [str(word) for word in command]
    done = subprocess.run(words, env=ALONE, capture_output=True, text=True, check=False, timeout=within_s)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def script(name: str, out: Path, *more: object) -> str:
    return run(sys.executable, EXAMPLES / name / "main.py", "--out", out, *more)


def test_sklearn_clinics_do_better_together(tmp_path: Path) -> None:
    alone, together = script("sklearn", tmp_path / "run").strip().splitlines()[-2:]
    assert float(together.split()[-1]) > max(map(float, alone.split()[2:]))


@pytest.mark.timeout(150)
def test_jax_sites_that_lack_half_of_the_digits_learn_them_all(tmp_path: Path) -> None:
    script("jax", tmp_path / "run", "--rounds", 4)
    result = Result(tmp_path / "run")
    assert result.final("test-accuracy") > 0.75
    assert set(result.weights().arrays()) == {"hidden/b", "hidden/w", "out/b", "out/w"}


@pytest.mark.timeout(150)
def test_flax_sites_average_the_statistics_of_their_normalisation(tmp_path: Path) -> None:
    script("flax", tmp_path / "run", "--rounds", 4)
    result = Result(tmp_path / "run")
    assert result.final("test-accuracy") > 0.75
    norm = {name.removeprefix("norm/"): values for name, values in result.weights().arrays().items() if "norm" in name}
    assert set(norm) == {"bias", "mean", "scale", "var"}
    assert norm["mean"].any() and (norm["var"] > 0).all()


@pytest.mark.parametrize("tag", ["two-tier", "hierarchical"])
def test_xgboost_clinics_collect_their_trees(tmp_path: Path, tag: str) -> None:
    script("xgboost", tmp_path / "run", "--tag", tag)
    role = {"two-tier": "aggregator", "hierarchical": "top-aggregator"}[tag]
    result = Result(tmp_path / "run")
    ((_, auc),) = result.series("test-auc", role=role).items()
    ((_, trees),) = result.series("trees", role=role).items()
    assert [count for _, count in trees] == [4 * number for number in range(1, 11)]
    assert np.mean([value for _, value in auc[-3:]]) > np.mean([value for _, value in auc[:3]]) > 0.98


@pytest.mark.timeout(150)
def test_lora_sends_a_twentieth_of_the_model(tmp_path: Path) -> None:
    said = script("lora", tmp_path / "run", "--base", tmp_path / "base.pt", "--rounds", 3)
    report = json.loads(said[said.rindex("{") :])
    assert report["accuracy"] > report["accuracy-before"] + 0.3
    assert report["bytes-that-travel"] < 0.06 * report["bytes-of-the-model"]
    assert all("lora_" in name for name in Result(tmp_path / "run").weights().arrays())
    sent = Result(tmp_path / "run").history.facts["bytes_sent"]
    models = 2 * 3 * 3  # down and up again, three sites, three rounds
    assert models * report["bytes-that-travel"] <= sent < 0.07 * models * report["bytes-of-the-model"]


@pytest.mark.timeout(150)
def test_keras_sites_share_a_network(tmp_path: Path) -> None:
    flame = Path(sys.executable).with_name("flame")
    rounds = ["--set", "hyperparameters.rounds=4"]
    run(flame, "run", EXAMPLES / "keras", "--out", tmp_path / "run", "--seed", 1, *rounds)
    assert Result(tmp_path / "run").final("test-accuracy") > 0.6


@pytest.mark.parametrize(
    ("example", "package", "extra"),
    [
        ("jax", "jax", "jax"),
        ("flax", "flax", "jax"),
        ("sklearn", "sklearn", "sklearn"),
        ("xgboost", "xgboost", "xgboost"),
        ("lora", "peft", "lora"),
    ],
)
def test_who_lacks_a_framework_reads_what_to_install(tmp_path: Path, example: str, package: str, extra: str) -> None:
    done = subprocess.run(
        [sys.executable, EXAMPLES / example / "main.py"],
        env=lacking(package, tmp_path),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == f"{package} is not installed: pip install 'flame-fl[{extra}]'\n"
    assert done.returncode == 1


def test_a_role_that_lacks_its_framework_says_what_to_install(tmp_path: Path) -> None:
    command = [Path(sys.executable).with_name("flame"), "run", EXAMPLES / "keras", "--out", tmp_path / "run"]
    done = subprocess.run(command, env=lacking("keras", tmp_path), capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.endswith("No module named 'keras' (pip install 'flame-fl[keras]')\n")
    assert not (tmp_path / "run").exists()


def lacking(package: str, folder: Path) -> dict[str, str]:
    """An environment in which importing a package fails as it does where it is not installed."""
    missing = f"raise ModuleNotFoundError(\"No module named '{package}'\", name={package!r})\n"
    (folder / f"{package}.py").write_text(missing)
    return {**ALONE, "PYTHONPATH": os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")])}
