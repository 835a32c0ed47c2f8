"""Which backend carries which channel, and brokers that go and come back."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from upstream import (
    DOWN,
    UP,
    Machine,
    aggregator,
    answers,
    channel,
    config,
    finished,
    free_address,
    meeting_point,
    mosquitto,
    ok,
    trainer,
    until,
)


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    machine = Machine(tmp_path)
    yield machine
    machine.close()


@pytest.mark.parametrize(("above", "below"), [("p2p", "shm"), ("mqtt", "p2p"), ("shm", "mqtt")])
def test_a_worker_may_use_two_backends_at_once(machine: Machine, tmp_path: Path, above: str, below: str) -> None:
    """A tree whose upper channel goes over one transport and whose lower one over another; nothing is seen late."""
    folders = [tmp_path / name for name in ("a", "b")]
    for folder in folders:
        folder.mkdir()
    with meeting_point(above, folders[0]) as over, meeting_point(below, folders[1]) as under:
        up = {**channel("global-channel", UP), "backend": above, "brokerHost": over}
        down = {**channel("param-channel", DOWN, "uk", "us"), "backend": below, "brokerHost": under}
        middles, sites = [], []
        for group, step in (("uk", 1.0), ("us", 3.0)):
            groups = {"param-channel": group, "global-channel": "default"}
            middles.append(
                machine.start("middle_aggregator", config("middle-aggregator", [down, up], groups), f"m-{group}")
            )
            site = config("trainer", [down], {"param-channel": group}, hyper={"learningRate": step})
            sites.append(machine.start("trainer", site, f"t-{group}"))
        top = config("top-aggregator", [up], {"global-channel": "default"}, hyper={"rounds": 12, "minPeers": 2})
        models = ok(machine.start("aggregator", top, "top"))
        assert models == [2.0 * number for number in range(1, 13)]
        for process in middles:
            assert ok(process) is None
        for process in sites:
            assert [number for number, *_ in ok(process)] == list(range(1, 13))


def test_a_broker_that_is_killed_and_comes_back_costs_nothing(tmp_path: Path) -> None:
    """Nothing that was on its way when it died is lost, and the model is what it would have been."""
    address = free_address()
    command = mosquitto(address, tmp_path)
    broker = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    machine = Machine(tmp_path, "mqtt", address)
    try:
        until(lambda: answers(address), "the broker answers")
        rounds = {"rounds": 40, "work": 0.05}
        top = machine.start("aggregator", aggregator(hyper={"rounds": 40, "minPeers": 2}), "top")
        sites = [machine.start("trainer", trainer(hyper=rounds), name) for name in ("one", "two")]
        for number in (3, 12):
            until(machine.sign("one", f"round-{number}").exists, f"round {number}")
            broker.kill()
            broker.wait()
            broker = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        assert ok(top) == [float(number) for number in range(1, 41)]
        for site in sites:
            assert [number for number, *_ in ok(site)] == list(range(1, 41))
    finally:
        machine.close()
        broker.kill()
        broker.wait()


def test_a_broker_that_never_answers_is_an_error(tmp_path: Path) -> None:
    machine = Machine(tmp_path, "mqtt", free_address())
    try:
        site = machine.start("trainer", trainer(network={"patience": 1.0}), "site")
        status, _, err = finished(site, within_s=10)
        assert status != 0
        last = err.strip().splitlines()[-1]
        assert last.startswith("flame.errors.ChannelError: the broker at 127.0.0.1:") and "has not answered" in last
    finally:
        machine.close()
