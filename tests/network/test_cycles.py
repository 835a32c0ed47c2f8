"""A model that travels among separate programs, some of which are killed while they have it."""

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
"""In the order in which programs that run one by one have the model: that of their ids."""


@pytest.fixture(params=["p2p", "mqtt"])
def net(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Federation]:
    net = Federation(tmp_path, request.param)
    net.meet()
    yield net
    net.close()


def member(net: Federation, name: str, peers: int = 4, lost: str = "continue", **hyper: Any) -> subprocess.Popen[str]:
    hyper = {"mode": "cyclic", "rounds": 3, "minPeers": peers, **hyper}
    loop = {**channel("hand-over-channel", {"trainer": ["handOver"]}), "pair": ["trainer", "trainer"]}
    gate = {"sort": "everyone", "kwargs": {"whenLost": lost}}
    return net.start(
        "member", name, config("trainer", [loop], {"hand-over-channel": "default"}, hyper=hyper, gate=gate)
    )


def test_everybody_has_the_model_once_a_round_and_all_end_with_it(net: Federation) -> None:
    programs = [member(net, name) for name in NAMES]
    for place, program in enumerate(programs):
        diary, final = ended(program, 30.0)
        assert diary == [[number, 4.0 * (number - 1) + place] for number in (1, 2, 3)]
        assert final == 12.0


@pytest.mark.parametrize("place", [0, 3])
def test_whoever_dies_with_the_model_is_passed_over(net: Federation, place: int) -> None:
    programs = {name: member(net, name, holdIn=2 * (name == NAMES[place])) for name in NAMES}
    net.reaches(NAMES[place], "round-2")
    programs.pop(NAMES[place]).kill()
    for name, program in programs.items():
        diary, final = ended(program, 30.0)
        assert [number for number, _ in diary] == [1, 2, 3], name
        assert final == 4.0 + 3.0 + 3.0


def test_two_that_die_one_after_the_other(net: Federation) -> None:
    programs = {name: member(net, name, holdIn=2 * (name in NAMES[1:3])) for name in NAMES}
    for name in NAMES[1:3]:
        net.reaches(name, "round-2")
        programs.pop(name).kill()
    assert [ended(program, 40.0)[1] for program in programs.values()] == [4.0 + 2.0 + 2.0] * 2


def test_whoever_comes_later_takes_its_turn(tmp_path: Path) -> None:
    """Here it is the first in order, and has to find out that the others have begun."""
    net = Federation(tmp_path)
    net.meet()
    try:
        early = [member(net, name, peers=2, rounds=200, work=0.01) for name in (NAMES[1], NAMES[3])]
        net.reaches(NAMES[3], "round-2")
        late = member(net, NAMES[0], peers=2, rounds=200, work=0.01)
        diaries = [ended(program, 30.0) for program in (*early, late)]
    finally:
        net.close()
    assert all([number for number, _ in diary] == list(range(1, 201)) for diary, _ in diaries[:2])
    numbers = [number for number, _ in diaries[2][0]]
    assert numbers[0] > 1 and numbers == list(range(numbers[0], 201))
    assert {final for _, final in diaries} == {400.0 + len(numbers)}


def test_stop_ends_it_for_everybody(net: Federation) -> None:
    programs = {name: member(net, name, lost="stop", holdIn=2 * (name == NAMES[2])) for name in NAMES}
    net.reaches(NAMES[2], "round-2")
    programs.pop(NAMES[2]).kill()
    for program in programs.values():
        assert "gate stops the run" in failed(program, "PeerLost", 15.0)


def test_who_is_left_alone_ends_it(net: Federation) -> None:
    stays, goes = member(net, NAMES[0], peers=2), member(net, NAMES[1], peers=2, holdIn=2)
    net.reaches(NAMES[1], "round-2")
    goes.kill()
    assert ended(stays, 30.0) == [[[1, 0.0], [2, 2.0], [3, 3.0]], 4.0]
