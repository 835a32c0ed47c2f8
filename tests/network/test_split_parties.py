"""A model that is split among separate programs: what is learned, and what follows when one is killed."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from federation import Federation, ended, failed, lost
from upstream import channel, config

SPLIT = channel(
    "split-channel",
    {"feature-holder": ["uploadIds", "fetch", "upload"], "label-holder": ["alignIds", "distribute", "aggregate"]},
)


@pytest.fixture(params=["p2p", "mqtt"])
def net(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Federation]:
    net = Federation(tmp_path, request.param)
    net.meet()
    yield net
    net.close()


def labels(net: Federation, when_lost: str = "stop", patience_s: float = 30.0) -> subprocess.Popen[str]:
    hyper = {"rounds": 3, "minPeers": 2, "batchSize": 8}
    gate = {"sort": "everyone", "kwargs": {"whenLost": when_lost}}
    content = config("label-holder", [SPLIT], {"split-channel": "default"}, hyper=hyper, gate=gate)
    return net.start("labels", "labels", content, patience=patience_s)


def columns(net: Federation, name: str, first: int, **hyper: Any) -> subprocess.Popen[str]:
    content = config("feature-holder", [SPLIT], {"split-channel": "default"}, hyper={"first": first, **hyper})
    return net.start("columns", name, content)


def test_programs_of_their_own_learn_together(net: Federation) -> None:
    top, one, two = labels(net), columns(net, "one", 2), columns(net, "two", 5)
    diary = ended(top, 30.0)
    assert [number for number, _, _ in diary] == [1, 1, 2, 2, 3, 3]
    assert sorted(diary[0][1] + diary[1][1]) == list(range(5, 18))
    assert diary[-1][2] < diary[0][2] / 100
    assert sum(ended(one, 10.0) + ended(two, 10.0)) == pytest.approx(2.0, abs=0.1)


def test_a_holder_that_dies_ends_the_run_with_its_name(net: Federation) -> None:
    top, stays, goes = labels(net), columns(net, "stays", 2), columns(net, "goes", 5, holdIn=2)
    net.reaches("goes", "epoch-2")
    goes.kill()
    assert "the job's gate stops the run" in failed(top, "PeerLost")
    lost(stays)


def test_a_label_holder_that_waits_goes_on_with_who_takes_its_place(net: Federation) -> None:
    top, stays, goes = labels(net, "wait"), columns(net, "stays", 2), columns(net, "goes", 5, holdIn=2)
    net.reaches("goes", "epoch-2")
    goes.kill()
    goes.wait()
    back = columns(net, "goes", 5)
    diary = ended(top, 30.0)
    assert [number for number, _, _ in diary] == [1, 1, 2, 2, 3, 3]
    assert diary[-1][2] < diary[0][2]
    ended(stays, 10.0)
    ended(back, 10.0)


def test_who_takes_its_place_must_have_the_same_samples(net: Federation) -> None:
    top, stays, goes = labels(net, "wait"), columns(net, "stays", 2), columns(net, "goes", 5, holdIn=2)
    net.reaches("goes", "epoch-2")
    goes.kill()
    goes.wait()
    back = columns(net, "goes", 9)
    assert "lacks 4 of the 13 samples" in failed(top, "RunError", 15.0)
    lost(stays)
    lost(back)


def test_waiting_ends_when_patience_does(net: Federation) -> None:
    top, stays, goes = labels(net, "wait", 1.0), columns(net, "stays", 2), columns(net, "goes", 5, holdIn=2)
    net.reaches("goes", "epoch-2")
    goes.kill()
    assert failed(top, "PeerLost").endswith("did not come back within 1 s")
    lost(stays)
