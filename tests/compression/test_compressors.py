"""What each compressor keeps of the numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from packs import FINITE, MAKERS, several_chunks, source, weights

from flame.compression.chunks import CHUNK
from flame.compression.int8 import BLOCK
from flame.compression.packed import pack
from flame.compression.topk import TopK
from flame.errors import ConfigError
from flame.weights.layout import Weights

FLOATS = ("float64", "float32", "float16")


def pairs(before: Weights, after: Weights) -> list[tuple[NDArray[Any], NDArray[Any]]]:
    """The floating-point segments before and after, as float64."""
    both = zip(before.segments, after.segments, strict=True)
    return [(x.astype(np.float64), y.astype(np.float64)) for x, y in both if x.dtype.kind == "f"]


@given(weights(names=FLOATS))
def test_fp16_rounds_to_the_nearest_half(before: Weights) -> None:
    for x, y in pairs(before, pack(before, "fp16", MAKERS["fp16"]())):
        assert (np.isnan(x) == np.isnan(y)).all() and (y[np.isinf(x)] == x[np.isinf(x)]).all()
        clipped = np.clip(x[np.isfinite(x)], -65504, 65504)
        assert (np.abs(y[np.isfinite(x)] - clipped) <= np.maximum(np.abs(clipped) * 2.0**-11, 2.0**-25)).all()


@given(weights(FINITE, FLOATS))
def test_int8_errs_by_less_than_half_a_step(before: Weights) -> None:
    for x, y in pairs(before, pack(before, "int8", MAKERS["int8"]())):
        for start in range(0, x.size, BLOCK):
            here = slice(start, start + BLOCK)
            bound = np.abs(x[here]).max() / 254
            # A float16 rounds once more; below 1e-36 the step itself loses digits.
            assert (np.abs(x[here] - y[here]) <= bound * 1.0001 + np.abs(x[here]) * 2.0**-11 + 1e-38).all()


@given(weights(names=FLOATS))
@pytest.mark.parametrize("name", ["fp16", "int8"])
def test_what_is_no_number_never_becomes_one(name: str, before: Weights) -> None:
    for x, y in pairs(before, pack(before, name, MAKERS[name]())):
        assert not np.isfinite(y[~np.isfinite(x)]).any()
    same = pack(before, name, MAKERS[name]())
    assert same.not_finite() or not before.not_finite()


@pytest.mark.parametrize("name", MAKERS)
@given(given_weights=weights())
def test_integers_are_exact(name: str, given_weights: Weights) -> None:
    after = pack(given_weights, name, MAKERS[name]())
    for before, there in zip(given_weights.segments, after.segments, strict=True):
        assert before.dtype == there.dtype and (before.dtype.kind == "f" or (before == there).all())


@settings(deadline=None)
@given(
    st.lists(weights(FINITE, FLOATS), min_size=1, max_size=1),
    st.integers(1, 4),
    st.floats(0.001, 1),
    st.sampled_from([0, 3, 4096]),
)
def test_topk_sends_or_remembers_every_bit(some: list[Weights], rounds: int, keep: float, whole: int) -> None:
    """What was sent and what is remembered are what came in and what was remembered before, exactly."""
    (update,), compressor = some, TopK(keep, whole)
    before = [np.zeros(s.size, np.float64 if s.dtype == np.float64 else np.float32) for s in update.segments]
    for _ in range(rounds):
        after = pack(update, "topk", compressor)
        for rest, values, sent, left in zip(before, update.segments, after.segments, compressor.rests, strict=True):
            assert left is not None
            np.add(rest, values, out=rest)
            assert (rest - sent.astype(rest.dtype) == left).all()
        before = [left.copy() for left in compressor.rests if left is not None]


@pytest.mark.parametrize("keep", [0.0001, 0.01, 0.3, 1])
def test_topk_sends_the_largest_and_as_many_as_it_says(keep: float) -> None:
    update = several_chunks()
    after = pack(update, "topk", TopK(keep, whole=0))
    sizes = [np.abs(s.astype(np.float32)) for s in update.segments if s.dtype.kind == "f"]
    sent = [s != 0 for s in after.segments if s.dtype.kind == "f"]
    count = sum(s.size for s in sizes)
    assert sum(int(s.sum()) for s in sent) == max(1, int(np.ceil(keep * count)))
    least = min(x[s].min() for x, s in zip(sizes, sent, strict=True) if s.any())
    most = max((x[~s].max() for x, s in zip(sizes, sent, strict=True) if not s.all()), default=0)
    assert least >= most


def test_topk_of_equal_numbers_takes_the_first() -> None:
    ones = Weights.pack({"w": np.ones((400, 400), np.float32)})
    sent = pack(ones, "topk", TopK(0.5, whole=0)).segments[0]
    assert sent[: 400 * 200].all() and not sent[400 * 200 :].any()


def test_topk_sends_no_zeros() -> None:
    zeros = Weights.pack({"w": np.zeros((400, 400), np.float32), "b": np.zeros(400, np.float32)})
    assert source(zeros, "topk").packed_nbytes == source(zeros, "topk").table.nbytes


def test_topk_sends_small_vectors_whole() -> None:
    update = several_chunks()
    compressor = TopK(0.01)
    sent = pack(update, "topk", compressor).arrays()
    assert (sent["b"] == update.arrays()["b"]).all() and (sent["w"] != 0).sum() < 0.02 * sent["w"].size
    for _ in range(5):
        # What was measured anew must not be added to what was measured before.
        assert (pack(update, "topk", compressor).arrays()["b"] == update.arrays()["b"]).all()


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("everywhere", [False, True])
def test_topk_does_not_remember_what_is_no_number(bad: float, everywhere: bool) -> None:
    good = several_chunks()
    spoilt = Weights(good.layout, good.data.copy())
    spoilt.segments[1][:: 1 if everywhere else 1000] = bad
    compressor = TopK()
    assert pack(spoilt, "topk", compressor).not_finite()
    for rest in compressor.rests:
        assert rest is None or np.isfinite(rest).all()
    assert not pack(good, "topk", compressor).not_finite()


def test_topk_forgets_a_model_of_another_shape() -> None:
    compressor = TopK(0.5, whole=0)
    pack(Weights.pack({"w": np.arange(10.0).reshape(2, 5)}), "topk", compressor)
    other = pack(Weights.pack({"w": np.arange(8.0).reshape(2, 4)}), "topk", compressor)
    assert other.segments[0].tolist() == [0, 0, 0, 0, 4, 5, 6, 7]


def test_everything_arrives_in_the_end() -> None:
    """Without new updates, what is remembered goes out round by round until nothing is left."""
    update, compressor = several_chunks(), TopK(0.2)
    nothing = Weights(update.layout, np.zeros(update.nbytes, np.uint8))
    total = np.zeros(update.layout.segments[1].size)
    for number in range(6):
        total += pack(nothing if number else update, "topk", compressor).segments[1]
    assert (total == update.segments[1]).all()


@pytest.mark.parametrize(("name", "ratio"), [("fp16", 2.3), ("int8", 4.1), ("topk", 10.0)])
def test_it_is_worth_it(name: str, ratio: float) -> None:
    generator = np.random.default_rng(0)
    update = Weights.pack({"w": (generator.standard_normal((4, CHUNK)) * 0.01).astype(np.float32)})
    assert update.nbytes / source(update, name).packed_nbytes > ratio


@pytest.mark.parametrize(
    ("name", "settings", "said"),
    [
        ("fp16", {"bits": 8}, "compression.kwargs.bits: fp16 has no such setting (it has no settings)"),
        ("topk", {"kep": 1}, "compression.kwargs.kep: topk has no such setting (its settings are keep, whole)"),
        ("topk", {"keep": 0}, "compression.kwargs.keep: a number above 0 and at most 1 is needed, not 0"),
        ("topk", {"keep": float("nan")}, "compression.kwargs.keep: a number above 0 and at most 1 is needed, not nan"),
    ],
)
def test_a_wrong_setting_is_named(name: str, settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        MAKERS[name](**settings)
    assert str(caught.value) == said
