import json
from copy import deepcopy

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flame.errors import WeightsError
from flame.weights import Layout, Weights
from flame.weights.layout import TYPE_NAMES

names = st.text(st.characters(categories=["L", "N", "P"]), min_size=1, max_size=12).filter(
    lambda name: name != "__metadata__"
)
shapes = st.lists(st.integers(0, 4), max_size=3).map(tuple)
tensors = st.lists(
    st.tuples(names, st.sampled_from([np.dtype(n) for n in TYPE_NAMES]), shapes),
    max_size=8,
    unique_by=lambda t: t[0],
)


def filled(layout: Layout, seed: int = 0) -> Weights:
    values = np.random.default_rng(seed).integers(-9, 9, layout.size)
    weights, start = Weights(layout, np.empty(layout.nbytes, np.uint8)), 0
    for segment in weights.segments:
        segment[:] = values[start : start + segment.size]
        start += segment.size
    return weights


@given(tensors)
def test_tensors_follow_each_other_without_holes_floats_first(planned):
    layout = Layout.plan(planned)
    assert sorted(entry.name for entry in layout.entries) == sorted(name for name, _, _ in planned)
    end = 0
    for entry in layout.entries:
        assert entry.start == end
        end = entry.stop
    assert end == layout.nbytes == sum(segment.stop - segment.start for segment in layout.segments)
    assert [segment.exact for segment in layout.segments] == sorted(segment.exact for segment in layout.segments)
    assert len({segment.dtype for segment in layout.segments}) == len(layout.segments)
    for segment in layout.segments:
        assert segment.exact or segment.start % segment.dtype.itemsize == 0


@given(tensors)
def test_a_layout_survives_json(planned):
    layout = Layout.plan(planned)
    read = Layout.from_plain(json.loads(json.dumps(layout.to_plain())))
    assert read == layout
    assert read.digest == layout.digest
    assert read.spans == layout.spans
    assert layout.difference(read) == ""


@given(tensors, tensors)
def test_equal_digests_are_equal_layouts(one, other):
    first, second = Layout.plan(one), Layout.plan(other)
    assert (first == second) == (first.digest == second.digest) == (first.difference(second) == "")


@given(tensors)
def test_views_and_segments_show_the_same_memory(planned):
    weights = filled(Layout.plan(planned))
    for entry, (number, where) in zip(weights.layout.entries, weights.layout.spans, strict=True):
        view = weights.arrays()[entry.name]
        assert view.shape == entry.shape and view.dtype == entry.dtype
        assert np.array_equal(view.ravel(), weights.segments[number][where])
        view[...] = 7
        assert (weights.segments[number][where] == 7).all()


@given(tensors)
def test_packing_what_was_unpacked_changes_nothing(planned):
    weights = filled(Layout.plan(planned))
    packed = Weights.pack(weights.arrays())
    assert packed.layout == weights.layout
    assert packed.data.tobytes() == weights.data.tobytes()


def test_the_digest_is_the_same_for_ever():
    layout = Layout.of({"w": np.zeros((2, 3), np.float32), "n": np.zeros((), np.int64)})
    assert layout.digest == "509b868b4a372bca87bb1b28bc5602e3"


def test_nothing_is_copied():
    data = np.zeros(12, np.uint8)
    weights = Weights(Layout.of({"w": np.zeros(3, np.float32)}), data)
    weights.segments[0][1] = 5
    assert data.view(np.float32)[1] == 5
    assert np.shares_memory(weights.arrays()["w"], data)


def test_read_only_memory_gives_read_only_views():
    data = np.frombuffer(bytes(12), np.uint8)
    weights = Weights(Layout.of({"w": np.zeros(3, np.float32)}), data)
    with pytest.raises(ValueError, match="read-only"):
        weights.arrays()["w"][0] = 1


@pytest.mark.parametrize(
    ("own", "travels_as"),
    [("bool", "int8"), ("uint8", "int16"), ("uint16", "int32"), ("uint32", "int64"), (">f4", "float32")],
)
def test_a_dtype_travels_as_one_that_holds_its_differences(own, travels_as):
    weights = Weights.pack({"w": np.array([0, 1], own)})
    assert weights.layout.entries[0].dtype.name == travels_as
    assert weights.segments[0].tolist() == [0, 1]


@pytest.mark.parametrize("dtype", ["complex64", "O", "U3", "uint64", "datetime64[s]"])
def test_a_dtype_that_cannot_travel_is_refused_by_name(dtype):
    with pytest.raises(WeightsError, match=r"tensor w is .* cannot be carried"):
        Layout.of({"w": np.zeros(2, dtype)})


GOOD = [["w", "float32", [2, 3]], ["n", "int64", []]]


def test_the_good_one_is_good():
    assert Layout.from_plain(GOOD).nbytes == 32


@pytest.mark.parametrize(
    "change",
    [
        lambda g: g[0].__setitem__(2, [-1]),
        lambda g: g[0].__setitem__(2, [2**62, 2**62]),
        lambda g: g[0].__setitem__(2, [0, 2**62]),
        lambda g: g[0].__setitem__(2, [2**20, 2**20, 2**20, 0]),
        lambda g: g[0].__setitem__(2, [1.0]),
        lambda g: g[0].__setitem__(2, [True]),
        lambda g: g[0].__setitem__(2, ["2"]),
        lambda g: g[0].__setitem__(2, [1] * 33),
        lambda g: g[0].__setitem__(2, None),
        lambda g: g[0].__setitem__(1, "object"),
        lambda g: g[0].__setitem__(1, "float32, float32"),
        lambda g: g[0].__setitem__(1, 3),
        lambda g: g[0].__setitem__(0, 3),
        lambda g: g[0].__setitem__(0, ""),
        lambda g: g[0].__setitem__(0, "n"),
        lambda g: g[0].__setitem__(0, "a\nb"),
        lambda g: g[0].__setitem__(0, "\ud800"),
        lambda g: g[0].__setitem__(0, "x" * 5000),
        lambda g: g[0].__setitem__(0, "__metadata__"),
        lambda g: g[0].append(1),
        lambda g: g.reverse(),
        lambda g: g.append(None),
        lambda g: g.append({}),
        lambda g: g.append(["v", "float32", [2**39]]),
    ],
)
def test_a_hostile_layout_is_refused(change):
    plain = deepcopy(GOOD)
    change(plain)
    with pytest.raises(WeightsError):
        Layout.from_plain(plain)


@pytest.mark.parametrize("plain", [None, 3, "w", {}, b"\0"])
def test_something_else_than_a_list_is_refused(plain):
    with pytest.raises(WeightsError):
        Layout.from_plain(plain)


@given(
    st.recursive(st.none() | st.integers() | st.text(max_size=8) | st.sampled_from(TYPE_NAMES), st.lists, max_leaves=12)
)
def test_junk_gives_a_layout_or_our_error(plain):
    try:
        layout = Layout.from_plain(plain)
    except WeightsError:
        return
    assert Layout.from_plain(layout.to_plain()) == layout


@pytest.mark.parametrize(
    "data",
    [np.zeros(11, np.uint8), np.zeros(13, np.uint8), np.zeros(3, np.float32), np.zeros((3, 4), np.uint8)],
)
def test_a_buffer_of_the_wrong_size_or_form_is_refused(data):
    with pytest.raises(WeightsError, match="12 contiguous bytes"):
        Weights(Layout.of({"w": np.zeros(3, np.float32)}), data)


def test_differences_name_the_tensor():
    layout = Layout.of({"a": np.zeros(2, np.float32), "b": np.zeros(3, np.float32)})
    other = {"a": np.zeros(2, np.float32), "b": np.zeros((3, 1), np.float32)}
    assert layout.difference(Layout.of(other)) == "tensor b float32[3] is expected, but there is b float32[3, 1]"
    assert "b float32[3] is missing" in layout.difference(Layout.of({"a": other["a"]}))
    assert "b float32[3] is one too many" in Layout.of({"a": other["a"]}).difference(layout)
    reordered = Layout.of({"b": np.zeros(3, np.float32), "a": np.zeros(2, np.float32)})
    assert "another order" in layout.difference(reordered)


def test_packing_into_a_given_layout_puts_tensors_in_its_order():
    arrays = {"b": np.arange(3.0), "a": np.arange(2.0)}
    layout = Layout.of({"a": arrays["a"], "b": arrays["b"]})
    assert Weights.pack(arrays, layout=layout).segments[0].tolist() == [0, 1, 0, 1, 2]
    with pytest.raises(WeightsError, match="b float64"):
        Weights.pack({"a": arrays["a"]}, layout=layout)


def test_tensors_that_are_not_finite_are_named():
    big = np.finfo(np.float32).max
    arrays = {
        "a": np.array([1, big, big], np.float32),
        "b": np.zeros(2, np.float32),
        "n": np.ones(1, np.int64),
    }
    weights = Weights.pack(arrays)
    assert weights.not_finite() == []
    weights.arrays()["b"][1] = np.nan
    assert weights.not_finite() == ["b"]
    weights.arrays()["a"][0] = -np.inf
    assert weights.not_finite() == ["a", "b"]
