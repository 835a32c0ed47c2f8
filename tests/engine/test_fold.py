"""The law of the fold: a float64 reference, summed in order and rounded once, bit for bit."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from flame.engine.fold import BLOCK, SMALL, WeightedMean
from flame.errors import WeightsError
from flame.optimizer.fedavg import FedAvg
from flame.weights import Layout, Weights

DTYPES = ["float64", "float32", "float16", "int64", "int32", "int8"]


def reference(base, updates, samples):
    """The next model, computed in the plainest way."""
    with np.errstate(all="ignore"):
        total = updates[0].astype(np.float64) * samples[0]
        for update, n in zip(updates[1:], samples[1:], strict=True):
            total = total + update.astype(np.float64) * n
        new = base.astype(np.float64) + total / sum(samples)
        return (np.rint(new) if base.dtype.kind == "i" else new).astype(base.dtype)


def folded(base, updates, samples, **settings):
    fold = WeightedMean(**settings)
    for update, n in zip(updates, samples, strict=True):
        fold.add(update, n)
    return fold.finish(base, FedAvg().step)


def segments_of(many, number):
    return [weights.segments[number] for weights in many]


def check(base, updates, samples, **settings):
    result = folded(base, updates, samples, **settings)
    assert result.layout == base.layout
    for number, segment in enumerate(result.segments):
        expected = reference(base.segments[number], segments_of(updates, number), samples)
        assert segment.tobytes() == expected.tobytes()


@st.composite
def rounds(draw):
    """A base, one to seventy updates and their samples."""
    shapes = draw(st.lists(st.tuples(st.sampled_from(DTYPES), st.integers(0, 5)), min_size=1, max_size=4))
    count = draw(st.integers(1, 12) | st.integers(60, 70))
    whole, real = st.integers(1, 10_000), st.floats(1e-3, 1e6)
    samples = draw(st.lists(draw(st.sampled_from([whole, real])), min_size=count, max_size=count))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    spread = draw(st.sampled_from([0.0, 3.0, 30.0]))

    def weights():
        return Weights.pack({str(i): values(rng, np.dtype(d), size, spread) for i, (d, size) in enumerate(shapes)})

    return weights(), [weights() for _ in range(count)], samples


def values(rng, dtype, size, spread):
    """Numbers of many magnitudes, so that the order of summation shows; some are zeros of either sign."""
    if dtype.kind == "i":
        return rng.integers(-20, 20, size).astype(dtype)
    numbers = rng.standard_normal(size) * 10.0 ** rng.uniform(-spread, spread, size)
    with np.errstate(over="ignore"):
        return np.where(rng.random(size) < 0.1, rng.choice([0.0, -0.0], size), numbers).astype(dtype)


@settings(deadline=None)
@given(rounds())
def test_a_small_model_equals_the_reference_rounded_once(round_):
    check(*round_)


@settings(deadline=None)
@given(hnp.arrays(np.float32, (3, 1), elements=st.floats(width=32, allow_nan=False, allow_infinity=False)))
def test_one_parameter_is_summed_in_order_too(columns):
    base, *updates = (Weights.pack({"w": column}) for column in np.vstack([columns, columns[::-1]]))
    check(base, updates, [1, 10**8, 3, 7, 2])


@settings(deadline=None, max_examples=12)
@given(st.integers(1, 20), st.integers(1, 9), st.integers(0, 2**32), st.sampled_from([0.0, 3.0, 30.0]))
def test_a_large_model_equals_the_reference_rounded_once(count, window, seed, spread):
    rng = np.random.default_rng(seed)
    sizes = {"float32": BLOCK + 3, "float16": SMALL, "int64": 5}

    def weights():
        return Weights.pack({d: values(rng, np.dtype(d), size, spread) for d, size in sizes.items()})

    updates = [weights() for _ in range(count)]
    check(weights(), updates, rng.integers(1, 500, count).tolist(), window=window)


def test_the_number_of_threads_changes_nothing():
    rng = np.random.default_rng(0)
    layout = Layout.of({"w": np.empty(4_100_003, np.float32), "n": np.empty(3, np.int64)})

    def weights():
        made = Weights(layout, np.zeros(layout.nbytes, np.uint8))
        made.segments[0][:] = rng.standard_normal(layout.segments[0].size, dtype=np.float32)
        return made

    base, updates = weights(), [weights() for _ in range(3)]
    one, two, three = (folded(base, updates, [1, 5, 11], threads=threads) for threads in (1, 2, 3))
    assert one.data.tobytes() == two.data.tobytes() == three.data.tobytes()
    expected = reference(base.segments[0], segments_of(updates, 0), [1, 5, 11])
    assert one.segments[0].tobytes() == expected.tobytes()


@settings(deadline=None)
@given(rounds(), st.randoms())
def test_arrival_is_irrelevant_where_a_fixed_order_is_kept(round_, chance):
    base, updates, samples = round_
    arrived = list(enumerate(zip(updates, samples, strict=True)))
    chance.shuffle(arrived)
    in_order = [pair for _, pair in sorted(arrived, key=lambda numbered: numbered[0])]
    again = folded(base, [u for u, _ in in_order], [n for _, n in in_order])
    assert again.data.tobytes() == folded(base, updates, samples).data.tobytes()


@settings(deadline=None)
@given(rounds())
def test_updates_that_are_empty_are_counted_and_change_nothing(round_):
    base, updates, samples = round_
    fold = WeightedMean()
    for update, n in zip(updates, samples, strict=True):
        fold.add(None, n)
        fold.add(update, 0)
        fold.add(update, n)
    assert (fold.folded, fold.empty) == (len(updates), 2 * len(updates))
    assert fold.total == fold.samples == sum(samples)
    assert fold.finish(base, FedAvg().step).data.tobytes() == folded(base, updates, samples).data.tobytes()


@settings(deadline=None)
@given(rounds())
def test_equal_shares_are_equal_samples(round_):
    base, updates, samples = round_
    fold = WeightedMean()
    for update, n in zip(updates, samples, strict=True):
        fold.add(update, n, weighs=(1.0, 1.0))
    assert fold.total == fold.folded == len(updates)
    assert fold.samples == sum(samples)
    expected = folded(base, updates, [1] * len(updates))
    assert fold.finish(base, FedAvg().step).data.tobytes() == expected.data.tobytes()


@settings(deadline=None)
@given(rounds())
def test_the_mean_alone_is_rounded_once(round_):
    base, updates, samples = round_
    fold = WeightedMean()
    for update, n in zip(updates, samples, strict=True):
        fold.add(update, n)
    zero = [np.full_like(segment, -0.0) for segment in base.segments]
    for number, segment in enumerate(fold.mean().segments):
        assert segment.tobytes() == reference(zero[number], segments_of(updates, number), samples).tobytes()
    # Asking for the mean does not use the fold up.
    assert fold.finish(base, FedAvg().step).data.tobytes() == folded(base, updates, samples).data.tobytes()


def test_sizes_one_and_three_weigh_a_quarter_and_three_quarters():
    base = Weights.pack({"w": np.array([10.0, 20.0])})
    first, second = Weights.pack({"w": np.array([4.0, 8.0])}), Weights.pack({"w": np.array([-4.0, 0.0])})
    assert folded(base, [first, second], [1, 3]).segments[0].tolist() == [8.0, 22.0]


def test_integers_go_to_the_nearest_and_halves_to_even():
    base = Weights.pack({"n": np.array([10, 10, 10, 11])})
    updates = [Weights.pack({"n": np.array(row)}) for row in ([1, 1, 0, 1], [0, 2, 0, 0])]
    assert folded(base, updates, [1, 1]).segments[0].tolist() == [10, 12, 10, 12]


def test_nothing_folded_leaves_the_model_itself():
    base, step = Weights.pack({"w": np.ones(2)}), Refuses()
    fold = WeightedMean()
    assert fold.finish(base, step) is base
    fold.add(None, 5)
    fold.add(base, 0)
    assert fold.finish(base, step) is base
    with pytest.raises(WeightsError, match="no updates"):
        fold.mean()


class Refuses:
    def open(self, layout):
        raise AssertionError("the step was asked")


def test_another_layout_is_refused_by_name_and_not_counted():
    fold = WeightedMean()
    fold.add(Weights.pack({"w": np.ones(2)}), 1)
    with pytest.raises(WeightsError, match=r"w float64\[2\] is expected, but there is w float32\[2\]"):
        fold.add(Weights.pack({"w": np.ones(2, np.float32)}), 1)
    with pytest.raises(WeightsError, match=r"w float64\[2\]"):
        fold.finish(Weights.pack({"w": np.ones(3)}), FedAvg().step)
    assert (fold.folded, fold.total) == (1, 1)


@pytest.mark.parametrize("samples", [-1, float("nan"), float("inf")])
def test_samples_that_are_no_number_of_samples_are_refused(samples):
    with pytest.raises(WeightsError, match="cannot have"):
        WeightedMean().add(Weights.pack({"w": np.ones(2)}), samples)


@pytest.mark.parametrize("size", [3, SMALL + 1])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_not_hidden(size, bad):
    base, update = (
        Weights.pack({"w": np.ones(size, np.float32)}),
        Weights.pack({"w": np.ones(size, np.float32)}),
    )
    update.segments[0][1] = bad
    result = folded(base, [update, base], [1, 1])
    assert not np.isfinite(result.segments[0][1]) and np.isfinite(result.segments[0][2])


def test_a_sum_that_overflows_the_dtype_becomes_an_infinity_without_a_warning():
    top = Weights.pack({"w": np.full(2, np.finfo(np.float16).max)})
    assert np.isinf(folded(top, [top], [1]).segments[0]).all()


def test_a_large_model_is_held_by_reference_for_a_window_and_a_small_one_never():
    large, small = Weights.pack({"w": np.ones(SMALL + 1)}), Weights.pack({"w": np.ones(SMALL)})
    fold, other = WeightedMean(window=3), WeightedMean(window=3)
    seen = []
    for _ in range(4):
        fold.add(large, 1)
        other.add(small, 1)
        seen.append((fold.held, other.held))
    assert seen == [(1, 0), (2, 0), (0, 0), (1, 0)]


def test_the_result_lies_in_the_memory_that_was_given():
    base = Weights.pack({"w": np.ones(4)})
    buffer = np.zeros(32, np.uint8)
    fold = WeightedMean()
    fold.add(base, 2)
    assert fold.finish(base, FedAvg().step, lambda nbytes: buffer).data is buffer
    assert buffer.view(np.float64).tolist() == [2, 2, 2, 2]


@settings(deadline=None)
@given(rounds())
def test_updates_and_base_are_left_as_they_were(round_):
    base, updates, samples = round_
    before = [weights.data.tobytes() for weights in (base, *updates)]
    folded(base, updates, samples)
    assert [weights.data.tobytes() for weights in (base, *updates)] == before


@settings(deadline=None)
@given(rounds())
def test_a_tree_is_a_star_to_the_rounding_of_the_middle(round_):
    base, updates, samples = round_
    assume(len(updates) > 1 and base.layout.segments[0].dtype == np.float64)
    top, half = WeightedMean(), len(updates) // 2
    for part in (slice(0, half), slice(half, None)):
        middle = WeightedMean()
        for update, n in zip(updates[part], samples[part], strict=True):
            middle.add(update, n)
        top.add(middle.mean(), middle.samples)
    tree = top.finish(base, FedAvg().step).segments[0]
    star = folded(base, updates, samples).segments[0]
    scale = np.max(np.abs([u.segments[0] for u in (base, *updates)]), axis=0, initial=0)
    assert np.all(np.abs(tree - star) <= 1e-12 * (scale + 1e-300))


@pytest.mark.parametrize("dropped", [[0], [2, 0], [1, 0, 2]])
def test_what_is_dropped_has_never_been_there(dropped):
    """Down to the last one: then nothing was folded, and the model stays what it was."""
    rng = np.random.default_rng(5)
    base, *updates = (Weights.pack({"w": rng.standard_normal(SMALL + 1).astype(np.float32)}) for _ in range(4))
    fold = WeightedMean()
    for n, update in enumerate(updates, 1):
        fold.add(update, n)
    for number in dropped:
        fold.drop(updates[number])
    left = [number for number in range(3) if number not in dropped]
    fold.settle()
    result = fold.finish(base, FedAvg().step)
    if left:
        expected = folded(base, [updates[n] for n in left], [n + 1 for n in left])
        assert result.data.tobytes() == expected.data.tobytes()
    else:
        assert result is base and (fold.folded, fold.samples, fold.total) == (0, 0, 0)
