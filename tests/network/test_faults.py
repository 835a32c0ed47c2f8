"""Real processes, real faults: the round goes on, or everybody ends with the error's name; nothing hangs."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from federation import SILENCE_S, Federation, lost, models, rounds, steps
from town import last

LARGE = 20_000_000
"""Elements of a model that is larger than what is read at once: its updates lie with their trainers."""


@pytest.fixture
def net(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Federation]:
    net = Federation(tmp_path)
    net.meet(silence_s=getattr(request, "param", None))
    yield net
    net.close()


# -- a trainer that is killed ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [10, LARGE])
def test_killed_while_it_trains(net: Federation, size: int) -> None:
    top = net.top(rounds=3, minPeers=2, size=size)
    stays = net.site("stays", learningRate=1.0, size=size)
    goes = net.site("goes", learningRate=3.0, size=size, holdIn=2)
    net.reaches("goes", "round-2")
    goes.kill()
    assert steps(models(top)) == [2.0, 1.0, 1.0]
    assert rounds(stays) == [1, 2, 3]


def test_killed_while_it_waits(net: Federation) -> None:
    top = net.top(rounds=3, minPeers=2)
    stays = net.site("stays", learningRate=1.0, holdIn=2)
    goes = net.site("goes", learningRate=3.0)
    net.reaches("goes", "sent-2")
    net.reaches("stays", "round-2")
    goes.kill()
    goes.wait()
    net.go("stays")
    made = steps(models(top))
    assert made[0] == 2.0 and made[1] in (1.0, 2.0) and made[2] == 1.0  # what had arrived counts
    assert rounds(stays) == [1, 2, 3]


@pytest.mark.parametrize("first", ["goes", "stays"])
def test_killed_while_its_large_update_is_read(net: Federation, first: str) -> None:
    """It is stopped when it has said that its update is there, and killed when the aggregator reads it."""
    top = net.top(rounds=3, minPeers=2, size=LARGE)
    second = "stays" if first == "goes" else "goes"
    sites = {}
    for name in (first, second):
        step = 1.0 if name == "stays" else 3.0
        sites[name] = net.site(name, learningRate=step, size=LARGE, holdIn=2 if name == "stays" else 0)
        net.reaches(name, "loading")
    net.reaches("goes", "sent-2")
    net.reaches("stays", "round-2")
    sites["goes"].send_signal(signal.SIGSTOP)
    net.go("stays")
    net.reaches("stays", "sent-2")
    sites["goes"].kill()
    assert steps(models(top)) == [2.0, 1.0, 1.0]
    assert rounds(sites["stays"]) == [1, 2, 3]


def test_it_comes_back_under_its_id(net: Federation) -> None:
    top = net.top(rounds=60, minPeers=2)
    stays = net.site("stays", learningRate=1.0, holdIn=3, work=0.03)
    goes = net.site("goes", learningRate=3.0, holdIn=2)
    net.reaches("goes", "round-2")
    goes.kill()
    goes.wait()
    net.reaches("stays", "round-3")  # the round goes on without it
    back = net.site("goes", learningRate=5.0)
    net.reaches("goes", "loading")
    net.go("stays")
    assert rounds(back)[-1] == 60 and rounds(stays) == list(range(1, 61))
    made = steps(models(top))
    assert made[:3] == [2.0, 1.0, 1.0] and made[-1] == 3.0


# -- a trainer that is stopped -----------------------------------------------------------------------------------------


def test_stopped_for_less_than_silence_nothing_is_lost(net: Federation) -> None:
    top = net.top(rounds=4, minPeers=2)
    sites = [net.site(name, learningRate=step, holdIn=2) for name, step in (("one", 1.0), ("two", 3.0))]
    net.reaches("two", "round-2")
    net.reaches("one", "round-2")
    sites[1].send_signal(signal.SIGSTOP)
    net.go("one")
    net.go("two")
    net.reaches("one", "sent-2")
    sites[1].send_signal(signal.SIGCONT)
    assert steps(models(top)) == [2.0] * 4
    assert all(rounds(site) == [1, 2, 3, 4] for site in sites)


@pytest.mark.parametrize(("when", "size"), [("trains", 10), ("waits", 10), ("is read", LARGE)])
def test_stopped_for_longer_it_rejoins(net: Federation, when: str, size: int) -> None:
    """The round goes on without it; when it goes on itself it takes part again, and everybody ends well."""
    top = net.top(rounds=8, minPeers=2, size=size, holdIn=4)
    stays = net.site("stays", learningRate=1.0, size=size, holdIn=2, work=0.1)
    naps = net.site("naps", learningRate=3.0, size=size, holdIn=2 if when == "trains" else 0)
    net.reaches("naps", "round-2" if when == "trains" else "sent-2")
    net.reaches("stays", "round-2")
    naps.send_signal(signal.SIGSTOP)
    net.go("stays")
    net.go("naps")
    net.reaches("top", "round-4")
    naps.send_signal(signal.SIGCONT)
    net.go("top")
    made = steps(models(top))
    took_part = rounds(naps)
    assert made[0] == 2.0 and 1.0 in made and made[-1] == 2.0
    assert took_part[:2] == [1, 2] and took_part[-1] == 8
    assert rounds(stays) == list(range(1, 9))


# -- the aggregator ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [10, LARGE])
def test_trainers_of_a_killed_aggregator_end_with_an_error(net: Federation, size: int) -> None:
    """One waits for an order, one trains, one has a large update that nobody reads any longer."""
    top = net.top(rounds=9, minPeers=2, size=size)
    trains = net.site("trains", size=size, holdIn=2)
    waits = net.site("waits", size=size)
    net.reaches("waits", "sent-2")
    net.reaches("trains", "round-2")
    top.kill()
    lost(waits)
    net.go("trains")
    lost(trains)


@pytest.mark.parametrize("net", [SILENCE_S, 2.5 * SILENCE_S], indirect=True)
def test_trainers_of_an_aggregator_that_nobody_hears_of_end_with_an_error(net: Federation) -> None:
    """It neither answers nor refuses: they end when the rendezvous, sooner or later, does not hear of it either."""
    top = net.top(rounds=9, minPeers=2)
    trains = net.site("trains", holdIn=2)
    waits = net.site("waits")
    net.reaches("waits", "sent-2")
    net.reaches("trains", "round-2")
    top.send_signal(signal.SIGSTOP)
    lost(waits)
    net.go("trains")
    lost(trains)


def test_an_aggregator_that_did_not_run_for_a_while_goes_on(net: Federation) -> None:
    """What it did not hear while it did not run says nothing about others: here everybody stands still."""
    top = net.top(rounds=4, minPeers=2)
    sites = [net.site(name, holdIn=2) for name in ("one", "two")]
    for name in ("one", "two"):
        net.reaches(name, "round-2")
    everybody = [net.meeting, top, *sites]
    for process in everybody:
        process.send_signal(signal.SIGSTOP)
    last(2 * SILENCE_S)
    for process in everybody:
        process.send_signal(signal.SIGCONT)
    for name in ("one", "two"):
        net.go(name)
    assert steps(models(top)) == [1.0] * 4
    assert all(rounds(site) == [1, 2, 3, 4] for site in sites)


# -- the rendezvous ----------------------------------------------------------------------------------------------------


def test_the_rendezvous_may_be_killed_and_started_again(tmp_path: Path) -> None:
    """Those who know each other do not notice; who comes later meets them all the same."""
    net = Federation(tmp_path)
    try:
        meeting = net.meet()
        top = net.top(rounds=60, minPeers=1)
        early = net.site("early", learningRate=1.0, work=0.03, holdIn=20)
        net.reaches("early", "round-3")
        meeting.kill()
        meeting.wait()
        net.reaches("early", "round-20")
        net.meet()
        late = net.site("late", learningRate=3.0)
        net.reaches("late", "loading")
        net.go("early")
        made = steps(models(top))
        assert len(made) == 60 and made[0] == 1.0 and made[-1] == 2.0
        assert rounds(early) == list(range(1, 61))
        assert rounds(late)[-1] == 60
    finally:
        net.close()


def test_who_is_started_before_the_rendezvous_waits_for_it(tmp_path: Path) -> None:
    net = Federation(tmp_path)
    try:
        top = net.top(rounds=2)
        site = net.site("site")
        net.reaches("site", "loading")
        net.meet()
        assert len(models(top)) == 2 and rounds(site) == [1, 2]
    finally:
        net.close()
