"""Programs in the shape of upstream's medmnist_oort example: as processes of their own, and in one host."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from upstream import PROGRAMS, Machine, aggregator, finished, ok, trainer, until

import flame

SITES, NEEDED, ROUNDS, EPOCHS = 3, 2, 8, 2
IMPORT_S = 90.0
"""So long may it take to import torch, where others do the same."""
OORT = {"selector": {"sort": "oort", "kwargs": {"aggr_num": NEEDED}}}


def hyper(**more: Any) -> dict[str, Any]:
    return {"rounds": ROUNDS, "epochs": EPOCHS, "batchSize": 16, "minPeers": SITES, **more}


@pytest.mark.parametrize("machine", ["p2p"], indirect=True)
def test_whoever_is_slow_holds_nobody_up(machine: Machine) -> None:
    """The rounds are over with the first two answers; one that takes three seconds holds nobody up."""
    wanted = {"selector": {"sort": "oort", "kwargs": {"aggr_num": NEEDED, "over_commit": 1.5}}}
    sites = [
        machine.start(
            "oort_trainer", trainer(dataset=f"site-{number}", hyper=hyper(work=3.0 * (number == 2))), f"t-{number}"
        )
        for number in range(SITES)
    ]
    for number in range(SITES):
        until(machine.sign(f"t-{number}", "loading").exists, "it loads", IMPORT_S)
    top = machine.start("oort_aggregator", aggregator(hyper=hyper(), **wanted), "top")
    status, losses, err = finished(top, IMPORT_S)
    assert status == 0, err
    assert len(losses) == ROUNDS and losses[-1] < losses[0]
    trained = [ok(site) // EPOCHS for site in sites]
    assert sum(trained) >= ROUNDS * NEEDED and trained[2] < ROUNDS


@pytest.mark.parametrize("time", [None, {"seconds": 1.0, "workers": {"sort": "pareto", "alpha": 1.0}}])
def test_the_same_programs_in_hosts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, time: Any) -> None:
    """The classes as they are; any number of hosts gives the same bits."""
    monkeypatch.syspath_prepend(str(PROGRAMS))
    monkeypatch.chdir(tmp_path)
    from oort_aggregator import OortAggregator
    from oort_trainer import OortTrainer

    numbers = hyper() | ({} if time is None else {"simulatedTime": time})
    results = [
        flame.run(
            trainer=OortTrainer,
            aggregator=OortAggregator,
            data=range(SITES),
            settings={**OORT, "hyperparameters": numbers},
            hosts=hosts,
            out=tmp_path / str(hosts),
        )
        for hosts in (0, 2)
    ]
    first, second = ([a.tobytes() for a in result.weights().arrays().values()] for result in results)
    assert first == second
    assert {row.folded for row in results[0].history.top_rounds} == {NEEDED}
    assert results[0].final("Val Loss") < results[0].series("Val Loss")["aggregator/0"][0][1]
    for name in ("oort_aggregator", "oort_trainer"):
        sys.modules.pop(name)
