"""Whoever reaches a worker's port may say anything; those who belong together go on undisturbed.

Named after advisories of other systems where they match.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from town import Attack, House, Stranger, Town, address_of, guest, meet, resident_bytes, talk
from upstream import until

from flame.channel.coding import Sealed
from flame.weights.layout import Weights
from flame.wire import speech
from flame.wire.message import Update
from flame.wire.speech import MOST_BODY, MOST_HEAD, PREFIX, Head, Hello, Seating

TOKEN = b"only the job's workers know this"
AT_C = [("c", "g", "y", "C")]
"""Where C sits: beside B, so that A hears it."""


@pytest.fixture
def town() -> Iterator[Town]:
    town = Town()
    yield town
    town.close()


@pytest.fixture
def locked() -> Iterator[Town]:
    """A town whose people know a token."""
    town = Town(TOKEN)
    yield town
    town.close()


def stranger_at(town: Town, house: House) -> Stranger:
    return Stranger(address_of(town, house))


def insider(town: Town, a: House) -> Stranger:
    """C, which belongs to the job and means no good; A has met it."""
    c = stranger_at(town, a)
    c.enter("C", AT_C, town.token)
    until(lambda: "C" in a.sees(), "A sees C")
    return c


def message(value: object, source: str = "C", target: str = "A") -> Head:
    payload = Sealed.of(value).payload
    return Head(speech.MESSAGE, channel="c", source=source, targets=[target], header=bytes(payload.header))


# -- who has not introduced itself -------------------------------------------------------------------------------------

GARBAGE: dict[str, bytes] = {
    "nothing": b"",
    "a web browser": b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "TLS": bytes.fromhex("16030100c8010000c40303") + bytes(200),
    "zeros": bytes(100_000),
    "ones": b"\xff" * 100_000,
    "noise": np.random.default_rng(1).bytes(300_000),
    "a head that is no list": PREFIX.pack(1, 0) + b"\x01",
    "a head with a field too many": PREFIX.pack(16, 0) + b"\x9f" + bytes(15),
    "a head of an unknown kind": PREFIX.pack(2, 0) + b"\x91\x63",
    "half a frame": PREFIX.pack(1000, 0) + bytes(500),
    "a body before an introduction": PREFIX.pack(2, 1 << 20) + b"\x91\x01" + bytes(1 << 20),
    "an introduction that is none": PREFIX.pack(2, 0) + b"\x91\x00",
    "a refusal of what was not asked": PREFIX.pack(2, 0) + bytes([0x91, speech.REFUSED]),
}


@pytest.mark.parametrize("garbage", GARBAGE)
@pytest.mark.parametrize("where", ["worker", "rendezvous"])
def test_garbage(town: Town, garbage: str, where: str) -> None:
    a, b = town.pair()
    stranger = stranger_at(town, a) if where == "worker" else Stranger(town.address)
    stranger.raw(GARBAGE[garbage])
    talk(a, b)
    stranger.close()
    talk(a, b)
    c = town.house("C", ("c", "g", "y"), ("c", "g", "x"))
    meet(a, c)


@pytest.mark.parametrize(
    ("head", "body"), [(2**31, 0), (MOST_HEAD + 1, 0), (10, MOST_BODY + 1), (0, 0), (10, 2**32 - 1)]
)
def test_cve_2022_21822_a_size_that_nobody_sends_ends_the_connection(town: Town, head: int, body: int) -> None:
    a, b = town.pair()
    for stranger in (stranger_at(town, a), Stranger(town.address)):
        stranger.raw(PREFIX.pack(head, body) + bytes(100))
        assert stranger.shut()
        stranger.close()
    talk(a, b)


def test_cve_2022_21822_memory_is_not_taken_because_it_was_announced(town: Town) -> None:
    """A hundred strangers announce the largest head that there may be, or a body, and send next to nothing."""
    a, b = town.pair()
    address = address_of(town, a)
    before = resident_bytes()
    strangers = [Stranger(where) for where in (address, town.address) for _ in range(50)]
    for number, stranger in enumerate(strangers):
        stranger.raw(PREFIX.pack(*((MOST_HEAD, 0) if number % 2 else (2, MOST_BODY))) + b"\x91\x08" + bytes(10))
    talk(a, b)
    assert resident_bytes() - before < 48 << 20
    for stranger in strangers:
        stranger.close()
    talk(a, b)


def test_who_says_nothing_is_not_listened_to_for_ever() -> None:
    """Connections on which nobody introduces itself are ended, so that they cannot use up what there is of them."""
    town = Town(silence_s=1.0)
    try:
        a, b = town.pair()
        address = address_of(town, a)
        idle = [Stranger(where) for where in (address, town.address) for _ in range(20)]
        for stranger in idle[::2]:
            stranger.raw(PREFIX.pack(1000, 0) + bytes(500))
        talk(a, b)
        assert all(stranger.shut() for stranger in idle)
        for stranger in idle:
            stranger.close()
        talk(a, b)
    finally:
        town.close()


def test_a_flood_of_tiny_frames(town: Town) -> None:
    """Those who belong together get their turn meanwhile."""
    a, b = town.pair()
    flood = [stranger_at(town, a), insider(town, a)]
    data = speech.encode(Head(speech.BEAT))
    block = (PREFIX.pack(len(data), 0) + data) * 2000
    began = time.monotonic()
    for _ in range(25):
        for stranger in flood:
            stranger.raw(block)
        talk(a, b)
    assert time.monotonic() - began < 20
    for stranger in flood:
        stranger.close()


# -- who may not come in -----------------------------------------------------------------------------------------------


def test_another_job_is_refused(town: Town) -> None:
    a, b = town.pair()
    stranger = stranger_at(town, a)
    stranger.say(Head(speech.HELLO, header=stranger.hello("another job", "C", seats=AT_C)))
    assert b"another job" in stranger.hears(speech.REFUSED).header
    assert a.sees() == ["B"]
    talk(a, b)
    stranger.close()


@pytest.mark.parametrize("token", [b"", b"a wrong one", TOKEN + b"."])
@pytest.mark.parametrize("end", ["B", "C"])
def test_without_the_token_nobody_comes_in(locked: Town, token: bytes, end: str) -> None:
    """Neither as itself nor in the place of somebody who is there, and nothing is said to it."""
    a, b = locked.pair()
    address = address_of(locked, a)
    at_door = Stranger(locked.address)
    at_door.theirs = speech.hello_from(at_door.hears(speech.HELLO).header).mine
    at_door.say(Head(speech.HELLO, header=at_door.hello("job", end, token=token, wants=[("c", "g", "x")])))
    assert b"token" in at_door.hears(speech.REFUSED).header
    stranger = Stranger(address)
    seats = [("c", "g", "y", end)]
    stranger.say(Head(speech.HELLO, header=stranger.hello("job", end, token=token, seats=seats, turn=1)))
    answer = stranger.hears(speech.HELLO, speech.REFUSED)
    if answer.kind == speech.HELLO:
        stranger.theirs = speech.hello_from(answer.header).mine
        stranger.say(Head(speech.HELLO, header=stranger.hello("job", end, token=token, seats=seats, turn=2)))
        a.send("B", "a secret")
        assert b"token" in stranger.hears(speech.REFUSED, speech.MESSAGE).header
    stranger.numbered(message("forged", end))
    talk(a, b)
    assert "forged" not in a.values() and a.sees() == ["B"]
    stranger.close()
    at_door.close()


def test_an_introduction_counts_once(locked: Town) -> None:
    """Who has overheard one cannot take over what is said to whom it was of."""
    a, b = locked.pair()
    c = insider(locked, a)
    overheard = c.hello("job", "C", token=TOKEN, seats=AT_C, turn=3)
    c.say(Head(speech.HELLO, header=overheard))
    a.send("C", "one")
    assert c.hears(speech.MESSAGE).number == 1
    thief = stranger_at(locked, a)
    thief.say(Head(speech.HELLO, header=overheard))
    assert thief.shut()
    a.send("C", "two")
    while c.hears(speech.MESSAGE).number != 2:
        pass
    talk(a, b)
    c.close()


@pytest.mark.parametrize("at", ["worker", "rendezvous"])
def test_a_process_that_is_there_is_not_replaced(town: Town, at: str) -> None:
    """Not even by somebody who knows everything that there is to know."""
    a, b = town.pair()
    stranger = stranger_at(town, a) if at == "worker" else Stranger(town.address)
    if at == "rendezvous":
        stranger.theirs = speech.hello_from(stranger.hears(speech.HELLO).header).mine
    stranger.say(Head(speech.HELLO, header=stranger.hello("job", "B", seats=[("c", "g", "y", "B")])))
    assert b"another process of this job runs as B" in stranger.hears(speech.REFUSED).header
    talk(a, b)
    stranger.close()


# -- who belongs to the job and means no good --------------------------------------------------------------------------


def test_cve_2026_24178_who_sent_it_is_not_said_by_the_frame(town: Town) -> None:
    a, b = town.pair()
    c = insider(town, a)
    for source in ("B", "A", "nobody"):
        c.numbered(message(f"as {source}", source))
    c.numbered(message("as myself"))
    until(lambda: "as myself" in a.values(), "A hears C")
    assert a.values() == ["as myself"]
    talk(a, b)
    c.close()


def test_cve_2026_24178_seats_are_taken_for_oneself(town: Town) -> None:
    a, b = town.pair()
    thief = stranger_at(town, a)
    thief.say(Head(speech.HELLO, header=thief.hello("job", "D", seats=[("c", "g", "y", "B")])))
    assert b"somebody else" in thief.hears(speech.REFUSED).header
    c = insider(town, a)
    c.numbered(Head(speech.SEATS, header=speech.encode(Seating([("c", "g", "y", "B")]))))
    assert c.shut()
    until(lambda: a.sees() == ["B"], "C is not listened to any longer")
    talk(a, b)
    for stranger in (thief, c):
        stranger.close()


def test_cve_2026_24178_nobody_leaves_for_somebody_else(town: Town) -> None:
    a, b = town.pair()
    c = insider(town, a)
    c.numbered(Head(speech.LEAVE, source="B"))
    c.numbered(message("done"))
    until(lambda: "done" in a.values(), "A hears C")
    assert a.sees() == ["B", "C"]
    talk(a, b)
    c.close()


def test_a_frame_that_is_repeated_counts_once(town: Town) -> None:
    a, b = town.pair()
    c = insider(town, a)
    for number in (1, 2, 1, 3, 2, 3, 3, 1):
        head = message(number)
        head.number = number
        c.say(head)
    until(lambda: 3 in a.values(), "A hears C")
    talk(a, b)
    assert [value for value in a.values() if isinstance(value, int)] == [1, 2, 3]
    c.close()


def test_who_asks_and_does_not_listen_is_cut_off(town: Town) -> None:
    a, b = town.pair()
    c = insider(town, a)
    data = speech.encode(Head(speech.READ, request=1, lease=99, length=1000))
    block = (PREFIX.pack(len(data), 0) + data) * 10_000
    before = resident_bytes()
    c.sock.settimeout(0.5)
    for _ in range(200):
        c.raw(block)
        if a.sees() == ["B"]:
            break
    until(lambda: a.sees() == ["B"], "C is not listened to any longer")
    assert resident_bytes() - before < 64 << 20
    talk(a, b)


def large(value: int) -> Update:
    """An update that stays with its trainer until it is read."""
    return Update(Weights.pack({"w": np.full(20 << 20, value, np.float32)}), 1, 1)


def test_what_was_lent_to_somebody_else_is_not_read(town: Town) -> None:
    a, b = town.pair()
    c = insider(town, a)
    a.send("B", large(7))
    until(lambda: b.values(), "B has the update's head")
    for lease in range(10):
        for start in (0, -1, 1 << 62):
            c.say(Head(speech.READ, request=lease, lease=lease, start=start, length=1000))
            assert c.hears(speech.DATA, speech.MISSING).kind == speech.MISSING
        c.numbered(Head(speech.RELEASE, lease=lease))
    out = np.empty(20 << 20, np.float32)
    (update,) = b.values()
    update.weights.source.read(0, out)
    assert out.min() == out.max() == 7
    b.got.clear()
    del update
    talk(a, b)
    c.close()


def test_nobody_answers_for_somebody_else(town: Town) -> None:
    """A reads from B; what C says that B's answers are does not count."""
    a, b = town.pair()
    c = insider(town, a)
    b.send("A", large(7))
    until(lambda: a.values(), "A has the update's head")
    (update,) = a.values()
    out = np.empty(1 << 18, np.float32)
    for start in range(0, 80 << 20, 1 << 20):
        for request in range(start >> 20, (start >> 20) + 4):
            c.say(Head(speech.DATA, request=request), bytes(64 << 10))
            c.say(Head(speech.MISSING, request=request))
        update.weights.source.read(start, out)
        assert out.min() == out.max() == 7
    a.got.clear()
    del update
    talk(a, b)
    c.close()


@pytest.mark.parametrize("lazy", [False, True])
@pytest.mark.parametrize("nbytes", [1 << 33, 1 << 40, 1 << 41, 1 << 63, -1])
def test_cve_2022_21822_a_terabyte_that_is_promised_takes_no_memory(town: Town, nbytes: int, lazy: bool) -> None:
    a, b = town.pair()
    c = insider(town, a)
    before = resident_bytes()
    c.numbered(
        Head(speech.MESSAGE, channel="c", source="C", targets=["A"], header=b"x", parts=[(1, nbytes)], lazy=lazy)
    )
    talk(a, b)
    assert resident_bytes() - before < 32 << 20
    c.close()
    talk(a, b)


NONSENSE: dict[str, Attack] = {
    "a message without a header": lambda c: c.numbered(Head(speech.MESSAGE, channel="c", source="C", targets=["A"])),
    "a body that is too short": lambda c: c.numbered(
        Head(speech.MESSAGE, channel="c", source="C", targets=["A"], header=b"x", parts=[10]), b"short"
    ),
    "a body that is too long": lambda c: c.numbered(
        Head(speech.MESSAGE, channel="c", source="C", targets=["A"], header=b"x", parts=[1]), b"long"
    ),
    "nothing that is lent": lambda c: c.numbered(
        Head(speech.MESSAGE, channel="c", source="C", targets=["A"], header=b"x", parts=[(1, 0), 5])
    ),
    "no message": lambda c: c.numbered(
        Head(speech.MESSAGE, channel="c", source="C", targets=["A"], header=b"no message")
    ),
    "seats that are none": lambda c: c.numbered(Head(speech.SEATS, header=b"\xc1")),
    "a number for what has none": lambda c: c.numbered(Head(speech.BEAT)),
    "no number for what has one": lambda c: c.say(Head(speech.LEAVE, source="C")),
    "a confirmation of what was never said": lambda c: c.say(Head(speech.BEAT, heard=1 << 60)),
    "another version": lambda c: c.say(
        Head(speech.HELLO, header=speech.encode(Hello(99, "job", "C", c.number, c.theirs, 0, [])))
    ),
}


@pytest.mark.parametrize("nonsense", NONSENSE)
def test_who_sends_nonsense_goes_and_nobody_else(town: Town, nonsense: str) -> None:
    a, b = town.pair()
    c = insider(town, a)
    NONSENSE[nonsense](c)
    until(lambda: a.sees() == ["B"], "C is not listened to any longer")
    talk(a, b)
    c.close()


HEADS = st.builds(
    Head,
    kind=st.integers(0, 11),
    number=st.sampled_from([0, 0, 1, 2, 3, 1 << 40]),
    heard=st.integers(-1, 2),
    channel=st.sampled_from(["c", "", "d"]),
    source=st.sampled_from(["C", "B", ""]),
    targets=st.lists(st.sampled_from(["A", "B", "", "Z"]), max_size=3),
    header=st.binary(max_size=40) | st.just(bytes(Sealed.of([1, "x"]).payload.header)),
    parts=st.lists(
        st.integers(-(1 << 63), 1 << 63) | st.tuples(st.integers(-1, 1 << 40), st.integers(-1, 1 << 63)), max_size=3
    ),
    lazy=st.booleans(),
    request=st.integers(-1, 1 << 62),
    lease=st.integers(-1, 1 << 62),
    start=st.integers(-1, 1 << 62),
    length=st.integers(-1, 1 << 62),
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(HEADS, st.binary(max_size=20)), min_size=1, max_size=8))
def test_whatever_an_insider_says_the_others_go_on(town: Town, said: list[tuple[Head, bytes]]) -> None:
    if not town.houses:
        town.pair()
    a, b = town.houses
    c = Stranger(address_of(town, a))
    c.enter("C", AT_C)
    for head, body in said:
        c.say(head, body)
    talk(a, b)
    c.close()
    until(lambda: a.sees() == ["B"], "C is gone")


# -- the rendezvous ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "address", ["", "nowhere", "a.name.that.would.have.to.be.resolved:1", "1.2.3.4:x", "[::1", ":"]
)
def test_an_address_that_is_none_is_not_called(town: Town, address: str) -> None:
    a, b = town.pair()
    at_door = guest(town, "C", ("c", "g", "x"), addresses=[address])
    at_door.say(Head(speech.SEATS, header=speech.encode(Seating([("c", "g", "y", "C")]))))
    at_door.hears(speech.MEET)
    d = town.house("D", ("c", "g", "y"), ("c", "g", "x"))
    meet(a, d)
    talk(a, b)
    at_door.close()


def test_the_rendezvous_takes_only_so_much_of_a_guest(town: Town) -> None:
    a, b = town.pair()
    for attack in (
        Head(speech.SEATS, header=speech.encode(Seating([("c", str(n), "y", "C") for n in range(4096)]))),
        Head(speech.SEATS, header=speech.encode(Seating([], [("c", str(n), "y") for n in range(4096)]))),
        Head(speech.HELLO, header=b""),
        Head(speech.MESSAGE),
    ):
        at_door = guest(town, "C", ("c", "g", "x"))
        at_door.hears(speech.MEET)
        at_door.say(attack)
        at_door.say(Head(speech.SEATS, header=speech.encode(Seating([("c", "g", "z", "C")], [("c", "g", "z")]))))
        assert at_door.shut()
        at_door.close()
    talk(a, b)


def test_a_second_introduction_is_one_too_many(town: Town) -> None:
    at_door = guest(town, "C", ("c", "g", "x"))
    at_door.say(Head(speech.HELLO, header=at_door.hello("job", "D")))
    assert at_door.shut()
    at_door.close()


def test_nothing_is_kept_of_who_comes_and_goes(town: Town) -> None:
    """Neither descriptors nor memory: what thousands leave behind would add up."""
    a, b = town.pair()
    address = address_of(town, a)
    files, before = len(os.listdir("/proc/self/fd")), resident_bytes()
    for number in range(400):
        stranger = Stranger(address if number % 2 else town.address)
        if number % 2:
            stranger.say(Head(speech.HELLO, header=stranger.hello("another job", "C")))
        else:
            stranger.raw(b"garbage that is long enough")
        stranger.close()
    talk(a, b)
    until(lambda: len(os.listdir("/proc/self/fd")) <= files, "everything is closed")
    assert resident_bytes() - before < 16 << 20
    talk(a, b)
