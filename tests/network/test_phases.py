"""A trainer or a middle aggregator is killed or stopped, in every phase of a round, over every transport."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from itertools import product
from pathlib import Path

import pytest
from federation import Federation, failed, lost, models, rounds, steps
from scenes import PHASES, Scene

CASES = [("star", "mqtt"), ("tree", "p2p"), ("tree", "mqtt")]
"""test_faults has the star over p2p."""


@pytest.fixture
def net(tmp_path: Path, backend: str) -> Iterator[Federation]:
    net = Federation(tmp_path, backend)
    net.meet()
    yield net
    net.close()


@pytest.mark.parametrize(("shape", "backend", "phase"), [(*case, phase) for case, phase in product(CASES, PHASES)])
def test_one_that_is_killed_is_left_out_from_then_on(net: Federation, shape: str, phase: str) -> None:
    """The others go on without it; a trainer below it ends with PeerLost."""
    scene = Scene(net, shape, phase, rounds=4)
    scene.dies()
    made = steps(models(scene.top))
    if phase == "joins":
        assert made == [1.0] * 4
    elif phase == "ends":
        assert made == [2.0] * 4
    elif phase == "waits":
        assert made[0] == 2.0 and made[1] in (1.0, 2.0) and made[2:] == [1.0, 1.0]  # what had arrived counts
    else:
        assert made == [2.0, 1.0, 1.0, 1.0]
    assert rounds(scene.leaves["stays"]) == [1, 2, 3, 4]
    if shape == "tree":
        assert rounds(scene.other) == [1, 2, 3, 4]
        if phase != "joins":
            lost(scene.leaves["goes"])


@pytest.mark.parametrize(("shape", "backend", "phase"), [(*case, phase) for case, phase in product(CASES, PHASES[:-1])])
def test_one_that_naps_for_longer_than_silence_rejoins(net: Federation, shape: str, backend: str, phase: str) -> None:
    """The rounds go on without it; when it wakes it takes part again, with its trainer or with one started anew."""
    scene = Scene(net, shape, phase, rounds=1000, holdIn=4, untilWholeAfter=4, work=0.02)
    scene.stops()
    net.reaches("top", "round-4")
    if (shape, backend) == ("tree", "p2p") and phase != "joins":
        lost(scene.leaves["goes"])  # the rendezvous does not hear of the region either
        scene.leaf("goes")
    scene.one.send_signal(signal.SIGCONT)
    net.go("top")
    made, took_part = steps(models(scene.top)), rounds(scene.one)
    assert made[0] == (1.0 if phase == "joins" else 2.0) and made[3] == 1.0 and made[-1] == 2.0
    assert took_part[-1] == len(made) and sorted(set(took_part)) == took_part
    assert rounds(scene.leaves["goes"])[-1] == len(made)
    assert rounds(scene.leaves["stays"]) == list(range(1, len(made) + 1))


@pytest.mark.parametrize("backend", ["p2p", "mqtt"])
def test_a_region_that_is_killed_and_started_again_with_its_trainer_takes_part_again(net: Federation) -> None:
    scene = Scene(net, "tree", "trains", rounds=5, holdIn=3, gatherIn=3, gather=2)
    scene.dies()
    lost(scene.leaves["goes"])
    net.reaches("top", "round-3")  # without it
    again = scene.root("goes"), scene.leaf("goes")
    net.go("top")
    assert steps(models(scene.top)) == [2.0, 1.0, 1.0, 2.0, 2.0]
    for program in again:
        assert rounds(program) == [4, 5]
    assert rounds(scene.other) == rounds(scene.leaves["stays"]) == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("backend", ["p2p", "mqtt"])
def test_a_region_goes_on_without_a_trainer_that_is_killed(net: Federation) -> None:
    """It has nothing to say in that round, and goes on with one that has come meanwhile."""
    scene = Scene(net, "tree", "trains", rounds=4)
    more = net.local("more", "goes", learningRate=5.0)
    net.reaches("more", "loading")
    scene.leaves["goes"].kill()
    assert steps(models(scene.top)) == [2.0, 1.0, 3.0, 3.0]
    assert rounds(scene.one) == [1, 2, 3, 4] and rounds(more) == [3, 4]


# -- the one at the top ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", ["star", "tree"])
@pytest.mark.parametrize("backend", ["p2p", "mqtt"])
def test_a_top_that_is_killed_while_it_reads_takes_everybody_with_it_and_nothing_is_left(
    net: Federation, shape: str
) -> None:
    """All end with PeerLost, let go of their updates, and close what they have open (the programs see to that)."""
    scene = Scene(net, shape, "is read", rounds=4)
    scene.stops()
    net.reaches("stays", "sent-2")
    scene.one.send_signal(signal.SIGCONT)
    scene.top.kill()
    scene.top.wait()
    for program in {scene.one, scene.other, *scene.leaves.values()}:
        lost(program)


# -- the broker --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", ["mqtt"])
@pytest.mark.parametrize("fault", [signal.SIGKILL, signal.SIGSTOP])
@pytest.mark.parametrize("phase", ["joins", "trains", "is read"])
def test_a_broker_that_never_comes_back_is_an_error_after_patience(
    tmp_path: Path, backend: str, phase: str, fault: signal.Signals
) -> None:
    net = Federation(tmp_path, backend, patience_s=2.0)
    try:
        net.meet()
        scene = Scene(net, "star", phase, rounds=4)
        if phase == "is read":
            scene.stops()
            net.reaches("stays", "sent-2")
        net.meeting.send_signal(fault)
        scene.one.send_signal(signal.SIGCONT)
        scene.goes_on()
        for program in {scene.one, scene.top, *scene.leaves.values()}:
            assert "has not answered for 2 s" in failed(program, "ChannelError")
    finally:
        net.close()
