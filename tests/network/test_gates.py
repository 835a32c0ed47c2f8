"""What follows from a loss is the gate's decision: with real processes that are killed."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from federation import Federation, failed, lost, models, rounds, steps

LARGE = 20_000_000
"""Elements of a model whose updates lie with their trainers."""


@pytest.fixture(params=["p2p", "mqtt"])
def net(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Federation]:
    net = Federation(tmp_path, request.param)
    net.meet()
    yield net
    net.close()


def gate(**kwargs: Any) -> dict[str, Any]:
    return {"gate": {"sort": "everyone", "kwargs": kwargs}}


def test_stop_ends_the_run_with_the_name_of_who_has_gone(net: Federation) -> None:
    top = net.top(own=gate(whenLost="stop"), rounds=3, minPeers=2)
    stays, goes = net.site("stays"), net.site("goes", holdIn=2)
    net.reaches("goes", "round-2")
    goes.kill()
    assert "went in round 2" in failed(top, "PeerLost")
    lost(stays)


@pytest.mark.parametrize(("alive", "well"), [(2, True), (1, False)])
def test_a_round_goes_on_with_at_least_so_many(net: Federation, alive: int, well: bool) -> None:
    top = net.top(own=gate(atLeast=2), rounds=3, minPeers=3)
    names = ["one", "two", "three"]
    sites = {name: net.site(name, learningRate=1.0, holdIn=2) for name in names}
    for name in names:
        net.reaches(name, "round-2")
    for name in names[alive:]:
        sites[name].kill()
    for name in names[:alive]:
        net.go(name)
    if well:
        assert steps(models(top)) == [1.0, 1.0, 1.0]
        assert all(rounds(sites[name]) == [1, 2, 3] for name in names[:alive])
    else:
        assert "round 2: 1 of 3 answers count" in failed(top, "TooFewAnswers")
        lost(sites["one"])


@pytest.mark.parametrize("size", [10, LARGE])
def test_wait_asks_whoever_takes_its_place_in_the_same_round(net: Federation, size: int) -> None:
    top = net.top(own=gate(whenLost="wait"), rounds=3, minPeers=2, size=size)
    stays = net.site("stays", learningRate=1.0, size=size)
    goes = net.site("goes", learningRate=3.0, size=size, holdIn=2)
    net.reaches("goes", "round-2")
    goes.kill()
    goes.wait()
    back = net.site("goes", learningRate=3.0, size=size)
    assert steps(models(top)) == [2.0, 2.0, 2.0]
    assert rounds(stays) == [1, 2, 3] and rounds(back) == [2, 3]


def test_wait_gathers_again_what_was_lost_while_it_was_read(net: Federation) -> None:
    top = net.top(own=gate(whenLost="wait"), rounds=3, minPeers=2, size=LARGE)
    stays = net.site("stays", learningRate=1.0, size=LARGE, holdIn=2)
    goes = net.site("goes", learningRate=3.0, size=LARGE)
    net.reaches("goes", "sent-2")
    net.reaches("stays", "round-2")
    goes.send_signal(signal.SIGSTOP)
    net.go("stays")
    net.reaches("stays", "sent-2")
    goes.kill()
    goes.wait()
    back = net.site("goes", learningRate=3.0, size=LARGE)
    assert steps(models(top)) == [2.0, 2.0, 2.0]
    assert rounds(stays) == [1, 2, 3] and rounds(back)[-1] == 3


def test_wait_ends_when_patience_does(net: Federation) -> None:
    top = net.top(own=gate(whenLost="wait"), network={"patience": 1.0}, rounds=3, minPeers=2)
    stays, goes = net.site("stays"), net.site("goes", holdIn=2)
    net.reaches("goes", "round-2")
    goes.kill()
    assert failed(top, "PeerLost").endswith("did not come back within 1 s")
    lost(stays)


def test_an_aggregator_whom_everybody_has_left_does_not_wait_for_ever(net: Federation) -> None:
    top = net.top(network={"patience": 1.0}, rounds=3)
    goes = net.site("goes", holdIn=2)
    net.reaches("goes", "round-2")
    goes.kill()
    assert "0 of the 1 needed are there as trainer on param-channel" in failed(top, "RunError")
