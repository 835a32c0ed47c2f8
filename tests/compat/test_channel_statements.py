"""The statements about channels, over each network: every end has a channel manager, and they meet as programs do."""

from __future__ import annotations

import contextlib
import pickle
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import paho.mqtt.publish
import pytest
from upstream import PARAM, Machine, channel, config, free_address, meeting_point, ok, task_id, until

from flame.channel import Channel
from flame.channel.coding import Sealed
from flame.channel_manager import ChannelManager
from flame.config import Config
from flame.config.records import Network
from flame.errors import DecodeError
from flame.mode.message import MessageType
from flame.wire.codec import Payload

BOUND_S = Network().silence
"""After so long without a word somebody counts as gone; of whoever is killed it is known sooner."""
UP, DOWN = ("trainer", "aggregator"), ("aggregator", "trainer")


class Net:
    """Ends of one backend in this process, and programs that meet them."""

    def __init__(self, sort: str, address: str, folder: Path) -> None:
        self.sort, self.address, self.job = sort, address, secrets.token_hex(12)
        self.machine = Machine(folder, sort, address)
        self.doors = self.machine._doors.name
        self._managers: list[ChannelManager] = []

    def end(
        self,
        name: str,
        pair: Sequence[str] = UP,
        names: Sequence[str] = ("param-channel",),
        group: str = "us",
        job: str = "",
        **more: Any,
    ) -> list[Channel]:
        """Somebody of the first role of a pair; its channels, joined."""
        role, other = pair
        specs = [{**channel(each, {role: [], other: []}, "us", "uk"), "pair": [role, other]} for each in names]
        content = self.content(role, specs, dict.fromkeys(names, group), job, **more)
        manager = ChannelManager(Config.from_dict({**content, "taskid": name}))
        self._managers.append(manager)
        manager.join_all()
        return [manager.get(each) for each in names]  # type: ignore[misc]

    def pair(self) -> tuple[Channel, Channel]:
        """A trainer and an aggregator that have met."""
        (a,), (b,) = self.end("a"), self.end("b", DOWN)
        meet(a, b)
        return a, b

    def program(self, name: str, does: str) -> Any:
        groups = {"param-channel": "us"}
        spec = channel("param-channel", PARAM, "us", "uk")
        return self.machine.start("peer", self.content("trainer", [spec], groups, "", hyper={"does": does}), name)

    def content(self, role: str, specs: Any, groups: Any, job: str, **more: Any) -> dict[str, Any]:
        own = {"backend": self.sort, "brokers": [{"host": self.address, "sort": self.sort}]}
        return {**config(role, specs, groups, **more), **own, "job": {"id": job or self.job, "name": "job"}}

    def close(self) -> None:
        for manager in self._managers:
            manager.cleanup()
        self.machine.close()


@pytest.fixture(scope="module", params=["mqtt", "p2p", "shm"])
def meeting(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    with meeting_point(request.param, tmp_path_factory.mktemp("broker")) as address:
        yield request.param, address


@pytest.fixture
def net(meeting: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Net]:
    net = Net(*meeting, tmp_path)
    monkeypatch.setenv("FLAME_RENDEZVOUS", net.doors)
    yield net
    net.close()


def meet(*channels: Channel) -> None:
    """Wait until each sees all the others, or those of the other role; all of them look, so that all can be seen."""

    def sees(one: Channel) -> bool:
        others = {other.get_backend_id() for other in channels if other.my_role() == one.other_role()}
        one.await_join(0.01, len(channels))  # so that it looks
        return others - {one.get_backend_id()} <= set(one.all_ends())

    until(lambda: all([sees(one) for one in channels]), "they meet")


def say(source: Channel, target: str, value: object) -> None:
    """Send something now; in a program it would go out when that waits the next time."""
    assert source.send(target, value)
    source.dispatch()


def test_statement_24_a_large_message_arrives_whole_and_before_a_small_one(net: Net) -> None:
    a, b = net.pair()
    large = np.random.default_rng(0).integers(0, 256, 3 << 20, np.uint8)
    for source, target in ((a, "b"), (b, "a")):
        for value in (large.tobytes(), "small", [large, {"n": 1}], "small again"):
            say(source, target, value)
    for target, source in ((b, "a"), (a, "b")):
        assert target.recv(source)[0] == large.tobytes()
        assert target.recv(source)[0] == "small"
        array, more = target.recv(source)[0]  # type: ignore[misc]
        assert np.array_equal(array, large) and more == {"n": 1}
        assert target.recv(source)[0] == "small again" and target.peek(source) == (None, None)


def test_statement_25_await_join_is_true_when_it_timed_out(net: Net) -> None:
    (a,) = net.end("a")
    began = time.monotonic()
    assert a.await_join(0.3) is True
    assert 0.3 <= time.monotonic() - began < 5
    (b,) = net.end("b", DOWN)
    meet(a, b)
    assert a.await_join(20) is False and b.await_join(20) is False
    assert a.await_join() is False and a.await_join(0) is False


def test_statement_26_a_killed_peer_gives_nothing_within_the_liveness_bound(net: Net) -> None:
    (above,) = net.end("above", DOWN)
    programs = {name: net.program(name, does) for name, does in (("x", "answer"), ("y", "hang"), ("z", "answer"))}
    ends = [task_id(name) for name in programs]
    assert not above.await_join(20, 3)
    items = [(value, end) for value, (end, _) in above.recv_fifo(ends)]
    assert sorted(items) == sorted(("here", end) for end in ends)
    killed = time.monotonic() + 0.3
    timer = threading.Timer(0.3, programs["y"].kill)
    timer.start()
    assert above.recv(ends[1]) == (None, None)
    assert 0 < time.monotonic() - killed < BOUND_S
    timer.join()
    above.broadcast("and again")
    found = {end: value for value, (end, _) in above.recv_fifo(ends)}
    assert found == {ends[0]: "and again", ends[1]: None, ends[2]: "and again"}
    assert above.recv(ends[1]) == (None, None) and not above.has(ends[1])


def test_statement_27_two_channels_between_the_same_two_do_not_mix(net: Net) -> None:
    names = ("param-channel", "global-channel")
    here, there = net.end("a", UP, names), net.end("b", DOWN, names)
    for ours, theirs in zip(here, there, strict=True):
        meet(ours, theirs)
    for number in range(20):
        value = [number, np.full(1 << (18 if number % 5 == 0 else 2), number, np.uint8)]
        say(here[number % 2], "b", value)
        say(there[number % 2], "a", value)
    for ends, source in ((there, "a"), (here, "b")):
        for parity in (1, 0):  # whatever is on the other channel waits
            got = [ends[parity].recv(source)[0] for _ in range(10)]
            assert [number for number, _ in got] == list(range(parity, 20, 2))  # type: ignore[misc]
            assert all((array == number).all() for number, array in got)  # type: ignore[misc]
            assert ends[parity].is_rxq_empty(source)


def test_statement_28_other_jobs_groups_and_channels_are_never_seen(net: Net) -> None:
    """Nor can one write to another, although all of them meet at one place."""
    (a,) = net.end("a")
    others = [
        *net.end("another-job", DOWN, job=secrets.token_hex(12)),
        *net.end("another-group", DOWN, group="uk"),
        *net.end("another-channel", DOWN, ["global-channel"]),
        *net.end("same-role"),
    ]
    (b,) = net.end("b", DOWN)
    meet(a, b, others[3])
    for other in others[:3]:
        assert not other.send("a", "psst") and not a.send(other.get_backend_id(), "psst")
        other.dispatch()
    for number in range(3):  # by now whatever is under way has come
        say(b, "a", number)
        assert a.recv("b")[0] == number
        assert all(other.await_join(0.1) for other in others[:3])
    assert list(a.all_ends()) == ["b"] and sorted(b.all_ends()) == ["a", "same-role"]
    assert all(list(other.all_ends()) == [] for other in others[:3]) and list(others[3].all_ends()) == ["b"]
    assert all(a.is_rxq_empty(other.get_backend_id()) for other in others)
    assert all(other.peek("a") == (None, None) for other in others)


def test_statement_29_on_a_channel_to_its_own_role_a_worker_never_lists_itself(net: Net) -> None:
    nodes = {end: net.end(end, ("trainer", "trainer"))[0] for end in "abc"}
    alone = net.end("alone", ("trainer", "trainer"), group="uk")[0]
    meet(*nodes.values())
    for end, node in nodes.items():
        assert sorted(node.all_ends()) == sorted(node.ends()) == sorted(set("abc") - {end})
        assert not node.has(end) and not node.send(end, "to myself")
        node.broadcast(f"of {end}")
        node.dispatch()
    for end, node in nodes.items():
        assert sorted(str(value) for value, _ in node.recv_fifo(node.ends())) == [f"of {x}" for x in "abc" if x != end]
        assert node.is_rxq_empty(end)
    assert alone.empty() and alone.one_end() is None and alone.await_join(0.1) is True


def test_statement_30_an_end_of_training_right_before_the_process_ends_is_delivered(net: Net) -> None:
    (above,) = net.end("above", DOWN)
    program = net.program("x", "goodbye")
    assert not above.await_join(20)
    ok(program)  # it has ended, and nothing of it has been received yet
    end = task_id("x")
    assert above.recv(end)[0] == "here"
    assert np.array_equal(above.recv(end)[0], np.arange(400_000))  # type: ignore[arg-type]
    assert above.recv(end)[0] == {MessageType.EOT: True}
    assert above.recv(end) == (None, None)


class Evil:
    """Whoever unpickles it makes a file."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Path]]:
        return Path.touch, (self.marker,)


def thrown(net: Net, listens: str, target: str, data: bytes) -> None:
    """Bytes of a stranger, to wherever an end can be reached."""
    if net.sort == "mqtt":
        host, port = net.address.split(":")
        root = f"flame/{net.job}/to/{target}"
        topics = (f"{root}/stranger", f"{root}/c", f"/flame/{net.job}/param-channel/us/BROADCAST/aggregator/stranger")
        messages: Any = [(topic, data, 0, False) for topic in topics]
        paho.mqtt.publish.multiple(messages, hostname=host, port=int(port))
        return
    doors: list[Any] = [str(path) for path in net.machine.doors()]
    if net.sort == "p2p":
        host, port = listens.split(":")
        doors = [(host, int(port))]
    assert doors
    for door in doors:
        with contextlib.closing(socket.socket(socket.AF_UNIX if net.sort == "shm" else socket.AF_INET)) as sock:
            sock.connect(door)
            with contextlib.suppress(OSError):  # it may be refused before it has said everything
                sock.sendall(data)


def test_statement_31_a_pickle_is_refused_and_nothing_of_it_is_run(net: Net, tmp_path: Path) -> None:
    """Of a stranger, and of a peer that has been let in: that one is dropped, the others go on."""
    marker, listens = tmp_path / "executed", free_address()
    (a,) = net.end("a", network={"listen": listens})
    (b,), (c,) = net.end("b", DOWN), net.end("c", DOWN, network={"silence": 1.0})
    meet(a, b, c)
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        data = pickle.dumps({MessageType.WEIGHTS.value: Evil(marker)}, protocol)
        thrown(net, listens, "a", data)
        pickle.loads(data)
        assert marker.exists()  # else it would show nothing
        marker.unlink()
        if protocol in (2, 5):
            with contextlib.suppress(DecodeError):
                c.post(["a"], Sealed(Payload(data, [])))
                c.dispatch()
    say(b, "a", "hello")
    assert a.recv("b")[0] == "hello"
    until(lambda: a.look(0.01) or a.left("c"), "whoever sent it is dropped")
    assert a.is_rxq_empty("c")  # and what it sent has not been delivered, should it be back
    say(b, "a", "still here")
    assert a.recv("b")[0] == "still here"
    assert not marker.exists()
