"""Keras programs written for Cisco's Flame, started one by one, and by `flame run`."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import upstream
from upstream import DOWN, PROGRAMS, UP, Machine, aggregator, channel, config, finished, trainer, until

from flame.lab.result import Result

PATIENCE_S = 60.0
FEDBUFF = {"selector": {"sort": "fedbuff", "kwargs": {"c": 2}}, "optimizer": {"sort": "fedbuff", "kwargs": {}}}


@pytest.fixture(autouse=True)
def backend(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keras's backend is the user's to choose: here the one that compiles nothing."""
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setattr(upstream, "PATIENCE_S", PATIENCE_S)  # five of these at once import for a while


def ok(process: subprocess.Popen[str]) -> Any:
    status, said, err = finished(process, PATIENCE_S)
    assert status == 0, err
    return said


@pytest.mark.timeout(150)
@pytest.mark.parametrize("machine", ["p2p"], indirect=True)
def test_mnist(machine: Machine) -> None:
    """Example 21: an aggregator and a trainer; `self.weights` is a list of arrays as `set_weights` takes it."""
    top = machine.start("keras_aggregator", aggregator(hyper={"rounds": 4}), "top")
    received, losses = ok(machine.start("keras_trainer", trainer(hyper={"epochs": 4}), "site"))
    models = ok(top)
    assert len(models) == 4 and len(received) == 4
    assert received[1:] == pytest.approx(models[:-1])
    assert losses == sorted(losses, reverse=True) and losses[-1] < losses[0] - 0.05


@pytest.mark.timeout(200)
@pytest.mark.parametrize("machine", ["shm"], indirect=True)
def test_async_mnist(machine: Machine) -> None:
    """Example 3, with two trainers: a step for every two updates."""
    hyper = {"rounds": 4, "aggGoal": 2, "epochs": 1, "minPeers": 2}
    sites = [machine.start("keras_trainer", trainer(hyper=hyper, **FEDBUFF), f"site-{n}") for n in range(2)]
    models = ok(machine.start("keras_async_aggregator", aggregator(hyper=hyper, **FEDBUFF), "top"))
    assert len(models) == 4 and len(set(models)) == 4
    for site in sites:
        ok(site)


@pytest.mark.timeout(200)
@pytest.mark.parametrize("machine", ["shm"], indirect=True)
def test_async_hier_mnist(machine: Machine) -> None:
    """Example 2, with a trainer per region."""
    hyper = {"rounds": 3, "aggGoal": 1, "epochs": 1}
    up, down = channel("global-channel", UP), channel("param-channel", DOWN, "uk", "us")
    started = []
    for group in ("uk", "us"):
        groups = {"param-channel": group, "global-channel": "default"}
        middle = config("middle-aggregator", [down, up], groups, hyper=hyper, **FEDBUFF)
        started.append(machine.start("async_middle_aggregator", middle, f"m-{group}"))
        site = config("trainer", [down], {"param-channel": group}, hyper=hyper, **FEDBUFF)
        started.append(machine.start("keras_trainer", site, f"t-{group}"))
    for name in ("t-uk", "t-us"):
        until(machine.sign(name, "loading").exists, f"{name} loads")
    top = config("top-aggregator", [up], {"global-channel": "default"}, hyper=hyper, **FEDBUFF)
    assert len(set(ok(machine.start("keras_async_aggregator", top, "top")))) == 3
    for process in started:
        ok(process)


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
