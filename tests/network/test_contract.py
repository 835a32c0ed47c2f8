"""What p2p promises beside what every backend does: who is seen, large updates, and nothing left."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from town import House, Town, last, meet, resident_bytes, talk
from upstream import until

from flame.compression.int8 import Int8
from flame.compression.packed import Packed, pack, packed
from flame.errors import PeerLost
from flame.weights.layout import Weights
from flame.wire.message import Update

LENDER = Path(__file__).parent / "programs" / "lender.py"
X, Y = ("c", "g", "x"), ("c", "g", "y")


@pytest.fixture
def town() -> Iterator[Town]:
    gc.collect()  # what tests before this one have left is not counted
    files, threads = sorted(os.listdir("/proc/self/fd")), threading.active_count()
    town = Town()
    yield town
    town.close()
    until(lambda: threading.active_count() == threads, "no thread is left")
    until(lambda: sorted(os.listdir("/proc/self/fd")) == files, "no descriptor is left")


def test_jobs_groups_and_channels_do_not_see_each_other(town: Town) -> None:
    """Nor can one write to another, although all of them meet at the same rendezvous."""
    a = town.house("a", X, Y)
    others = [
        town.house("b", Y, X, job="another job"),
        town.house("c", ("c", "another group", "y"), ("c", "another group", "x")),
        town.house("d", ("another channel", "g", "y"), ("another channel", "g", "x")),
    ]
    e = town.house("e", Y, X)
    meet(a, e)
    for other in others:
        other.send("a", "hello")
        a.send(other.end, "hello")
    talk(a, e)
    assert a.sees() == ["e"] and all(other.sees() == [] for other in others)
    assert "hello" not in a.values() and not any(other.values() for other in others)


def test_many_small_messages_both_ways_at_once(town: Town) -> None:
    a, b = town.pair()
    for number in range(5000):
        a.send("B", number)
        b.send("A", number)
    until(lambda: len(a.values()) == len(b.values()) == 5000, "everything is there")
    assert a.values() == b.values() == list(range(5000))


def test_who_comes_later_meets_everybody(town: Town) -> None:
    tops = [town.house("A", X, Y)]
    sites = [town.house(f"s{number}", Y, X) for number in range(5)]
    until(lambda: len(tops[0].sees()) == 5, "they meet")
    assert all(site.sees() == ["A"] for site in sites if site.sees())
    sites[0].backend.close()
    until(lambda: len(tops[0].sees()) == 4, "one has left")
    back = town.house("s0", Y, X)
    until(lambda: back.sees() == ["A"] and len(tops[0].sees()) == 5, "it is back")
    talk(tops[0], back)


# -- updates that lie with somebody else -------------------------------------------------------------------------------


@contextmanager
def lender(town: Town, elements: int) -> Iterator[subprocess.Popen[str]]:
    """A process that has an update of so many float32 for A."""
    command = [sys.executable, str(LENDER), town.address, str(town.silence_s), str(elements)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    yield process
    process.kill()
    process.communicate()


def update_for(a: House) -> Any:
    until(a.values, "the update's head is there")
    (update,) = a.values()
    return update


def test_300_mb_in_bounded_memory_on_both_sides(town: Town) -> None:
    a = town.house("A", X, Y)
    with lender(town, 75_000_000) as process:
        source = update_for(a).weights.source
        before, block = resident_bytes(), np.empty(1 << 18, np.float32)
        for start in range(0, 75_000_000, len(block)):
            part = block[: 75_000_000 - start]
            source.read(4 * start, part)
            assert part[0] == np.float32(start) and part[-1] == np.float32(start + len(part) - 1)
        assert resident_bytes() - before < 16 << 20
        del source
        a.got.clear()  # it is given back
        assert process.stdout is not None  # it is a pipe
        assert int(process.stdout.readline()) < 16
        assert process.communicate("", timeout=20)[0] == "" and process.returncode == 0


def test_who_dies_while_its_update_is_read_is_missed(town: Town) -> None:
    a = town.house("A", X, Y)
    with lender(town, 20_000_000) as process:
        source = update_for(a).weights.source
        block = np.empty(1 << 18, np.float32)
        source.read(0, block)
        process.kill()
        process.wait()
        began = time.monotonic()
        with pytest.raises(PeerLost) as lost:
            for start in range(1 << 20, 80_000_000 - (1 << 20), 1 << 20):
                source.read(start, block)
        assert lost.value.end == "B" and time.monotonic() - began < town.silence_s
        until(lambda: a.sees() == [], "A knows")


def test_a_reader_may_take_its_time() -> None:
    """Longer than anybody may be silent: both sides say that they are alive."""
    town = Town(silence_s=1.0)
    try:
        a = town.house("A", X, Y)
        with lender(town, 20_000_000):
            source = update_for(a).weights.source
            block = np.empty(5_000_000, np.float32)
            for part in range(4):
                last(0.8)
                source.read(20_000_000 * part, block)
                assert block[0] == np.float32(5_000_000 * part)
            del source
            a.got.clear()
    finally:
        town.close()


def test_a_packed_update_stays_packed_where_it_lies(town: Town) -> None:
    """It is read and unpacked piece by piece, and is what its sender would have unpacked."""
    a, b = town.pair()
    generator = np.random.default_rng(0)
    # Integers that are noise do not get smaller, so that the update is too large to be read at once.
    integers = generator.integers(-(2**63), 2**63 - 1, (70 << 20) // 8)
    weights = Weights.pack({"w": generator.standard_normal((300, 300), np.float32), "n": integers})
    sent = pack(weights, "int8", Int8())
    b.send("A", Update(sent, 1, 1))
    source = update_for(a).weights.source
    assert isinstance(source, Packed) and not source.here
    block, want = np.empty(1 << 19, np.uint8), packed(sent)
    assert want is not None
    same = np.empty_like(block)
    for start in range(0, weights.nbytes, len(block)):
        part = slice(0, min(len(block), weights.nbytes - start))
        source.read(start, block[part])
        want.read(start, same[part])
        assert (block[part] == same[part]).all()
    source.rewind()
    source.read(4096, block)
    want.read(4096, same)
    assert (block == same).all()
    del source
    a.got.clear()
