"""Upstream's ring programs, started one by one: its examples, and what follows when somebody dies or comes late."""

from __future__ import annotations

import signal
from typing import Any

import pytest
from upstream import Machine, channel, config, finished, ok, until

RING = {"trainer": ["ring_allreduce"]}
UP = {"trainer": ["fetch", "upload"], "aggregator": ["distribute", "aggregate"]}


def ring_channel(*groups: str) -> dict[str, Any]:
    return {**channel("param-channel", RING, *groups), "pair": ["trainer", "trainer"]}


def member(**hyper: Any) -> dict[str, Any]:
    """A trainer of example 9: one channel, the group default/us."""
    groups = {"param-channel": "default/us"}
    return config("trainer", [ring_channel("default/us")], groups, hyper={"rounds": 4, **hyper})


def grouped(group: str, **hyper: Any) -> dict[str, Any]:
    """A trainer of example 16: a ring in its group, an aggregator above groups."""
    channels = [ring_channel("eu", "us"), channel("global-channel", UP)]
    groups = {"param-channel": group, "global-channel": "default"}
    return config("trainer", channels, groups, hyper={"rounds": 4, "hybrid": True, **hyper})


def above(**hyper: Any) -> dict[str, Any]:
    return config(
        "aggregator", [channel("global-channel", UP)], {"global-channel": "default"}, hyper={"rounds": 4, **hyper}
    )


def started(machine: Machine, names: dict[str, dict[str, Any]], loading: bool = True) -> dict[str, Any]:
    processes = {name: machine.start("ring_trainer", content, name) for name, content in names.items()}
    for name in names if loading else ():
        until(machine.sign(name, "loading").exists, f"{name} loads")
    return processes


def test_three_trainers_without_an_aggregator(machine: Machine) -> None:
    """Example 9. The mean of 1, 2 and 3 by 10, 20 and 30 samples is 7/3."""
    contents = {f"t{n}": member(learningRate=n, samples=10 * n, minPeers=3, large=50_000 * n // n) for n in (1, 2, 3)}
    diaries = [ok(process) for process in started(machine, contents).values()]
    assert diaries[0] == diaries[1] == diaries[2]
    assert [number for number, _ in diaries[0]] == [1, 2, 3, 4]
    assert [value for _, value in diaries[0]] == pytest.approx([7 / 3 * n for n in (1, 2, 3, 4)], rel=1e-6)


def test_two_groups_below_an_aggregator(machine: Machine) -> None:
    """Example 16, whose aggregator may be the plain one, as in example H."""
    contents = {f"t-{group}-{n}": grouped(group, learningRate=n, work=0.2) for group in ("eu", "us") for n in (1, 3)}
    sites = started(machine, contents)
    top = machine.start("aggregator", above(minPeers=4), "top")
    assert ok(top) == [2.0, 4.0, 6.0, 8.0]
    for name, site in sites.items():
        diary = ok(site)
        # They need not have seen each other when the first orders came: then each has answered for itself.
        assert all(value in (2.0 * n, 2.0 * (n - 1) + float(name[-1])) for n, value in diary)
        assert diary[-1] == [4, 8.0]


@pytest.mark.parametrize("dies", [{"hangIn": 2}, {"dieTurning": 2, "pieces": 1}, {"dieTurning": 2, "pieces": 3}])
def test_a_member_that_dies_is_done_without(machine: Machine, dies: dict[str, int]) -> None:
    """Before its turn, or in the middle of the ring; what is left of the ring goes on, with one model."""
    contents = {f"t{n}": member(minPeers=3, learningRate=n, work=0.02) for n in (1, 2, 3)}
    contents["t2"]["hyperparameters"].update(dies)
    sites = started(machine, contents)
    if "hangIn" in dies:
        until(machine.sign("t2", "round-2").exists, "round 2")
        sites["t2"].kill()
    status, _, _ = finished(sites["t2"])
    assert status == -signal.SIGKILL
    one, three = ok(sites["t1"]), ok(sites["t3"])
    assert one == three and [number for number, _ in one] == [1, 2, 3, 4]
    assert one[0][1] == 2.0 and one[3][1] == pytest.approx(one[1][1] + 4.0)


def test_two_of_three_die(machine: Machine) -> None:
    contents = {f"t{n}": member(minPeers=3, learningRate=n) for n in (1, 2, 3)}
    for name in ("t1", "t3"):
        contents[name]["hyperparameters"]["hangIn"] = 2
    sites = started(machine, contents)
    for name in ("t1", "t3"):
        until(machine.sign(name, "round-2").exists, "round 2")
        sites[name].kill()
    assert ok(sites["t2"]) == [[1, 2.0], [2, 4.0], [3, 6.0], [4, 8.0]]


def test_whoever_comes_late_gets_the_model(machine: Machine) -> None:
    """It is in the ring from the next round on, and has the others' model from then on."""
    late = machine.sign("late", "loading")
    contents = {f"t{n}": member(rounds=8, learningRate=n, minPeers=2, work=0.05) for n in (1, 3)}
    for content in contents.values():
        content["hyperparameters"]["waitFor"] = str(machine.sign("go", "on"))
    sites = started(machine, contents)
    until(machine.sign("t1", "round-1").exists, "round 1")
    until(machine.sign("t3", "round-1").exists, "round 1")
    third = machine.start("ring_trainer", member(rounds=8, learningRate=5, minPeers=3), "late")
    until(late.exists, "it is there")
    machine.sign("go", "on").touch()
    one, three, new = ok(sites["t1"]), ok(sites["t3"]), ok(third)
    assert one == three and one[0] == [1, 2.0]
    assert new and new[0][0] > 1 and new == one[-len(new) :]
    assert one[-1][1] == pytest.approx(one[-2][1] + 3.0)


def test_two_that_began_alone_become_one_ring(machine: Machine) -> None:
    """For two rounds they do not see each other; then their models are averaged, and it goes on as one."""
    contents = {f"t{n}": member(learningRate=n, minPeers=2, blindUntil=3) for n in (1, 3)}
    one, two = (ok(process) for process in started(machine, contents).values())
    assert (one[:2], two[:2]) == ([[1, 1.0], [2, 2.0]], [[1, 3.0], [2, 6.0]])
    assert one[2:] == two[2:] == [[3, 6.0], [4, 8.0]]


def test_one_alone_trains_alone(machine: Machine) -> None:
    assert ok(machine.start("ring_trainer", member(), "t1")) == [[1, 1.0], [2, 2.0], [3, 3.0], [4, 4.0]]


@pytest.mark.parametrize("moment", ["hangIn", "hangAfter"])
@pytest.mark.parametrize("who", ["first", "other"])
def test_a_member_of_a_group_dies(machine: Machine, moment: str, who: str) -> None:
    """In training, or between the ring and the upload, which the first of the group does for all."""
    from upstream import task_id

    names = sorted((f"t-eu-{n}" for n in (1, 2, 3)), key=task_id)
    dying = names[0] if who == "first" else names[1]
    contents = {name: grouped("eu", work=0.02) for name in names} | {"t-us-1": grouped("us")}
    contents[dying]["hyperparameters"][moment] = 2
    sites = started(machine, contents)
    top = machine.start("aggregator", above(minPeers=4), "top")
    until(machine.sign(dying, "round-2" if moment == "hangIn" else "evaluated-2").exists, "round 2")
    sites.pop(dying).kill()
    assert ok(top) == [1.0, 2.0, 3.0, 4.0]
    for site in sites.values():
        assert [number for number, _ in ok(site)] == [1, 2, 3, 4]


def test_a_member_of_a_group_dies_in_the_ring(machine: Machine) -> None:
    contents = {f"t-eu-{n}": grouped("eu") for n in (1, 2, 3)} | {"t-us-1": grouped("us")}
    contents["t-eu-2"]["hyperparameters"].update(dieTurning=2, pieces=2)
    sites = started(machine, contents)
    top = machine.start("aggregator", above(minPeers=4), "top")
    assert ok(top) == [1.0, 2.0, 3.0, 4.0]
    assert finished(sites.pop("t-eu-2"))[0] == -signal.SIGKILL
    for site in sites.values():
        assert [number for number, _ in ok(site)] == [1, 2, 3, 4]


def test_whoever_joins_a_group_late_does_not_hold_it_up(machine: Machine) -> None:
    """The others are in a round that it was not asked in; it is in the next one."""
    there = str(machine.sign("late", "loading"))
    contents = {f"t-eu-{n}": grouped("eu", waitFor=there) for n in (1, 2)}
    sites = started(machine, contents)
    top = machine.start("aggregator", above(minPeers=2), "top")
    for name in contents:
        until(machine.sign(name, "round-1").exists, "round 1")
    sites["late"] = machine.start("ring_trainer", grouped("eu"), "late")
    assert ok(top) == [1.0, 2.0, 3.0, 4.0]
    assert (
        [number for number, _ in ok(sites["t-eu-1"])] == [number for number, _ in ok(sites["t-eu-2"])] == [1, 2, 3, 4]
    )
    assert set(number for number, _ in ok(sites["late"])) <= {2, 3, 4}
