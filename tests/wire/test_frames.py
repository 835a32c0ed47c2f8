"""Frames: a payload survives them, in spite of repetition and mixing, and nothing else does."""

from __future__ import annotations

import random
import struct
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flame.errors import DecodeError
from flame.wire import codec
from flame.wire.codec import Payload
from flame.wire.frames import HEAD_BYTES, Assembler, split

runs = st.binary(max_size=300)
payloads = st.builds(Payload, runs, st.lists(runs, max_size=4))


def put_together(frames, assembler=None, sender="trainer", channel="param"):
    assembler = assembler or Assembler()
    done = [assembler.add(sender, channel, frame) for frame in frames]
    return [payload for payload in done if payload is not None]


def plain(payload):
    return bytes(payload.header), [bytes(buffer) for buffer in payload.buffers]


@settings(deadline=None)
@given(payloads, st.integers(1, 400))
def test_together_undoes_split(payload, room):
    frames = list(split(payload, HEAD_BYTES + room, 5))
    assert all(len(frame) <= HEAD_BYTES + room for frame in frames)
    (back,) = put_together(frames)
    assert plain(back) == plain(payload)


@settings(deadline=None)
@given(payloads, st.integers(1, 400), st.randoms(use_true_random=False))
def test_a_frame_may_come_twice(payload, room, rng):
    frames = list(split(payload, HEAD_BYTES + room, 0))
    doubled = [frame for frame in frames for _ in range(rng.randint(1, 3))]
    assembler = Assembler()
    (back,) = put_together(doubled, assembler)
    assert plain(back) == plain(payload)
    assert put_together(frames, assembler) == [], "the whole message came again"
    assert assembler.held == 0


@settings(deadline=None)
@given(st.lists(payloads, min_size=1, max_size=4), st.randoms(use_true_random=False))
def test_messages_may_be_mixed(sent, rng):
    """Two senders, two channels, and several messages at a time of each."""
    links = [(sender, channel) for sender in "ab" for channel in "xy"]
    queues = {
        (link, number): list(split(payload, HEAD_BYTES + 90, number))
        for link in links
        for number, payload in enumerate(sent)
    }
    assembler, got = Assembler(), {}
    begun = dict.fromkeys(links, 0)
    while queues:
        (link, number) = rng.choice(sorted(queues))
        if number > begun[link]:
            continue  # a sender begins its messages in order
        frames = queues[link, number]
        begun[link] = max(begun[link], number + 1)
        payload = assembler.add(*link, frames.pop(0))
        if not frames:
            del queues[link, number]
            got[link, number] = plain(payload)
    assert got == {(link, number): plain(payload) for link in links for number, payload in enumerate(sent)}


def test_a_value_through_frames():
    value = {"a": np.arange(100_000.0), "b": np.arange(500, dtype="i2"), "c": [1, 2, 3]}
    (back,) = put_together(split(codec.encode(value), 64 << 10, 1))
    view = codec.decode(*back, copy=False)
    assert (view["a"] == value["a"]).all() and (view["b"] == value["b"]).all()
    assert view["a"].flags.aligned and not view["a"].flags.writeable


@pytest.fixture
def frames():
    return list(split(codec.encode(np.arange(1000)), 1000, 3))


def test_a_gap(frames):
    assembler = Assembler()
    assembler.add("a", "x", frames[0])
    with pytest.raises(DecodeError, match="message 3 from a on x: frame 1 is missing; frame 2 came"):
        assembler.add("a", "x", frames[2])
    assert put_together(frames, assembler, "a", "x") == [] and assembler.held == 0, "the message is lost"
    assert put_together(split(codec.encode(1), 1000, 4), assembler, "a", "x"), "the next one is not"


def test_a_message_whose_beginning_is_missing(frames):
    assembler = Assembler()
    with pytest.raises(DecodeError, match="frame 0 is missing; frame 1 came"):
        assembler.add("a", "x", frames[1])


def test_a_repeated_frame_with_other_content(frames):
    assembler = Assembler()
    for frame in frames[:2]:
        assembler.add("a", "x", frame)
    with pytest.raises(DecodeError, match="frame 1 came twice, and not alike"):
        assembler.add("a", "x", frames[1][:-1] + b"!")


def test_a_frame_of_another_message_under_the_same_number(frames):
    other = list(split(codec.encode(np.arange(900)), 1000, 3))
    assembler = Assembler()
    assembler.add("a", "x", frames[0])
    with pytest.raises(DecodeError, match="does not belong to the message it names"):
        assembler.add("a", "x", other[1])


def test_a_frame_of_another_length(frames):
    for wrong in (frames[1][:-1], frames[1] + b"!", frames[1][:HEAD_BYTES]):
        assembler = Assembler()
        assembler.add("a", "x", frames[0])
        with pytest.raises(DecodeError, match="does not belong"):
            assembler.add("a", "x", wrong)


def test_a_damaged_message(frames):
    frames[2] = frames[2][:-1] + bytes([frames[2][-1] ^ 1])
    with pytest.raises(DecodeError, match="damaged: checksum"):
        put_together(frames)


def test_marked_as_the_last_one_wrongly(frames):
    early = frames[0][:1] + b"\x01" + frames[0][2:]
    with pytest.raises(DecodeError, match="marked as the last one wrongly"):
        Assembler().add("a", "x", early)
    never = [*frames[:-1], frames[-1][:1] + b"\x00" + frames[-1][2:]]
    with pytest.raises(DecodeError, match="marked as the last one wrongly"):
        put_together(never)


def test_more_unfinished_messages_than_a_sender_may_have():
    assembler = Assembler(max_open=2)
    first = [next(split(codec.encode(b"x" * 5000), 1000, number)) for number in range(3)]
    put_together(first[:2], assembler)
    with pytest.raises(DecodeError, match="more than 2 unfinished"):
        put_together(first[2:], assembler)


def test_more_senders_than_there_may_be():
    assembler = Assembler(max_links=2)
    (frame,) = split(codec.encode(1), 1000, 0)
    for sender in "ab":
        assert assembler.add(sender, "x", frame)
    with pytest.raises(DecodeError, match="more than 2 senders"):
        assembler.add("c", "x", frame)
    assembler.forget("a")
    assert assembler.add("c", "x", frame)


def test_a_sender_that_joins_again_numbers_its_messages_anew(frames):
    assembler = Assembler()
    put_together(frames[:2], assembler)
    assert assembler.held > 0
    assembler.forget("trainer")
    assert assembler.held == 0
    assert len(put_together(split(codec.encode(1), 1000, 0), assembler)) == 1


def test_memory_is_taken_as_bytes_arrive():
    payload = Payload(b"h", [np.zeros(64 << 20, np.uint8)])
    first = next(split(payload, 1 << 16, 0))
    assembler = Assembler()
    tracemalloc.start()
    assembler.add("a", "x", first)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1 << 20


@pytest.mark.parametrize("chunk", [0, 1, HEAD_BYTES])
def test_chunks_without_room(chunk):
    with pytest.raises(ValueError, match="head alone has 28 B"):
        next(split(codec.encode(1), chunk, 0))


def test_frames_that_are_none():
    (frame,) = split(codec.encode(1), 1000, 0)
    for bad, why in (
        (b"", "a frame of 0 B"),
        (frame[:27], "a frame of 27 B"),
        (b"\x02" + frame[1:], "speaks version 2; here version 1"),
        (frame[:1] + b"\x03" + frame[2:], "unknown flags"),
        (frame[:2] + b"\x01" + frame[3:], "unknown flags"),
        (frame[:16] + struct.pack("<Q", 0) + frame[24:], "0 B is announced"),
    ):
        with pytest.raises(DecodeError, match=why):
            Assembler().add("a", "x", bad)


def test_tables_that_do_not_add_up():
    """The checksum holds, and still the table of lengths is believed in nothing."""
    for table in ([0], [2**63], [1, 2**63], [2, 8, 2**64 - 1], [1, 1000], [3, 8, 8]):
        body = struct.pack(f"<{len(table)}Q", *table)
        body += bytes(-len(body) % 64)
        for size in (8, len(body), len(body) + 64):
            with pytest.raises(DecodeError):
                put_together(sealed(body.ljust(size, b"\0")[:size]))


def sealed(body: bytes) -> list[bytes]:
    """A frame with a true checksum around any bytes."""
    from zlib import crc32

    return [struct.pack("<BBHIQQI", 1, 1, 0, 0, 0, len(body), crc32(body)) + body]


def test_mutated_frames_are_refused_or_ignored():
    rng = random.Random(0)
    frames = list(split(codec.encode(np.arange(300)), 600, 0))
    for _ in range(3000):
        assembler = Assembler(max_message=1 << 20)
        for frame in frames:
            broken = bytearray(frame)
            if rng.random() < 0.5:
                broken[rng.randrange(len(broken))] ^= 1 << rng.randrange(8)
            try:
                payload = assembler.add("a", "x", bytes(broken))
            except DecodeError:
                continue
            assert payload is None or (codec.decode(*payload) == np.arange(300)).all()
        assert assembler.held <= 3000
