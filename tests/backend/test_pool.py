"""Shared memory is used again, and only when nobody looks at it."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator

import numpy as np
import pytest

from flame.backend.link import MESSAGE, Link
from flame.backend.pool import SMALLEST, Pool
from flame.errors import ChannelError, DecodeError
from flame.wire.codec import Payload

BIG = 4 * SMALLEST


Pair = tuple[Link, Link, Pool]


@pytest.fixture
def pair() -> Iterator[Pair]:
    left, right = socket.socketpair()
    here, there = Pool(), Pool()
    sender, receiver = Link(1, left, here), Link(2, right, there)
    yield sender, receiver, here
    for link in (sender, receiver):
        link.close()
    for pool in (here, there):
        pool.close()


def receive(link: Link, count: int = 1) -> list[object]:
    frames: list[object] = []
    while len(frames) < count:
        frames += link.read()
    return frames


def test_memory_is_used_again_once_no_array_is_over_it() -> None:
    pool = Pool()
    first = pool.allocate(BIG)
    view = first[10:20]
    del first
    pool.allocate(BIG)
    assert pool.nbytes == 2 * BIG  # the view still looks at the first piece
    del view
    assert pool.find(pool.allocate(BIG)) is None or pool.nbytes == 2 * BIG


def test_small_pieces_are_ordinary_memory() -> None:
    pool = Pool()
    assert pool.find(pool.allocate(SMALLEST - 1)) is None
    assert pool.nbytes == 0


def test_a_large_buffer_arrives_without_a_copy(pair: Pair) -> None:
    sender, receiver, here = pair
    array = here.allocate(BIG)
    array[:] = 7
    sender.send("c", "a", ["b"], Payload(b"head", [array]))
    sender.write()
    (frame,) = receive(receiver)
    assert frame.head.kind == MESSAGE and frame.head.header == b"head"
    array[5] = 9  # both look at the same memory
    assert frame.buffers[0][5] == 9 and not frame.buffers[0].flags.writeable


def test_a_segment_comes_back_when_the_peer_is_done(pair: Pair) -> None:
    sender, receiver, here = pair
    array = here.allocate(BIG)
    sender.send("c", "a", ["b"], Payload(b"", [array]))
    sender.write()
    frames = receive(receiver)
    del array
    here.allocate(BIG)
    assert here.nbytes == 2 * BIG  # the peer still looks at the first
    frames.clear()
    receiver.write()
    receive(sender)
    here.allocate(BIG)
    assert here.nbytes == 2 * BIG


def test_a_descriptor_travels_once(pair: Pair) -> None:
    sender, receiver, here = pair
    array = here.allocate(BIG)
    for _ in range(3):
        sender.send("c", "a", ["b"], Payload(b"", [array]))
    sender.write()
    frames = receive(receiver, 3)
    assert [len(frame.head.fresh) for frame in frames] == [1, 0, 0]


def test_a_peer_cannot_give_back_what_it_was_not_lent() -> None:
    pool = Pool()
    array = pool.allocate(BIG)
    found = pool.find(array)
    assert found is not None
    with pytest.raises(ChannelError, match="too often"):
        pool.give_back(found[0].number, 1)


@pytest.mark.parametrize("size", [0, 1, 1000, SMALLEST - 1, SMALLEST, 3 * SMALLEST + 1])
def test_every_size_arrives_whole_and_in_order(pair: Pair, size: int) -> None:
    sender, receiver, _ = pair
    sent = np.random.default_rng(size).integers(0, 255, size, np.uint8)
    for number in range(3):
        sender.send("c", number, [number], Payload(str(number).encode(), [sent]))
    sender.write()
    frames = receive(receiver, 3)
    assert [frame.head.header for frame in frames] == [b"0", b"1", b"2"]
    assert all(np.array_equal(frame.buffers[0], sent) for frame in frames)


def test_a_closed_peer_is_noticed_and_its_descriptors_are_not_kept(pair: Pair) -> None:
    sender, receiver, here = pair
    array = here.allocate(BIG)
    sender.send("c", "a", ["b"], Payload(b"", [array]))
    sender.write()
    receive(receiver)
    before = len(os.listdir("/proc/self/fd"))
    sender.close()
    with pytest.raises(ConnectionError):
        receiver.read()
    assert len(os.listdir("/proc/self/fd")) < before


@pytest.mark.parametrize(
    "raw",
    [
        b"\xff\xff\xff\xff" + b"\x00" * 8,
        b"\x02\x00\x00\x00" + b"\x00" * 8 + b"\xc1\xc1",
        b"\x01\x00\x00\x00" + b"\xff" * 8 + b"\x90",
    ],
)
def test_what_is_no_frame_is_refused(raw: bytes) -> None:
    left, right = socket.socketpair()
    link = Link(1, left, Pool())
    right.sendall(raw)
    with right, pytest.raises(DecodeError):
        link.read()
    link.close()
