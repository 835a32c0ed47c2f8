"""Programs written for Cisco's Flame, started one by one as processes over shared memory."""

from __future__ import annotations

import time
from typing import Any

import pytest
from upstream import DOWN, PARAM, UP, Machine, aggregator, channel, config, finished, ok, trainer, until


def test_a_job_of_three_processes(machine: Machine) -> None:
    """Deltas are averaged by samples; every trainer trains in every round; all end by themselves."""
    top = machine.start("aggregator", aggregator(), "top")
    one = machine.start("trainer", trainer(hyper={"samples": 10, "learningRate": 1.0}), "one")
    until(machine.sign("one", "loading").exists, "the first trainer loads")
    diary, models = ok(one), ok(top)
    assert [number for number, *_ in diary] == [1, 2, 3]
    assert all(model == weights for _, model, weights, _ in diary)  # `self.weights` is what was received
    assert {mine for *_, mine in diary} == {"mine"}  # `self.optimizer` is the program's own
    assert models == [1.0, 2.0, 3.0]
    assert machine.doors() == []


def test_a_hierarchy(machine: Machine) -> None:
    """Top, two middle aggregators in groups of their own, a trainer each."""
    up = channel("global-channel", UP)
    down = channel("param-channel", DOWN, "uk", "us")
    middles, sites = [], []
    for group, step in (("uk", 1.0), ("us", 3.0)):
        groups = {"param-channel": group, "global-channel": "default"}
        middles.append(
            machine.start("middle_aggregator", config("middle-aggregator", [down, up], groups), f"m-{group}")
        )
        site = config("trainer", [down], {"param-channel": group}, hyper={"learningRate": step, "work": 0.05})
        sites.append(machine.start("trainer", site, f"t-{group}"))
    for name in ("m-uk", "m-us", "t-uk", "t-us"):
        until(machine.sign(name, "loading").exists, f"{name} loads")
    top = config("top-aggregator", [up], {"global-channel": "default"}, hyper={"rounds": 5})
    models = ok(machine.start("aggregator", top, "top"))
    assert len(models) == 5 and models[-1] - models[-2] == 2.0
    for process in middles:
        assert ok(process) is None
    for process in sites:
        assert [number for number, *_ in ok(process)][-3:] == [3, 4, 5]


def test_a_late_joiner_takes_part(machine: Machine) -> None:
    top = machine.start("aggregator", aggregator(hyper={"rounds": 60}), "top")
    early = machine.start("trainer", trainer(hyper={"rounds": 60, "work": 0.03}), "early")
    until(machine.sign("early", "round-2").exists, "the second round")
    late = machine.start("trainer", trainer(hyper={"rounds": 60}), "late")
    assert len(ok(early)) == 60 and len(ok(top)) == 60
    rounds = [number for number, *_ in ok(late)]
    assert rounds and rounds[0] > 1 and rounds == list(range(rounds[0], 61))


def test_a_trainer_that_is_killed_is_not_waited_for(machine: Machine) -> None:
    stays = machine.start("trainer", trainer(hyper={"rounds": 4, "work": 0.1}), "stays")
    goes = machine.start("trainer", trainer(hyper={"rounds": 4, "hangIn": 2}), "goes")
    for name in ("stays", "goes"):
        until(machine.sign(name, "loading").exists, f"{name} loads")
    top = machine.start("aggregator", aggregator(hyper={"rounds": 4}), "top")
    until(machine.sign("goes", "round-2").exists, "the second round")
    goes.kill()
    assert len(ok(top)) == 4
    assert [number for number, *_ in ok(stays)][-1] == 4


@pytest.mark.parametrize("trains", [False, True])
def test_trainers_of_an_aggregator_that_is_killed_end_with_an_error(machine: Machine, trains: bool) -> None:
    """Within seconds, with the reason, whether they wait for an order or are busy with one."""
    more: dict[str, Any] = {"loadWhen": "go"} if trains else {}
    top = machine.start("aggregator", aggregator(hyper={"rounds": 9, "hangIn": 0 if trains else 2}), "top")
    site = machine.start("trainer", trainer(hyper={"rounds": 9, "work": 0.3 if trains else 0, **more}), "site")
    (machine.folder / "go").touch()
    until((machine.sign("site", "round-2") if trains else machine.sign("top", "round-2")).exists, "the second round")
    top.kill()
    top.wait()
    status, _, err = finished(site, within_s=8)
    assert status != 0
    assert err.strip().splitlines()[-1].startswith("flame.errors.PeerLost: ")


def test_who_comes_after_the_end_ends_well(machine: Machine) -> None:
    """Nobody is there any more: a trainer waits no longer than its job may run."""
    ok(machine.start("trainer", {**trainer(), "maxRunTime": 1}, "site"))


def test_who_joins_during_the_last_words_has_nothing_to_do(machine: Machine) -> None:
    """The aggregator has told everybody that it is over, and is still saving the model when one more comes."""
    top = machine.start("aggregator", aggregator(hyper={"saveWhen": "go"}), "top")
    site = machine.start("trainer", trainer(), "site")
    until(machine.sign("top", "saving").exists, "the model to be saved")
    late = machine.start("trainer", trainer(), "late")
    until(machine.sign("late", "loading").exists, "the late trainer loads")
    time.sleep(0.5)  # it joins, and waits for an order
    (machine.folder / "go").touch()
    ok(top), ok(site)
    status, diary, err = finished(late, within_s=8)
    assert (status, diary) == (0, []), err


@pytest.mark.parametrize("machine", ["shm"], indirect=True)
def test_who_is_still_loading_when_the_job_ends_ends_well(machine: Machine) -> None:
    """Over shared memory a worker is seen when it first waits; over a network it is seen, and asked, at once."""
    top = machine.start("aggregator", aggregator(), "top")
    site = machine.start("trainer", trainer(hyper={"loadWhen": machine.sign("slow", "loading").name}), "site")
    slow = machine.start("trainer", trainer(hyper={"loadWhen": "go"}), "slow")
    until(machine.sign("slow", "loading").exists, "the slow trainer loads")
    ok(site), ok(top)
    (machine.folder / "go").touch()
    status, diary, err = finished(slow, within_s=8)
    assert (status, diary) == (0, []), err


def test_two_jobs_do_not_meet(machine: Machine) -> None:
    """The same task ids, channels and groups, in another job."""
    other = {"job": {"id": "another", "name": "another"}}
    tops = [machine.start("aggregator", aggregator(**more), "top") for more in ({}, other)]
    steps = [
        machine.start("trainer", trainer(hyper={"learningRate": step}, **more), "site")
        for step, more in ((1.0, {}), (10.0, other))
    ]
    assert [ok(top) for top in tops] == [[1.0, 2.0, 3.0], [10.0, 20.0, 30.0]]
    for process in steps:
        ok(process)


def test_two_processes_of_one_worker_are_refused(machine: Machine) -> None:
    first = machine.start("trainer", trainer(), "site")
    until(machine.sign("site", "loading").exists, "the trainer loads")
    status, _, err = finished(machine.start("trainer", trainer(), "site"))
    assert status != 0 and "another process of this job runs as" in err
    top = machine.start("aggregator", aggregator(), "top")
    assert len(ok(first)) == 3 and len(ok(top)) == 3


def test_the_door_of_a_killed_process_is_taken_away(machine: Machine) -> None:
    killed = machine.start("trainer", trainer(), "killed")
    until(machine.sign("killed", "loading").exists, "the trainer loads")
    killed.kill()
    killed.wait()
    assert len(machine.doors()) == (machine.sort == "shm")
    top = machine.start("aggregator", aggregator(), "top")
    assert len(ok(machine.start("trainer", trainer(), "site"))) == 3
    ok(top)
    assert machine.doors() == []


def test_a_worker_may_be_started_again_under_its_id(machine: Machine) -> None:
    """After a kill in the middle of a round the same worker comes back and goes on."""
    more = {"hyper": {"rounds": 4, "hangIn": 2}}
    top = machine.start("aggregator", aggregator(hyper={"rounds": 4}), "top")
    site = machine.start("trainer", trainer(**more), "site")
    until(machine.sign("site", "round-2").exists, "the second round")
    site.kill()
    site.wait()
    again = machine.start("trainer", trainer(hyper={"rounds": 4}), "site")
    numbers = [number for number, *_ in ok(again)]
    assert numbers and numbers[-1] == 4
    assert len(ok(top)) == 4


def test_a_backend_that_cannot_join_programs_says_what_to_do(machine: Machine) -> None:
    status, _, err = finished(machine.start("trainer", {**trainer(), "backend": "inproc"}, "site"))
    assert status != 0
    assert "inproc cannot join programs that are started one by one" in err and "flame run DIR" in err


@pytest.mark.parametrize("choice", ["fp16", "int8", {"sort": "topk", "kwargs": {"keep": 0.5, "whole": 0}}], ids=str)
def test_a_channel_that_compresses(machine: Machine, choice: Any) -> None:
    """Wherever the messages go: the same numbers, which are those of one process."""
    compressed = [{**channel("param-channel", PARAM), "compression": choice}]
    top = machine.start("aggregator", {**aggregator(), "channels": compressed}, "top")
    site = machine.start("trainer", {**trainer(), "channels": compressed}, "one")
    models = ok(top)
    ok(site)
    if isinstance(choice, str):
        assert models == pytest.approx([1.0, 2.0, 3.0], abs=1e-6)
    else:
        # Four of the seven elements go in each round, and this one is the fifth: it goes in the second, twice as large.
        assert models == [0.0, 2.0, 2.0]
