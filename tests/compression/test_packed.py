"""Packed weights as a source, on the wire, and broken."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from packs import MAKERS, Away, several_chunks, source, weights

from flame.channel.coding import CODING
from flame.compression.packed import Packed, pack
from flame.compression.topk import TopK
from flame.engine.fold import WeightedMean
from flame.errors import DecodeError, PeerLost
from flame.weights.layout import Weights
from flame.wire.codec import Payload
from flame.wire.message import Order, Update

SLOW = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])


def received(update: Update) -> Update:
    """The update as a receiver decodes it."""
    got = CODING.from_payload(CODING.to_payload(update))
    assert isinstance(got, Update)
    return got


def elsewhere(packed: Packed) -> Packed:
    """The same, with a body that lies with a peer."""
    assert isinstance(packed.body, np.ndarray)
    return Packed(packed.layout, packed.name, packed.table, Away(packed.body))


@SLOW
@pytest.mark.parametrize("name", MAKERS)
@given(some=weights())
def test_it_goes_over_the_wire(name: str, some: Weights) -> None:
    packed = pack(some, name, MAKERS[name]())
    got = received(Update(packed, 3, 1)).weights
    assert got is not None and isinstance(got.source, Packed) and got.layout == some.layout
    assert got.data.tobytes() == packed.data.tobytes()


@SLOW
@pytest.mark.parametrize("name", MAKERS)
@given(cuts=st.lists(st.integers(0, several_chunks().nbytes // 8), max_size=8), away=st.booleans())
def test_any_pieces_read_in_order_are_the_whole(name: str, cuts: list[int], away: bool) -> None:
    packed = source(several_chunks(), name)
    whole = packed.load()
    packed = elsewhere(packed) if away else packed
    for _ in range(2):
        bounds = [0, *sorted(cut * 8 for cut in cuts), len(whole)]
        read = np.empty_like(whole)
        for start, stop in pairwise(bounds):
            if stop > start:
                packed.read(start, read[start:stop])
        assert (read == whole).all()
        packed.rewind()


@pytest.mark.parametrize("name", MAKERS)
def test_it_may_be_read_backwards_and_again(name: str) -> None:
    packed = elsewhere(source(several_chunks(), name))
    whole = packed.load()
    for start in (900_000, 100, 300_000, 100, 0):
        out = np.empty(1000, np.uint8)
        packed.read(start, out)
        assert (out == whole[start : start + 1000]).all()


@pytest.mark.parametrize("name", MAKERS)
@pytest.mark.parametrize("away", [False, True])
def test_a_fold_of_what_is_packed_is_the_fold_of_what_it_unpacks_to(name: str, away: bool) -> None:
    folds = WeightedMean(), WeightedMean()
    for seed in range(3):
        packed = source(several_chunks(seed), name)
        plain = Weights(packed.layout, packed.load())
        held = Weights(packed.layout, None, elsewhere(packed) if away else packed)
        for fold, update in zip(folds, (plain, held), strict=True):
            fold.add(update, seed + 1)
    one, other = (fold.mean() for fold in folds)
    assert one.data.tobytes() == other.data.tobytes()


def test_an_empty_model_is_packed_too() -> None:
    for given_weights in (Weights.pack({}), Weights.pack({"e": np.empty((0, 3), np.float32)})):
        got = received(Update(pack(given_weights, "topk", TopK()), 1, 1)).weights
        assert got is not None and got.data.size == 0


def test_its_size_counts_as_it_is() -> None:
    packed = source(several_chunks(), "int8")
    order = Order(1, Weights(packed.layout, None, packed))
    assert CODING.size_of(order) == packed.packed_nbytes < packed.nbytes / 1.4
    payload = CODING.to_payload(order)
    assert packed.packed_nbytes < payload.nbytes < packed.packed_nbytes + 500


@pytest.mark.parametrize("name", MAKERS)
@pytest.mark.parametrize("seed", range(20))
def test_flipped_bytes_are_refused_or_are_other_numbers(name: str, seed: int) -> None:
    """Never anything but DecodeError, when the message is read or when the chunk is."""
    payload = CODING.to_payload(Update(pack(several_chunks(), name, MAKERS[name]()), 1, 1))
    generator = np.random.default_rng(seed)
    body = np.array(payload.buffers[0], copy=True)
    header = bytearray(payload.header)
    for _ in range(3):
        body[generator.integers(len(body))] ^= np.uint8(1 << generator.integers(8))
    if seed % 2:
        header[generator.integers(len(header))] ^= 1 << int(generator.integers(8))
    try:
        message: Any = CODING.from_payload(Payload(bytes(header), [body]))
        if isinstance(message, Update) and message.weights is not None:
            assert message.weights.data.size == message.weights.nbytes
    except DecodeError:
        pass


def forged(name: str, rows: list[tuple[int, int]], body: bytes, size: int = 8) -> Packed:
    layout = Weights.pack({"w": np.zeros((1, size), np.float32)}).layout
    table = np.array(rows, "<u4").reshape(-1, 2)
    return Packed(layout, name, table, np.frombuffer(body, np.uint8))


@pytest.mark.parametrize(
    ("name", "rows", "body", "why"),
    [
        ("zip", [(16, 16)], bytes(16), "no compression named 'zip'"),
        ("x" * 65, [(16, 16)], bytes(16), "too long"),
        ("fp16", [], b"", "0 chunks"),
        ("fp16", [(16, 8), (16, 8)], bytes(16), "2 chunks"),
        ("fp16", [(16, 16)], bytes(15), "not those of 15 B"),
        ("fp16", [(16, 17)], bytes(17), "not those of 17 B"),
        ("fp16", [(18, 16)], bytes(16), "in 18 B"),
        ("int8", [(16, 16)], bytes(16), "in 16 B"),
        ("topk", [(7, 7)], bytes(7), "in 7 B"),
        ("topk", [(54, 54)], bytes(54), "in 54 B"),
        ("topk", [(2**32 - 1, 8)], bytes(8), "in 4294967295 B"),
    ],
)
def test_sizes_that_cannot_be_are_refused_at_once(name: str, rows: Any, body: bytes, why: str) -> None:
    with pytest.raises(DecodeError, match=why):
        forged(name, rows, body)


def test_a_place_beyond_the_chunk_is_refused() -> None:
    for places in ([8], [0, 7], [65535]):
        gaps = np.array(places, np.uint16).view(np.uint8).reshape(-1, 2).T.tobytes()
        body = gaps + bytes(4 * len(places))
        with pytest.raises(DecodeError, match="of 8"):
            forged("topk", [(len(body), len(body))], body).load()


def test_a_frame_of_another_size_is_refused_before_it_is_unpacked() -> None:
    """A few bytes that say that they are a quarter of a gigabyte."""
    import zstandard

    bomb = zstandard.ZstdCompressor().compress(bytes(1 << 28))
    with pytest.raises(DecodeError, match="is not of"):
        forged("fp16", [(2 * 60_000, len(bomb))], bomb, 60_000).load()
    unsaid = zstandard.ZstdCompressor(write_content_size=False).compress(bytes(2 * 60_000))
    with pytest.raises(DecodeError, match="is not of"):
        forged("fp16", [(2 * 60_000, len(unsaid))], unsaid, 60_000).load()
    twice = 2 * zstandard.ZstdCompressor().compress(bytes(2 * 60_000))
    with pytest.raises(DecodeError):
        forged("fp16", [(2 * 60_000, len(twice))], twice, 60_000).load()


def test_nonsense_of_a_peer_is_a_peer_that_is_lost() -> None:
    packed = forged("fp16", [(16, 8)], bytes(8))
    with pytest.raises(DecodeError):
        packed.load()
    packed.sender = "mallory"
    with pytest.raises(PeerLost, match=r"mallory.*cannot be unpacked") as caught:
        packed.load()
    assert caught.value.end == "mallory"
