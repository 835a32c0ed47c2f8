"""What lasts for a moment costs nothing: it is brought about in every phase of one run, and every round is complete."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest
from federation import SILENCE_S, Federation, models, rounds, steps
from scenes import LARGE, Pair
from town import last

Fault = Callable[[], AbstractContextManager[None]]


@pytest.fixture
def net(tmp_path: Path, backend: str) -> Iterator[Federation]:
    net = Federation(tmp_path, backend)
    net.meet()
    yield net
    net.close()


@contextmanager
def stopped(process: subprocess.Popen[str], seconds: float) -> Iterator[None]:
    """A program stands still for some time."""
    process.send_signal(signal.SIGSTOP)
    yield
    last(seconds)
    process.send_signal(signal.SIGCONT)


@contextmanager
def away(net: Federation) -> Iterator[None]:
    """The broker or the rendezvous is killed, and another takes its place."""
    net.meeting.kill()
    net.meeting.wait()
    yield
    last(0.3)
    net.meet()


def in_every_phase(pair: Pair, fault: Fault) -> None:
    """Bring something about in each phase: one joins, waits for an order, trains, is read, waits for the end."""
    net = pair.net
    net.reaches("goes", "loading")
    with fault():
        pair.others(rounds=5, holdIn=5)
    net.reaches("goes", "sent-2")
    net.reaches(pair.leaf_of("stays"), "round-2")
    with fault():
        net.go(pair.leaf_of("stays"), 2)
    net.reaches(pair.leaf_of("goes"), "round-3")
    with fault():
        net.go(pair.leaf_of("goes"), 3)
    net.reaches("stays", "sent-4")
    net.go(pair.leaf_of("goes"), 4)
    net.reaches("goes", "sent-4")
    with fault():
        pass
    net.reaches("top", "round-5")
    with fault():
        net.go("top")
    assert steps(models(pair.top)) == [2.0] * 5
    for program in (pair.one, pair.other, *pair.leaves.values()):
        if program.returncode is None:
            assert rounds(program) == [1, 2, 3, 4, 5]


def pair_of(net: Federation, shape: str) -> Pair:
    """The update of "goes", which comes last, has no room any more and stays where it was made until it is read."""
    return Pair(net, shape, LARGE // 2 + 1_000_000, {"goes": [3, 4], "stays": 2})


@pytest.mark.parametrize("backend", ["p2p", "mqtt"])
@pytest.mark.parametrize("shape", ["star", "tree"])
def test_a_nap_that_is_shorter_than_silence(net: Federation, shape: str) -> None:
    pair = pair_of(net, shape)
    in_every_phase(pair, lambda: stopped(pair.one, 0.5 * SILENCE_S))


@pytest.mark.parametrize("backend", ["p2p", "mqtt"])
def test_a_meeting_point_that_is_killed_and_replaced(net: Federation) -> None:
    in_every_phase(pair_of(net, "tree"), lambda: away(net))


@pytest.mark.parametrize("seconds", [0.5 * SILENCE_S, 2 * SILENCE_S])
@pytest.mark.parametrize("backend", ["mqtt"])
def test_a_broker_that_stands_still(net: Federation, seconds: float) -> None:
    """While nothing is heard of the broker, that nothing is heard of others says nothing about them."""
    in_every_phase(pair_of(net, "tree"), lambda: stopped(net.meeting, seconds))
