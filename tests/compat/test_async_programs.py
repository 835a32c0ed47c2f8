"""Asynchronous programs written for Cisco's Flame, started one by one."""

from __future__ import annotations

import time
from typing import Any

from upstream import DOWN, UP, Machine, aggregator, channel, config, ok, trainer, until

FEDBUFF = {
    "selector": {"sort": "fedbuff", "kwargs": {"c": 2}},
    "optimizer": {"sort": "fedbuff", "kwargs": {}},
}


def hyper(**more: Any) -> dict[str, Any]:
    return {"rounds": 12, "aggGoal": 1, **more}


def test_nobody_waits_for_a_slow_trainer(machine: Machine) -> None:
    """One takes half a second for a round, the other none: twelve steps take far less than twelve halves."""
    sites = [
        machine.start("trainer", trainer(hyper=hyper(learningRate=1.0, work=work), **FEDBUFF), name)
        for name, work in (("slow", 0.5), ("quick", 0.02))
    ]
    for name in ("slow", "quick"):
        until(machine.sign(name, "loading").exists, "both load")
    top = machine.start("async_aggregator", aggregator(hyper=hyper(minPeers=2), **FEDBUFF), "top")
    until(machine.sign("top", "round-1").exists, "the first step")
    begun = time.monotonic()
    models = ok(top)
    assert time.monotonic() - begun < 4
    assert len(models) == 12 and models == sorted(models) and models[-1] > 8  # stale updates weigh less
    rounds = [[number for number, *_ in ok(site)] for site in sites]
    assert len(rounds[0]) < len(rounds[1])


def test_a_trainer_that_is_killed_is_not_waited_for(machine: Machine) -> None:
    stays = machine.start("trainer", trainer(hyper=hyper(work=0.05), **FEDBUFF), "stays")
    goes = machine.start("trainer", trainer(hyper=hyper(hangIn=2), **FEDBUFF), "goes")
    for name in ("stays", "goes"):
        until(machine.sign(name, "loading").exists, f"{name} loads")
    top = machine.start("async_aggregator", aggregator(hyper=hyper(minPeers=2, aggGoal=2), **FEDBUFF), "top")
    until(machine.sign("goes", "round-2").exists, "the second round")
    goes.kill()
    assert len(ok(top)) == 12
    ok(stays)


def test_a_hierarchy(machine: Machine) -> None:
    up = channel("global-channel", UP)
    down = channel("param-channel", DOWN, "uk", "us")
    middles, sites = [], []
    for group in ("uk", "us"):
        groups = {"param-channel": group, "global-channel": "default"}
        middle = config("middle-aggregator", [down, up], groups, hyper=hyper(), **FEDBUFF)
        middles.append(machine.start("async_middle_aggregator", middle, f"m-{group}"))
        for number in range(2):
            site = config("trainer", [down], {"param-channel": group}, hyper=hyper(work=0.02), **FEDBUFF)
            sites.append(machine.start("trainer", site, f"t-{group}-{number}"))
    for name in ("m-uk", "m-us", "t-uk-0", "t-uk-1", "t-us-0", "t-us-1"):
        until(machine.sign(name, "loading").exists, f"{name} loads")
    top = config("top-aggregator", [up], {"global-channel": "default"}, hyper=hyper(), **FEDBUFF)
    models = ok(machine.start("async_aggregator", top, "top"))
    assert len(models) == 12 and models == sorted(models) and models[-1] > models[0]
    for process in (*middles, *sites):
        ok(process)
