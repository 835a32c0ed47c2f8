"""Coordinated programs written for Cisco's Flame, one process each: who comes late, who dies, and whose death ends all.

Each mode and role is met over one network, each network by several modes: what the modes do is above the networks.
"""

from __future__ import annotations

import random
import time
from pathlib import Path

import pytest
from coordinated import ASYNC, DEEP, SYNC, Town, job_folder
from upstream import Machine, finished, ok, until

import flame

FEDBUFF = {"optimizer": {"sort": "fedbuff", "kwargs": {}}}


@pytest.mark.parametrize("machine", ["mqtt"], indirect=True)
def test_a_late_joiner_gets_work(machine: Machine) -> None:
    """Also a middle aggregator; and a top with fewer rounds than the coordinator ends the training."""
    town = Town(machine, SYNC, hyper={"rounds": 60})
    coordinator = town.start("coordinator", "coordinator", rounds=1000)
    top = town.start("top-aggregator", "top")
    middles = [town.start("middle-aggregator", "m0")]
    early = town.start("trainer", "early", work=0.05)
    until(machine.sign("early", "round-2").exists, "the second round")
    middles.append(town.start("middle-aggregator", "m1"))
    late = town.start("trainer", "late", work=0.05)
    assert len(ok(top)) == 60 and len(ok(early)) == 60
    rounds = ok(late)
    assert rounds and rounds == list(range(rounds[0], 61)) and rounds[0] > 1
    assert any(ok(middle) for middle in middles)
    ok(coordinator)


@pytest.mark.parametrize(
    ("mode", "role", "machine"),
    [
        (SYNC, "trainer", "p2p"),
        (SYNC, "middle-aggregator", "mqtt"),
        (DEEP, "trainer", "mqtt"),
        (DEEP, "middle-aggregator", "shm"),
        (ASYNC, "trainer", "shm"),
        (ASYNC, "middle-aggregator", "p2p"),
    ],
    indirect=["machine"],
)
def test_whoever_is_killed_is_not_waited_for(machine: Machine, mode: str, role: str) -> None:
    """At any moment; whoever worked with it is given to somebody else."""
    town = Town(machine, mode, hyper={"rounds": 12, "aggGoal": 1}, **(FEDBUFF if mode == ASYNC else {}))
    workers = town.middles()
    for number in range(3):
        workers[f"t{number}"] = town.start("trainer", f"t{number}", work=0.05)
    workers |= town.lead(*workers, minPeers=3)
    top = workers.pop("top")
    until(machine.sign("t0", "round-1").exists, "the first round")
    time.sleep(random.uniform(0.0, 0.3))
    victim = workers.pop("t1" if role == "trainer" else "m0")
    victim.kill()
    models = ok(top)
    assert len(models) == 12 and models == sorted(models) and models[-1] > models[0]
    for process in workers.values():
        ok(process)


@pytest.mark.parametrize("mode", [SYNC, DEEP, ASYNC])
def test_the_same_programs_in_one_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: str) -> None:
    """Example syncfl_hier_coord_mnist, as a job's folder: two of each aggregator, three trainers, over MQTT by name."""
    monkeypatch.chdir(tmp_path)
    result = flame.run(job_folder(tmp_path, mode), hosts=2, out=tmp_path / "out")
    [curve] = result.series("first").values()
    assert [number for number, _ in curve] == [1, 2, 3, 4]
    if mode != ASYNC:
        assert [value for _, value in curve] == [1.0, 2.0, 3.0, 4.0]
    assert len(result.series("train-loss")) == 3


@pytest.mark.parametrize(
    ("mode", "role", "machine"),
    [(SYNC, "coordinator", "mqtt"), (SYNC, "top", "p2p"), (ASYNC, "coordinator", "shm"), (ASYNC, "top", "mqtt")],
    indirect=["machine"],
)
def test_without_its_coordinator_or_its_top_everybody_ends_with_an_error(
    machine: Machine, mode: str, role: str
) -> None:
    town = Town(machine, mode, hyper={"rounds": 1000}, **(FEDBUFF if mode == ASYNC else {}))
    workers = town.middles()
    workers |= {f"t{number}": town.start("trainer", f"t{number}", work=0.05) for number in range(2)}
    workers |= town.lead(*workers, minPeers=2)
    until(machine.sign("top", "round-2").exists, "the second round")
    workers.pop(role).kill()
    for process in workers.values():
        status, _, err = finished(process)
        assert status != 0
        assert "flame.errors.PeerLost: " in err.strip().splitlines()[-1]
