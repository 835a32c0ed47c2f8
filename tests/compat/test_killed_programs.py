"""Programs of roles with a protocol of their own, of which one is killed at a random moment, over a network."""

from __future__ import annotations

import random
import time
from typing import Any

import pytest
import references
from test_all_examples import BIAS_TAGS, optimizer
from upstream import Machine, channel, config, finished, until

pytestmark = pytest.mark.timeout(240)  # three processes that import torch at the same time


def kill(process: Any, what: Any, within_s: float) -> None:
    """Once it has begun, at any moment of that time."""
    until(what, "it has begun", within_s=90)
    time.sleep(random.SystemRandom().uniform(0, within_s))
    process.kill()


def ok(process: Any) -> Any:
    status, said, err = finished(process, within_s=90)
    assert status == 0, err
    return said


@pytest.mark.parametrize("machine", ["mqtt"], indirect=True)
def test_the_bias_is_that_of_whoever_is_left(machine: Machine) -> None:
    """FedGFT takes two steps a round; the one who is killed may leave between them."""
    param, groups = channel("param-channel", BIAS_TAGS), {"param-channel": "default"}
    fedgft = optimizer("fedgft", fair="SP", gamma=10, reg="l2")
    more: dict[str, Any] = {"hyper": {**references.HYPER, "rounds": 60}, **fedgft}
    top = machine.start("fedgft_aggregator", config("aggregator", [param], groups, **more), "top")
    stays, goes = (
        machine.start("fedgft_trainer", config("trainer", [param], groups, dataset=url, **more), name)
        for name, url in zip(("stays", "goes"), references.saved(machine.folder / "data"), strict=True)
    )
    kill(goes, machine.sign("goes", "round-3").exists, within_s=0.2)
    biases, own = ok(top), ok(stays)
    assert len(biases) == len(own) == 60
    assert biases[-1] == pytest.approx(own[-1], abs=1e-6)
    assert biases[0] != pytest.approx(own[0], abs=1e-3)


CHOOSES = {"trainer": ["fetch", "choose", "upload"], "aggregator": ["distribute", "aggregate"]}
SLOPES = {"a": 2.0, "b": -2.0, "c": 2.0, "d": -2.0}


def clusters(machine: Machine, *more: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The aggregators of two models, whose names say where these end, and trainers on lines of two slopes."""
    param, groups = channel("param-channel", CHOOSES), {"param-channel": "default"}
    hyper: dict[str, Any] = {"rounds": 40, "work": 0.02, "clusters": 2, "minPeers": len(SLOPES) + len(more)}
    leaders = {
        name: machine.start(
            "clustered_aggregator", config("aggregator", [param], groups, hyper={**hyper, "begin": at}), name
        )
        for name, at in (("plus", 0.5), ("minus", -0.5))
    }
    sites = {
        name: machine.start(
            "clustered_trainer", config("trainer", [param], groups, hyper={**hyper, "slope": slope}), name
        )
        for name, slope in {**SLOPES, **dict.fromkeys(more, 2.0)}.items()
    }
    return leaders, sites


@pytest.mark.parametrize("machine", ["p2p"], indirect=True)
def test_clusters_go_on_without_a_trainer(machine: Machine) -> None:
    leaders, sites = clusters(machine, "goes")
    kill(sites.pop("goes"), machine.sign("goes", "round-3").exists, within_s=0.4)
    chosen = {name: ok(process) for name, process in sites.items()}
    assert sorted(ok(leader) for leader in leaders.values()) == pytest.approx([-2.0, 2.0], abs=1e-3)
    assert {len(each) for each in chosen.values()} == {40}
    assert chosen["a"][-1] == chosen["c"][-1] != chosen["b"][-1] == chosen["d"][-1]


@pytest.mark.parametrize("machine", ["mqtt"], indirect=True)
def test_a_model_is_not_spoiled_by_those_whose_leader_has_gone(machine: Machine) -> None:
    """The last model that they were sent still fits them best, so that they leave the other alone."""
    leaders, sites = clusters(machine)
    kill(leaders.pop("plus"), machine.sign("a", "round-3").exists, within_s=0.4)
    trained = {name: len(ok(process)) for name, process in sites.items()}
    slope = ok(leaders["minus"])
    assert abs(slope) == pytest.approx(2.0, abs=1e-3)
    for name, rounds in trained.items():
        assert rounds == 40 if slope * SLOPES[name] > 0 else 3 <= rounds < 40
