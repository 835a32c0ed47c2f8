"""Neighbours that are separate programs, one of which is killed."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from federation import Federation, ended, failed
from upstream import channel, config, task_id

from flame.engine.peers import in_order

_IDS = {task_id(name): name for name in ("ann", "ben", "cleo", "dan")}
NAMES = [_IDS[end] for end in in_order(_IDS, str)]


@pytest.fixture
def net(tmp_path: Path) -> Iterator[Federation]:
    net = Federation(tmp_path)
    net.meet()
    yield net
    net.close()


def member(net: Federation, name: str, lost: str = "continue", **hyper: Any) -> subprocess.Popen[str]:
    start = float(NAMES.index(name))
    hyper = {"mode": "gossip", "rounds": 3, "minPeers": 4, "learningRate": 0.0, "start": start, **hyper}
    loop = {**channel("gossip-channel", {"trainer": ["gossipRing"]}), "pair": ["trainer", "trainer"]}
    gate = {"sort": "everyone", "kwargs": {"whenLost": lost}}
    return net.start("member", name, config("trainer", [loop], {"gossip-channel": "default"}, hyper=hyper, gate=gate))


def test_programs_of_their_own_come_to_agree(net: Federation) -> None:
    finals = [ended(program, 30.0)[1] for program in [member(net, name, rounds=40) for name in NAMES]]
    assert finals == pytest.approx([1.5] * 4)


def test_without_a_neighbour_the_others_go_on_and_keep_their_mean(net: Federation) -> None:
    programs = {name: member(net, name, rounds=60, holdIn=1 if name == NAMES[3] else 0) for name in NAMES}
    net.reaches(NAMES[3], "round-1")
    programs.pop(NAMES[3]).kill()
    finals = [ended(program, 40.0)[1] for program in programs.values()]
    assert finals == pytest.approx([1.0] * 3)


def test_stop_ends_it_for_its_neighbours_and_then_for_theirs(net: Federation) -> None:
    programs = {name: member(net, name, "stop", holdIn=2 if name == NAMES[0] else 0) for name in NAMES}
    net.reaches(NAMES[0], "round-2")
    programs.pop(NAMES[0]).kill()
    for program in programs.values():
        assert "gate stops the run" in failed(program, "PeerLost", 20.0)
