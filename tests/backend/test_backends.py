"""One contract for every backend: what is sent arrives once, in order, whole, and nowhere else."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flame.backend import Backend
from flame.backend.courier import Courier
from flame.backend.directory import Directory, Seat
from flame.backend.inproc import InProc
from flame.backend.link import HELLO, LEAVE, RELEASE, Head, Link
from flame.backend.network import Network
from flame.backend.p2p import PeerToPeer
from flame.backend.peer import Me
from flame.backend.pool import SMALLEST, Pool
from flame.backend.reception import Reception
from flame.backend.rendezvous import Rendezvous, folder_of
from flame.backend.shm import SharedMemory, seats_from_plain
from flame.channel.coding import CODING, Sealed
from flame.errors import ChannelError, DecodeError, EncodeError
from flame.wire.codec import Payload

SEATS = [
    Seat("c", "g", "x", "A"),
    Seat("c", "g", "y", "B"),
    Seat("d", "g", "x", "A"),
    Seat("d", "g", "y", "B"),
    Seat("c", "other", "x", "Z"),
]
SIZES = [0, 1, 1000, SMALLEST - 1, SMALLEST, 3 << 20]


class Box:
    """A worker's letter box."""

    def __init__(self) -> None:
        self.got: list[tuple[str, str, Any]] = []

    def deliver(self, channel: str, source: str, message: object) -> None:
        assert isinstance(message, Sealed)
        self.got.append((channel, source, message.open()))

    def values(self, channel: str = "c") -> list[Any]:
        return [value for where, _, value in self.got if where == channel]


class Net:
    """Workers A, B and Z, each with its backend and its box."""

    def __init__(self, backends: dict[str, Backend]) -> None:
        self.backends = backends
        self.boxes = {end: Box() for end in backends}
        for end, backend in backends.items():
            backend.attach(end, self.boxes[end])

    def send(self, source: str, targets: Sequence[str], value: object, channel: str = "c") -> int:
        return self.backends[source].send(channel, source, targets, Sealed.of(value))

    def settle(self) -> None:
        """Let everything arrive: nothing moves any more once some sweeps bring nothing."""
        quiet = 0
        while quiet < 20:
            before = sum(len(box.got) for box in self.boxes.values())
            for backend in self.backends.values():
                backend.poll(0.0)
            quiet = quiet + 1 if before == sum(len(box.got) for box in self.boxes.values()) else 0

    def gone(self, end: str) -> None:
        """The host of an end closes."""
        self.backends.pop(end).close()

    def close(self) -> None:
        for backend in set(self.backends.values()):
            backend.close()


def kinds(box: Box) -> list[str]:
    """What came, where it does not matter which array an array is."""
    return [value if isinstance(value, str) else "array" for value in box.values()]


def inproc() -> Net:
    directory = Directory()
    directory.seat(SEATS, 0)
    backend = InProc(directory, CODING.size_of)
    return Net({"A": backend, "B": backend, "Z": backend})


def one_host() -> Net:
    directory = Directory()
    directory.seat(SEATS, 0)
    backend = SharedMemory(directory, CODING, Pool(), numbered=["A", "B", "Z"])
    return Net({"A": backend, "B": backend, "Z": backend})


def three_hosts() -> Net:
    pairs = {(0, 1): socket.socketpair(), (0, 2): socket.socketpair(), (1, 2): socket.socketpair()}
    backends: dict[str, Backend] = {}
    for number, end in enumerate("ABZ"):
        directory = Directory()
        for seat in SEATS:
            directory.seat([seat], "ABZ".index(seat.end))
        peers = {
            high if low == number else low: ours if low == number else theirs
            for (low, high), (ours, theirs) in pairs.items()
            if number in (low, high)
        }
        backends[end] = SharedMemory(directory, CODING, Pool(), peers=peers, numbered=["A", "B", "Z"])
    return Net(backends)


class Far(Net):
    """Workers whose couriers work while nobody looks; they have met at a rendezvous."""

    def __init__(self) -> None:
        self.networks: dict[str, Network] = {}
        self._door = socket.create_server(("127.0.0.1", 0))
        address = f"127.0.0.1:{self._door.getsockname()[1]}"
        self._courier = Courier("rendezvous", lambda error: None)
        self._reception = Reception(self._courier, self._door)
        self._courier.start()
        for end in "ABZ":
            self.networks[end] = Network(
                Me("job", end), CODING, Pool(), lambda node, courier: PeerToPeer(node, courier, address)
            )
            seats = [seat for seat in SEATS if seat.end == end]
            wants = [Seat(channel, group, "y" if role == "x" else "x", "") for channel, group, role, _ in seats]
            self.networks[end].sit(seats, [want[:3] for want in wants])
        super().__init__(dict(self.networks))
        deadline = time.monotonic() + 20
        while not (self._met("A") and self._met("B")):
            assert time.monotonic() < deadline, "A and B do not meet"
            self.networks["A"].poll(0.01)
            self.networks["B"].poll(0.01)

    def settle(self) -> None:
        """Everything that was said has been heard, and lies where it is looked for."""
        for _ in range(2):
            for backend in self.networks.values():
                backend.flush()
        super().settle()

    def gone(self, end: str) -> None:
        del self.networks[end]
        super().gone(end)
        deadline = time.monotonic() + 20
        left = [backend for here, backend in self.networks.items() if here in "AB"]
        while any(backend.directory.host_of(end) is not None for backend in left):
            assert time.monotonic() < deadline, f"nobody notices that {end} has gone"
            for backend in left:
                backend.poll(0.01)

    def close(self) -> None:
        super().close()
        self._courier.call(self._reception.close)
        self._courier.stop()
        self._door.close()

    def _met(self, end: str) -> bool:
        role = "y" if end == "A" else "x"
        return all(len(self.networks[end].directory.members(channel, "g", role)) for channel in "cd")


NETS: dict[str, Callable[[], Net]] = {"inproc": inproc, "shm in one host": one_host, "shm": three_hosts, "p2p": Far}


@pytest.fixture(params=NETS)
def net(request: pytest.FixtureRequest) -> Iterator[Net]:
    net = NETS[request.param]()
    yield net
    net.close()


@pytest.fixture(params=["shm", "p2p"])
def hosts(request: pytest.FixtureRequest) -> Iterator[Net]:
    net = NETS[request.param]()
    yield net
    net.close()


def test_what_is_sent_arrives_once_in_order_and_whole(net: Net) -> None:
    for number in range(100):
        net.send("A", ["B"], number)
    net.settle()
    assert net.boxes["B"].values() == list(range(100))
    assert {source for _, source, _ in net.boxes["B"].got} == {"A"}
    assert not net.boxes["A"].got and not net.boxes["Z"].got


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.sampled_from(SIZES), st.booleans()), min_size=1, max_size=6))
def test_large_and_small_keep_their_order(net: Net, steps: list[tuple[int, bool]]) -> None:
    """Small messages do not overtake large ones, however they travel."""
    net.boxes["B"].got.clear()
    sizes = [size for size, _ in steps]
    sent = [np.random.default_rng(size).integers(0, 255, size, np.uint8) for size in sizes]
    for array, (_, settles) in zip(sent, steps, strict=True):
        net.send("A", ["B"], [array, len(array)])
        if settles:
            net.settle()
    net.settle()
    got = net.boxes["B"].values()
    assert [length for _, length in got] == sizes
    assert all(np.array_equal(array, here) for array, (here, _) in zip(sent, got, strict=True))


def test_both_directions_at_once(net: Net) -> None:
    """More than the sockets take, both ways, without anybody waiting for the other."""
    block = "x" * 50_000
    for _ in range(100):
        net.send("A", ["B"], block)
        net.send("B", ["A"], block)
    net.settle()
    assert len(net.boxes["A"].values()) == len(net.boxes["B"].values()) == 100


def test_what_a_receiver_does_to_a_value_is_its_own_affair(net: Net) -> None:
    array = np.zeros(SMALLEST)
    net.send("A", ["B"], array)
    array[:] = 1
    net.send("A", ["B"], array)
    net.settle()
    first, second = net.boxes["B"].values()
    assert first.sum() == 0 and second.sum() == SMALLEST
    first[:] = 7
    assert array.sum() == SMALLEST


def test_two_channels_between_the_same_two_workers_do_not_mix(net: Net) -> None:
    for number in range(20):
        net.send("A", ["B"], number, "c" if number % 2 else "d")
    net.settle()
    assert net.boxes["B"].values("c") == list(range(1, 20, 2))
    assert net.boxes["B"].values("d") == list(range(0, 20, 2))


def test_an_end_that_has_gone_is_passed_over(net: Net) -> None:
    leave = getattr(net.backends["B"], "leave", None) or net.backends["B"].detach  # type: ignore[attr-defined]
    leave("B")
    net.settle()
    net.send("A", ["B"], 1)
    net.settle()
    assert not net.boxes["B"].got


@pytest.mark.parametrize("count", [60, 100])
def test_many_arrays_in_one_value(hosts: Net, count: int) -> None:
    """A model of many tensors, as a user's own message: more of them than one packet carries descriptors."""
    arrays = [np.full(SMALLEST, number % 251, np.uint8) for number in range(count)]
    hosts.send("A", ["B"], arrays)
    hosts.settle()
    (got,) = hosts.boxes["B"].values()
    assert all(array[0] == number % 251 for number, array in enumerate(got))


def test_bytes_are_counted(net: Net) -> None:
    assert net.send("A", ["B"], np.zeros(1000, np.uint8)) >= 1000


# -- hosts that come and go --------------------------------------------------------------------------------------------


def test_a_stranger_cannot_write(hosts: Net) -> None:
    """Z shares no group with B: a frame that says otherwise is passed over."""
    hosts.send("Z", ["B"], "let me in")
    hosts.send("A", ["B"], "hello")
    hosts.settle()
    assert hosts.boxes["B"].values() == ["hello"]


def test_nobody_writes_under_a_channel_that_is_not_shared(hosts: Net) -> None:
    hosts.send("A", ["B"], "psst", channel="no such channel")
    hosts.settle()
    assert not hosts.boxes["B"].got


def test_what_was_sent_before_leaving_arrives(hosts: Net) -> None:
    """A broadcast and the end right after it, with large and small messages."""
    hosts.send("A", ["B"], np.zeros(SMALLEST))
    hosts.send("A", ["B"], "goodbye")
    hosts.gone("A")
    hosts.settle()
    assert kinds(hosts.boxes["B"]) == ["array", "goodbye"]
    assert hosts.backends["B"].directory.host_of("A") is None


def test_what_was_sent_before_leaving_arrives_also_where_somebody_answers(hosts: Net) -> None:
    """B has something to say to A, which has gone: that cannot be said, but what A said can be heard."""
    hosts.send("A", ["B"], "goodbye")
    hosts.gone("A")
    hosts.send("B", ["A"], "hello")
    hosts.settle()
    assert hosts.boxes["B"].values() == ["goodbye"]


def test_a_host_that_goes_takes_its_ends_with_it(hosts: Net) -> None:
    lost: list[str] = []
    directory = hosts.backends["B"].directory
    directory.members("c", "g", "x").watch(lambda: lost.append("somebody"))
    hosts.gone("A")
    hosts.settle()
    assert lost == ["somebody"] and directory.members("c", "g", "x").ends() == []


def hostile(act: Callable[[Link], None]) -> tuple[SharedMemory, Box]:
    """A host with B in it, and a neighbour of B's that does something; B's host polls once."""
    ours, theirs = socket.socketpair()
    directory = Directory()
    for seat in SEATS:
        directory.seat([seat], 0 if seat.end == "B" else 1)
    backend = SharedMemory(directory, CODING, Pool(), peers={1: ours}, numbered=["A", "B"])
    backend.on_hello = lambda host, head: directory.seat(seats_from_plain(head.targets), host)
    box = Box()
    backend.attach("B", box)
    link = Link(0, theirs, Pool())
    act(link)
    link.write()
    backend.poll(0.0)
    link.close()
    return backend, box


ATTACKS: dict[str, Callable[[Link], None]] = {
    "no message": lambda link: link.send("c", "A", ["B"], Payload(b"garbage", [])),
    "a sender without a number": lambda link: link.send("c", 99, ["B"], Sealed.of(1).payload),
    "a target without a number": lambda link: link.send("c", "A", [99], Sealed.of(1).payload),
    "a leave without a number": lambda link: link.say(Head(LEAVE, source=99)),
    "half a seat": lambda link: link.say(Head(HELLO, targets=["x"])),
    "a release of what was not lent": lambda link: link.say(Head(RELEASE, parts=[(5, 1, 0)])),
    "a release that is none": lambda link: link.say(Head(RELEASE, parts=[5])),
    "a segment that is not there": lambda link: link.say(Head(0, "c", "A", ["B"], b"", [(5, 0, 10)])),
    "a descriptor that did not come": lambda link: link.say(Head(0, "c", "A", ["B"], b"", [], [(5, 10)])),
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_a_neighbour_that_sends_nonsense_is_dropped(attack: str) -> None:
    """The one who sends it goes; the one who gets it stays."""
    backend, box = hostile(ATTACKS[attack])
    assert backend.hosts == [] and not box.got
    assert backend.directory.members("c", "g", "x").ends() == []
    backend.close()


def test_somebody_elses_end_cannot_be_sent_away(hosts: Net) -> None:
    hosts.backends["Z"].leave("A")  # type: ignore[attr-defined]  # Z says that A has gone
    hosts.settle()
    hosts.send("A", ["B"], 1)
    hosts.settle()
    assert hosts.boxes["B"].values() == [1]


# -- programs that are started one by one ------------------------------------------------------------------------------


class Met:
    """One process's side of a rendezvous."""

    def __init__(self, job: str, end: str, *seats: Seat) -> None:
        self.backend = SharedMemory(Directory(), CODING, Pool())
        self.box = Box()
        self.backend.attach(end, self.box)
        self.end, self.seats = end, seats
        self.rendezvous = Rendezvous(self.backend, job, end)

    def announce(self) -> None:
        self.rendezvous.sit(self.seats)

    def sees(self, channel: str, group: str, role: str) -> list[str]:
        return list(self.backend.directory.members(channel, group, role).ends())

    def close(self) -> None:
        self.rendezvous.close()
        self.backend.close()


@pytest.fixture
def meet(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Met]]:
    # An environment variable is this door's only setting; a unix socket's path has room for some 100 characters.
    folder = Path("/tmp") / f"flame-test-{os.getpid()}"
    monkeypatch.setenv("FLAME_RENDEZVOUS", str(folder))
    made: list[Met] = []

    def meet(job: str, end: str, *seats: Seat) -> Met:
        made.append(Met(job, end, *seats))
        return made[-1]

    yield meet
    for one in made:
        one.close()
    assert not [path for path in folder.rglob("*") if path.is_socket()]
    subprocess.run(["rm", "-r", str(folder)], check=True)


def talk(*all_of_them: Met) -> None:
    for _ in range(6):
        for one in all_of_them:
            one.backend.poll(0.0)


def test_everybody_of_a_job_meets_whoever_comes_first(meet: Callable[..., Met]) -> None:
    ends: list[Met] = []
    for number in range(4):
        ends.append(meet("job", f"t{number}", Seat("c", "g", "x", f"t{number}")))
        ends[-1].announce()
        talk(*ends)
    assert all(sorted(one.sees("c", "g", "x")) == ["t0", "t1", "t2", "t3"] for one in ends)


def test_jobs_channels_and_groups_do_not_see_each_other(meet: Callable[..., Met]) -> None:
    ends = [
        meet("job", "a", Seat("c", "g", "x", "a")),
        meet("another job", "b", Seat("c", "g", "x", "b")),
        meet("job", "c", Seat("c", "another group", "x", "c")),
        meet("job", "d", Seat("another channel", "g", "x", "d")),
    ]
    for one in ends:
        one.announce()
    talk(*ends)
    seen = [one.sees(seat.channel, seat.group, "x") for one in ends for seat in one.seats]
    assert seen == [["a"], ["b"], ["c"], ["d"]]
    for one in ends:
        for target in "abcd":
            one.backend.send("c", one.end, [target], Sealed.of("hello"))
    talk(*ends)
    assert not [value for one in ends for _, source, value in one.box.got if source != one.end]


def test_two_that_meet_twice_lose_nothing(meet: Callable[..., Met]) -> None:
    """Who starts at the same moment connects from both sides; what is sent last arrives all the same."""
    here, there = meet("job", "a", Seat("c", "g", "x", "a")), meet("job", "b", Seat("c", "g", "y", "b"))
    here.announce()
    there.announce()
    talk(here, there)
    there.backend.send("c", "b", ["a"], Sealed.of(np.zeros(SMALLEST)))
    there.backend.send("c", "b", ["a"], Sealed.of("goodbye"))
    there.close()
    talk(here)
    assert kinds(here.box) == ["array", "goodbye"]


def test_a_forged_frame_of_a_stranger_is_passed_over(meet: Callable[..., Met]) -> None:
    here = meet("job", "a", Seat("c", "g", "x", "a"))
    here.announce()
    stranger = meet("job", "z", Seat("c", "another group", "x", "z"))
    stranger.announce()
    talk(here, stranger)
    (host,) = stranger.backend.hosts
    link = stranger.backend._links[host]
    for source in ("z", "a", "nobody"):
        link.send("c", source, ["a"], Sealed.of("forged").payload)
    talk(stranger, here)
    assert [source for _, source, _ in here.box.got if source != "a"] == []


def test_the_same_end_twice_is_refused(meet: Callable[..., Met]) -> None:
    meet("job", "a", Seat("c", "g", "x", "a"))
    with pytest.raises(ChannelError, match="another process of this job runs as a"):
        Met("job", "a")


def test_a_folder_whose_name_is_too_long_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLAME_RENDEZVOUS", str(tmp_path / ("x" * 120)))
    backend = SharedMemory(Directory(), CODING, Pool())
    try:
        with pytest.raises(ChannelError, match="FLAME_RENDEZVOUS"):
            Rendezvous(backend, "job", "a")
    finally:
        backend.close()


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a folder away")
@pytest.mark.parametrize("which", ["base", "job"])
def test_a_folder_of_somebody_else_is_not_entered(which: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    base = tmp_path / "meet"
    monkeypatch.setenv("FLAME_RENDEZVOUS", str(base))
    folder = folder_of("job")
    os.chown(base if which == "base" else folder, 12345, 12345)
    with pytest.raises(ChannelError, match="another user"):
        folder_of("job")


@pytest.mark.parametrize("hosts", ["shm"], indirect=True)
def test_a_value_too_large_for_a_frame_is_refused_where_it_is_sent(hosts: Net) -> None:
    with pytest.raises(EncodeError, match="at most 256 MiB"):
        hosts.backends["A"].send("c", "A", ["B"], Sealed(Payload(bytes(1 << 28), [])))


def test_seats_that_are_none_are_refused() -> None:
    for words in (["x"], ["a", "b", "c", 4]):
        with pytest.raises(DecodeError):
            seats_from_plain(words)
