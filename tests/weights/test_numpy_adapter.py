import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from flame.errors import WeightsError
from flame.weights import Weights, adapters
from flame.weights.numpy_adapter import NumpyAdapter

arrays = hnp.arrays(
    st.sampled_from(["float64", "float32", "float16", "int64", "int32", "bool", "uint8"]),
    hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4),
    elements={"min_value": 0, "max_value": 1},
)
models = st.one_of(
    arrays,
    st.lists(arrays, min_size=1, max_size=4),
    st.lists(arrays, min_size=1, max_size=4).map(tuple),
    st.dictionaries(st.text("abc.", min_size=1, max_size=4), arrays, min_size=1, max_size=4),
)


def items(model):
    if isinstance(model, np.ndarray):
        return [model]
    return list(model.values()) if isinstance(model, dict) else list(model)


@given(models)
def test_loading_a_snapshot_changes_nothing(model):
    adapter = adapters.of(model)
    before = [array.copy() for array in items(model)]
    identities = [id(array) for array in items(model)]
    snapshot = adapter.snapshot()
    for array in items(model):
        array[...] = 0
    adapter.load(snapshot)
    assert [id(array) for array in items(model)] == identities
    assert all(np.array_equal(a, b) for a, b in zip(items(model), before, strict=True))


@given(models)
def test_delta_is_model_minus_base(model):
    adapter = adapters.of(model)
    base = adapter.snapshot()
    for array in items(model):
        array[...] = 1 - array
    delta, now = adapter.delta(base), adapter.snapshot()
    assert delta.layout is base.layout
    for change, after, before in zip(delta.segments, now.segments, base.segments, strict=True):
        assert np.array_equal(change, after - before)


@given(models)
def test_as_dict_is_a_private_copy_in_the_users_form(model):
    adapter = adapters.of(model)
    weights = adapter.snapshot()
    sent = weights.data.tobytes()
    form = adapter.as_dict(weights)
    assert type(form) is type(model)
    if isinstance(model, dict):
        assert list(form) == list(model)
    for copy, own in zip(items(form), items(model), strict=True):
        assert copy.dtype == own.dtype and np.array_equal(copy, own)
        copy[...] = 1
    assert weights.data.tobytes() == sent


@pytest.mark.parametrize("order", ["C", "F"])
def test_arrays_that_are_not_contiguous_are_carried(order):
    model = {"w": np.asarray(np.arange(12.0).reshape(3, 4), order=order)[:, ::2], "v": np.zeros(2)}
    adapter = adapters.of(model)
    base = adapter.snapshot()
    assert np.array_equal(base.arrays()["w"], model["w"])
    model["w"] += 1
    assert (adapter.delta(base).arrays()["w"] == 1).all()


def test_replaced_entries_are_followed():
    model = {"w": np.zeros(3, np.float32), "v": np.zeros(2, np.float32)}
    adapter = adapters.of(model)
    base = adapter.snapshot()
    model["w"] = np.full(3, 2.0)
    delta = adapter.delta(base)
    assert delta.arrays()["w"].tolist() == [2, 2, 2] and delta.arrays()["w"].dtype == np.float32
    adapter.load(base)
    assert model["w"].tolist() == [0, 0, 0] and model["w"].dtype == np.float64


def test_memory_comes_from_the_given_allocator():
    buffers = []

    def allocate(nbytes):
        buffers.append(np.zeros(nbytes, np.uint8))
        return buffers[-1]

    adapter = adapters.of([np.ones(3)])
    base = adapter.snapshot(allocate)
    delta = adapter.delta(base, allocate)
    assert [base.data is buffers[0], delta.data is buffers[1]] == [True, True]


def test_a_read_only_buffer_can_be_loaded():
    model = np.zeros(3)
    adapter = adapters.of(model)
    adapter.load(Weights(adapter.layout, np.frombuffer(np.arange(3.0).tobytes(), np.uint8)))
    assert model.tolist() == [0, 1, 2]


def change_shape(model):
    model["w"] = np.zeros(4)


def change_kind(model):
    model["w"] = np.zeros(3, np.int64)


def make_a_list(model):
    model["w"] = [0, 0, 0]


def freeze(model):
    model["w"].flags.writeable = False


def drop(model):
    del model["w"]


def rename(model):
    model["u"] = model.pop("w")


@pytest.mark.parametrize("change", [change_shape, change_kind, make_a_list, freeze, drop, rename])
def test_a_model_that_no_longer_fits_is_refused_by_name(change):
    model = {"w": np.zeros(3), "v": np.zeros(2)}
    adapter = adapters.of(model)
    base = adapter.snapshot()
    change(model)
    with pytest.raises(WeightsError, match=r"tensor w|had 2"):
        adapter.load(base)


def test_weights_of_another_layout_are_refused_by_name():
    adapter = adapters.of({"w": np.zeros(3)})
    with pytest.raises(WeightsError, match=r"w float64\[3\]"):
        adapter.load(Weights.pack({"w": np.zeros(4)}))


@pytest.mark.parametrize("model", [None, 3, "w", {}, [], [1.0, 2.0], {"w": 1.0}, {1: np.zeros(2)}, object()])
def test_what_is_no_model_is_told_what_one_is(model):
    assert not NumpyAdapter.fits(model)
    with pytest.raises(WeightsError, match=r"supported are a torch\.nn\.Module"):
        adapters.of(model)


def test_an_equal_layout_is_adopted():
    one, other = adapters.of(np.zeros(3)), adapters.of(np.zeros(3))
    weights = one.snapshot()
    other.load(weights)
    assert other.layout is weights.layout
