"""A transport that a program brings along, as it is written for Cisco's Flame: `programs/loopback.py`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from upstream import PARAM as TAGS
from upstream import Machine, aggregator, channel, config, finished, free_address, ok, trainer, until

from flame.channel.coding import Sealed
from flame.channel.foreign import _message, _payload
from flame.errors import DecodeError


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    (tmp_path / "notes").mkdir()
    machine = Machine(tmp_path, "loopback", str(tmp_path / "notes"))
    yield machine
    machine.close()


def start(machine: Machine, kind: str, name: str, **more: Any) -> Any:
    made = {"trainer": trainer, "aggregator": aggregator}[kind](**more)
    return machine.start("loopback", made, name, kind)


def test_programs_train_over_it_to_the_end(machine: Machine) -> None:
    top = start(machine, "aggregator", "top", hyper={"rounds": 5, "minPeers": 2})
    sites = [start(machine, "trainer", name, hyper={"learningRate": step}) for name, step in (("a", 1.0), ("b", 3.0))]
    assert ok(top) == [2.0 * number for number in range(1, 6)]
    for site in sites:
        assert [number for number, *_ in ok(site)] == [1, 2, 3, 4, 5]
    assert not list((machine.folder / "notes").iterdir())  # everybody has left by the transport's own `leave`


def test_a_trainer_that_is_killed_is_noticed_by_what_the_transport_removes(machine: Machine) -> None:
    top = start(machine, "aggregator", "top", hyper={"rounds": 4, "minPeers": 2})
    killed = start(machine, "trainer", "a", hyper={"learningRate": 1.0, "hangIn": 2})
    left = start(machine, "trainer", "b", hyper={"learningRate": 3.0})
    until(machine.sign("a", "round-2").exists, "the one hangs in round 2")
    killed.kill()
    assert ok(top) == [2.0, 5.0, 8.0, 11.0]
    assert [number for number, *_ in ok(left)] == [1, 2, 3, 4]


def test_one_channel_may_go_over_it_and_whoever_has_not_registered_it_is_told(machine: Machine) -> None:
    """The config's own backend is another one, whose broker is not there."""
    one = {**channel("param-channel", TAGS), "backend": "loopback", "brokerHost": machine.broker}
    more = {"backend": "mqtt", "brokers": [{"sort": "mqtt", "host": free_address()}]}
    top, site = (config(role, [one], {"param-channel": "default"}, **more) for role in ("aggregator", "trainer"))
    running = machine.start("loopback", top, "top", "aggregator"), machine.start("loopback", site, "a", "trainer")
    assert ok(running[0]) == [1.0, 2.0, 3.0] and len(ok(running[1])) == 3
    status, _, err = finished(machine.start("trainer", site, "b"))
    assert status != 0 and "channels[0].backend" in err and "no backend named 'loopback'" in err


@pytest.mark.parametrize("payload", [b"x", b"\x00" * 8, b"\xff" * 40, b"\x01" + b"\x00" * 15 + b"tail"])
def test_what_is_no_message_is_refused(payload: bytes) -> None:
    said = _message(_payload(Sealed.of({"a": [1, b"2"]})))
    assert isinstance(said, Sealed) and said.open() == {"a": [1, b"2"]}
    with pytest.raises(DecodeError):
        _message(payload)
