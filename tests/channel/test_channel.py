"""Channels as programs use them: several workers as fibers of one host, and real processes that are killed."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable, Iterator
from datetime import datetime
from random import Random
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flame.backend.directory import Directory, Seat
from flame.backend.inproc import InProc
from flame.backend.pool import Pool
from flame.backend.shm import SharedMemory
from flame.channel import VAL_CH_STATE_RECV, VAL_CH_STATE_SEND
from flame.channel.channel import Channel, Wiring
from flame.channel.coding import CODING
from flame.common.fiber import Fiber, Hub
from flame.errors import DeadlinePassed, EncodeError
from flame.mode.message import MessageType
from flame.selector.default import Default
from flame.selector.random import Random as SomeOfThem
from flame.wire.message import Order


class Post:
    """Puts what comes for one end into its channels, and wakes its fiber."""

    def __init__(self, hub: Hub) -> None:
        self.hub = hub
        self.channels: dict[str, Channel] = {}
        self.fiber: Fiber | None = None

    def deliver(self, channel: str, source: str, message: Any) -> None:
        self.channels[channel].put(source, message)
        self.wake()

    def wake(self) -> None:
        if self.fiber is not None:
            self.hub.wake(self.fiber)


class Room:
    """Workers of one host."""

    def __init__(self) -> None:
        self.directory = Directory()
        self.backend: Any = InProc(self.directory, CODING.size_of)
        self.hub = Hub()
        self.posts: dict[str, Post] = {}

    def sit(
        self, end: str, role: str, other: str, channel: str = "c", group: str = "g", selector: Any = None
    ) -> Channel:
        seat = Seat(channel, group, role, end)
        self.directory.seat([seat], 0)
        wiring = Wiring(self.backend, self.hub, str)
        chosen = selector or Default(generator=Random(0))
        made = Channel(seat, other, wiring, chosen, "job")
        post = self.posts.setdefault(end, Post(self.hub))
        post.channels[channel] = made
        made.watch(post.wake)
        self.backend.attach(end, post)
        return made

    def work(self, end: str, program: Callable[[], None]) -> None:
        self.posts[end].fiber = self.hub.spawn(program, end)

    def leave(self, end: str) -> None:
        self.backend.detach(end)
        self.directory.leave(end)


def test_values_go_back_and_forth() -> None:
    room, seen = Room(), []
    server, client = room.sit("s", "server", "client"), room.sit("k", "client", "server")

    def ask() -> None:
        for number in range(5):
            assert client.send("s", number)
            seen.append(client.recv("s")[0])

    def answer() -> None:
        for _ in range(5):
            value, arrived = server.recv("k")
            assert isinstance(arrived, datetime)
            server.send("k", value * value)

    room.work("s", answer)
    room.work("k", ask)
    room.hub.run()
    assert seen == [0, 1, 4, 9, 16]


@given(
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers(-(2**63), 2**63 - 1)
        | st.floats(allow_nan=False)
        | st.text()
        | st.binary(),
        lambda inside: st.lists(inside, max_size=3) | st.dictionaries(st.text(), inside, max_size=3),
        max_leaves=8,
    )
)
def test_what_goes_in_comes_out(value: Any) -> None:
    room = Room()
    one, other = room.sit("a", "x", "y"), room.sit("b", "y", "x")
    one.send("b", value)
    assert other.recv("a")[0] == value


def test_upstreams_messages_go_through() -> None:
    """Dicts keyed by message types, with arrays and numpy scalars in them."""
    room = Room()
    one, other = room.sit("a", "x", "y"), room.sit("b", "y", "x")
    one.send(
        "b", {MessageType.WEIGHTS: [np.arange(6).reshape(2, 3)], MessageType.ROUND: np.int64(3), MessageType.EOT: True}
    )
    got, _ = other.recv("a")
    assert list(got) == [MessageType.WEIGHTS, MessageType.ROUND, MessageType.EOT]
    assert got[MessageType.WEIGHTS][0].tolist() == [[0, 1, 2], [3, 4, 5]] and got[MessageType.ROUND] == 3


def test_a_function_is_refused_before_it_leaves() -> None:
    room = Room()
    one, other = room.sit("a", "x", "y"), room.sit("b", "y", "x")
    with pytest.raises(EncodeError):
        one.send("b", print)
    assert other.is_rxq_empty("a")


def test_names() -> None:
    room = Room()
    one, other = room.sit("a", "x", "y", "c", "eu"), room.sit("b", "y", "x", "c", "eu")
    assert (one.name(), one.job_id(), one.my_role(), one.other_role()) == ("c", "job", "x", "y")
    assert (one.groupby(), one.get_backend_id()) == ("eu", "a")
    assert list(one.all_ends()) == one.ends() == ["b"] and one.one_end() == "b"
    assert one.has("b") and not one.has("a") and not one.empty()
    other.send("a", 1)
    assert not one.is_rxq_empty("b") and one.is_txq_empty("b")
    assert one.peek("b")[0] == 1 and one.recv("b")[0] == 1 and one.peek("b") == (None, None)
    other.send("a", 2)
    one.drain_messages()
    assert one.is_rxq_empty("b")


def test_groups_and_channels_are_apart() -> None:
    room = Room()
    room.sit("us", "x", "y", "c", "us")
    eu, peer = room.sit("eu", "x", "y", "c", "eu"), room.sit("p", "y", "x", "c", "eu")
    second, other = room.sit("eu", "x", "y", "d", "eu"), room.sit("p", "y", "x", "d", "eu")
    assert list(peer.all_ends()) == ["eu"]
    second.send("p", "on d")
    eu.send("p", "on c")
    assert (peer.recv("eu")[0], other.recv("eu")[0]) == ("on c", "on d")


def test_a_peer_of_another_group_cannot_be_written_to() -> None:
    """Wherever it sits: in this host too."""
    room = Room()
    one = room.sit("a", "x", "y", "c", "us")
    stranger = room.sit("b", "y", "x", "c", "eu")
    assert not one.send("b", "psst")
    assert stranger.is_rxq_empty("a")


def test_on_a_channel_to_its_own_role_a_worker_does_not_list_itself() -> None:
    room = Room()
    nodes = [room.sit(f"n{number}", "node", "node") for number in range(3)]
    assert [list(node.all_ends()) for node in nodes] == [["n1", "n2"], ["n0", "n2"], ["n0", "n1"]]
    assert not nodes[0].has("n0")
    assert len({node.ends_digest() for node in nodes}) == 1 != len(nodes[0].ends_digest())
    nodes[0].broadcast("hello")
    assert nodes[0].is_rxq_empty("n0") and nodes[1].recv("n0")[0] == nodes[2].recv("n0")[0] == "hello"


def test_alone_on_a_channel_to_its_own_role_nobody_is_there() -> None:
    room = Room()
    node = room.sit("n", "node", "node")
    assert node.empty() and node.one_end() is None and node.await_join(0.01) is True and node.ends_digest() == ""


def test_await_join_says_whether_it_timed_out() -> None:
    room, seen = Room(), []
    server = room.sit("s", "server", "client")

    def wait() -> None:
        seen.append(server.await_join(0.02))
        room.sit("k", "client", "server")
        seen.append(server.await_join(0.02))
        seen.append(server.await_join())

    room.work("s", wait)
    room.hub.run()
    assert seen == [True, False, False]


def test_a_joining_peer_wakes_who_waits_for_it() -> None:
    room, seen = Room(), []
    server = room.sit("s", "server", "client")
    room.work("s", lambda: seen.append((server.await_join(60), list(server.all_ends()))))
    room.posts["later"] = Post(room.hub)
    room.work("later", lambda: bool(room.sit("k", "client", "server")))
    room.hub.run()
    assert seen == [(False, ["k"])]


def test_what_a_peer_sent_before_it_left_can_be_received_then_nothing() -> None:
    room = Room()
    server, client = room.sit("s", "server", "client"), room.sit("k", "client", "server")
    client.send("s", "last words")
    room.leave("k")
    assert server.recv("k")[0] == "last words"
    assert server.recv("k") == (None, None)
    assert not server.send("k", "are you there?")


def test_who_comes_back_is_not_asked_what_the_old_one_was() -> None:
    room, got = Room(), []
    server = room.sit("s", "server", "client")
    room.sit("k", "client", "server")

    def ask() -> None:
        server.post(["k"], Order(1, None, False))
        room.leave("k")
        room.sit("k", "client", "server")
        got.append(server.take("k"))
        assert server.has("k")

    room.work("s", ask)
    room.hub.run()
    assert got == [None]


def test_a_peer_that_nobody_knows_gives_nothing_at_once() -> None:
    room = Room()
    server = room.sit("s", "server", "client")
    assert server.recv("nobody") == server.recv(None) == (None, None)
    assert server.take("nobody") is None and server.one_end() is None
    (value, (end, arrived)), *rest = server.recv_fifo([])
    assert (value, end, rest) == (None, "", []) and arrived is not None


def test_a_deadline_for_one_message() -> None:
    room = Room()
    server = room.sit("s", "server", "client")
    room.sit("k", "client", "server")
    with pytest.raises(DeadlinePassed, match="a message of k on c"):
        server.take("k", 0.01)


@given(st.permutations(range(5)), st.sets(st.integers(0, 4)), st.integers(-1, 6))
def test_fifo_gives_one_of_each_as_they_come(order: list[int], gone: set[int], first_k: int) -> None:
    room = Room()
    server = room.sit("s", "server", "client")
    clients = [room.sit(f"k{number}", "client", "server") for number in range(5)]
    for number in order:
        if number not in gone:
            clients[number].send("s", number)
            clients[number].send("s", "again")
    for number in gone:
        room.leave(f"k{number}")
    items = list(server.recv_fifo([f"k{number}" for number in range(5)], first_k))
    assert len(items) == (5 if first_k <= 0 else min(5, first_k))
    here = [number for number in order if number not in gone]
    assert [value for value, _ in items if value is not None] == here[: max(0, len(items) - len(gone))]
    assert {end for value, (end, when) in items if value is None and when is None} <= {f"k{number}" for number in gone}


def test_properties_are_seen_by_the_selector() -> None:
    class Noting:
        def __init__(self) -> None:
            self.seen: list[dict[str, object]] = []

        def select(self, ends: Any, properties: Any) -> Any:
            self.seen.append(dict(properties))
            return ends

    room, noting = Room(), Noting()
    server = room.sit("s", "server", "client", selector=noting)
    server.set_property("round", 4)
    server.ends(VAL_CH_STATE_SEND)
    server.ends()
    server.one_end(VAL_CH_STATE_RECV)
    assert [seen["state"] for seen in noting.seen] == ["send", "send", "recv"]
    assert all(seen["round"] == 4 and seen["requester"] == "s" for seen in noting.seen)
    server.set_end_property("k", "speed", 3)
    assert server.get_end_property("k", "speed") == 3 and server.get_end_property("k", "colour") is None


def test_the_chosen_are_the_same_while_a_round_lasts() -> None:
    room = Room()
    server = room.sit("s", "server", "client", selector=SomeOfThem(generator=Random(1), k=2))
    for number in range(9):
        room.sit(f"k{number}", "client", "server")
    chosen = []
    for number in range(20):
        server.set_property("round", number)
        chosen.append(tuple(server.ends()))
        assert server.ends() == list(chosen[-1]) and len(chosen[-1]) == 2
    assert len(set(chosen)) > 5


# -- peers in processes of their own -----------------------------------------------------------------------------------


class Peer:
    """A forked process that is one client; it does what `program` does with its channel, then pauses or ends."""

    def __init__(self, number: int, program: Callable[[Channel], None]) -> None:
        self.end = f"k{number}"
        self.ours, theirs = socket.socketpair()
        self.pid = os.fork()
        if not self.pid:
            try:
                self.ours.close()
                directory = Directory()
                directory.seat([Seat("c", "g", "server", "s")], 1)
                directory.seat([Seat("c", "g", "client", self.end)], 0)
                backend = SharedMemory(directory, CODING, Pool(), peers={1: theirs})
                hub, post = Hub(backend), Post(Hub())
                wiring = Wiring(backend, hub, str)
                chosen = Default(generator=Random(0))
                post.channels["c"] = Channel(Seat("c", "g", "client", self.end), "server", wiring, chosen, "job")
                backend.attach(self.end, post)
                program(post.channels["c"])
                backend.flush()
            finally:
                os._exit(0)
        theirs.close()

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)


@pytest.fixture
def serve() -> Iterator[Callable[..., tuple[Channel, list[Peer]]]]:
    peers: list[Peer] = []
    backends: list[SharedMemory] = []

    def serve(*programs: Callable[[Channel], None]) -> tuple[Channel, list[Peer]]:
        peers.extend(Peer(number, program) for number, program in enumerate(programs))
        directory = Directory()
        directory.seat([Seat("c", "g", "server", "s")], 0)
        for number, peer in enumerate(peers):
            directory.seat([Seat("c", "g", "client", peer.end)], number + 1)
        links = {number + 1: peer.ours for number, peer in enumerate(peers)}
        backend = SharedMemory(directory, CODING, Pool(), peers=links)
        backends.append(backend)
        post = Post(Hub())
        wiring = Wiring(backend, Hub(backend), str)
        chosen = Default(generator=Random(0))
        post.channels["c"] = Channel(Seat("c", "g", "server", "s"), "client", wiring, chosen, "job")
        backend.attach("s", post)
        return post.channels["c"], peers

    yield serve
    for peer in peers:
        peer.kill()
        os.waitpid(peer.pid, 0)
    for backend in backends:
        backend.close()


def hang(channel: Channel) -> None:
    """Say that one is there, and then nothing."""
    channel.send("s", "here")
    channel._wiring.backend.flush()
    signal.pause()


def test_a_killed_peer_gives_nothing(serve: Any) -> None:
    channel, (peer,) = serve(hang)
    assert channel.recv("k0")[0] == "here"
    peer.kill()
    assert channel.recv("k0") == (None, None)
    assert channel.empty()


def test_of_three_one_of_which_is_killed_three_items_come(serve: Any) -> None:
    def answer(channel: Channel) -> None:
        channel.send("s", "here")
        channel.send("s", channel.recv("s")[0])
        channel._wiring.backend.flush()
        signal.pause()

    channel, peers = serve(answer, hang, answer)
    assert sorted(value for value, _ in channel.recv_fifo(["k0", "k1", "k2"])) == ["here"] * 3
    channel.broadcast("and again")
    peers[1].kill()
    items = {end: value for value, (end, _) in channel.recv_fifo(["k0", "k1", "k2"])}
    assert items == {"k0": "and again", "k1": None, "k2": "and again"}


def test_the_last_message_is_for_those_who_come_before_its_sender_leaves_too() -> None:
    room = Room()
    top = room.sit("top", "aggregator", "trainer")
    early = room.sit("early", "trainer", "aggregator")
    room.sit("anew", "trainer", "aggregator")
    said: list[Any] = []

    def lead() -> None:
        top.post_last(Order(1, None, True))
        room.leave("anew")
        come = [room.sit(end, "trainer", "aggregator") for end in ("late", "anew")]
        top.tell_latecomers()
        said.extend(channel.take("top") for channel in come)

    room.work("top", lead)
    room.work("early", lambda: said.append(early.take("top")))
    room.hub.run()
    assert [order.end for order in said] == [True] * 3
    assert early.unread() is None  # it was told once


@pytest.mark.timeout(5)
def test_a_broadcast_right_before_the_end_is_delivered(serve: Any) -> None:
    def goodbye(channel: Channel) -> None:
        channel.broadcast(np.arange(100_000))
        channel.broadcast("goodbye")

    channel, peers = serve(goodbye)
    os.waitid(os.P_PID, peers[0].pid, os.WEXITED | os.WNOWAIT)
    assert channel.recv("k0")[0].sum() == sum(range(100_000))
    assert channel.recv("k0")[0] == "goodbye"
    assert channel.recv("k0") == (None, None)
