"""Keras models, on the backend that the environment names."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import layers

from flame.errors import WeightsError
from flame.weights import adapters
from flame.weights.plain import out_of

# Keras's own `get_weights` runs into it with numpy 2.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")


class Counter(layers.Layer):
    """Counts how often it was called, in an integer variable."""

    def build(self, shape):
        self.calls = self.add_weight(name="calls", shape=(), dtype="int32", initializer="zeros", trainable=False)
        self.gain = self.add_weight(name="gain", shape=(), initializer="ones")

    def call(self, x):
        self.calls.assign_add(1)
        return x * self.gain


def model(dtype=None):
    return keras.Sequential(
        [
            keras.Input((4,)),
            layers.Dense(3, dtype=dtype),
            layers.BatchNormalization(),
            layers.Dropout(0.5),
            Counter(),
            layers.Dense(1),
        ]
    )


def trained():
    made = model()
    made.compile(loss="mse", optimizer=keras.optimizers.Adam(0.01))
    rng = np.random.default_rng(0)
    made.fit(rng.normal(3, 1, (64, 4)), rng.normal(size=64), epochs=2, verbose=0)
    return made


def values(of):
    return [np.asarray(array) for array in of.get_weights()]


def test_every_worker_has_the_same_layout():
    """Although Keras numbers the layers of a process through."""
    one, other = model(), model()
    assert one.layers[0].name != other.layers[0].name
    assert adapters.of(one).layout == adapters.of(other).layout


def test_weights_are_a_list_as_programs_know_it():
    one, other = model(), trained()
    form = adapters.of(one).as_dict(adapters.of(other).snapshot())
    assert [array.dtype for array in form] == [array.dtype for array in values(other)]
    assert out_of(form, adapters.of(one).layout).data.tobytes() == adapters.of(other).snapshot().data.tobytes()
    one.set_weights(form)
    for mine, yours in zip(values(one), values(other), strict=True):
        np.testing.assert_array_equal(mine, yours)


def test_loading_a_snapshot_makes_models_equal():
    one, other = model(), trained()
    adapters.of(one).load(adapters.of(other).snapshot())
    x = np.random.default_rng(1).normal(size=(8, 4))
    np.testing.assert_array_equal(one.predict(x, verbose=0), other.predict(x, verbose=0))


def test_delta_is_model_minus_base():
    one, other = model(), trained()
    before, after = values(one), values(other)
    delta = adapters.of(other).delta(adapters.of(one).snapshot()).arrays()
    for place, (old, new) in enumerate(zip(before, after, strict=True)):
        (name,) = [name for name in delta if name.startswith(f"{place}.")]
        np.testing.assert_array_equal(delta[name], new - old)


def test_statistics_and_counters_are_averaged_and_keep_their_dtype():
    adapter = adapters.of(trained())
    assert {name.partition(".")[2] for name in adapter.averaged} == {"moving_mean", "moving_variance", "calls"}
    arrays = {name.partition(".")[2]: array for name, array in adapter.snapshot().arrays().items()}
    assert arrays["calls"].dtype == np.int32 and arrays["calls"] == 4  # 64 samples are two batches, twice
    assert abs(arrays["moving_mean"]).max() > 0


def test_the_state_of_dropout_stays():
    one = trained()
    (seed,) = [v for v in one.variables if "seed" in v.path]
    before = keras.ops.convert_to_numpy(seed.value).copy()
    adapter = adapters.of(one)
    adapter.load(adapters.of(model()).snapshot())
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(seed.value), before)
    assert not [entry for entry in adapter.layout.entries if "seed" in entry.name]


def test_training_goes_on_from_what_was_loaded():
    one = trained()
    adapter = adapters.of(one)
    zeros = adapter.snapshot()
    zeros.data[...] = 0
    adapter.load(zeros)
    zeros.data[...] = 255  # it has been copied
    one.fit(np.zeros((32, 4)), np.zeros(32), verbose=0)
    assert all(np.isfinite(array).all() for array in values(one))
    assert abs(values(one)[0]).max() < 0.1


def test_half_precision_travels_as_float32():
    one = model(dtype="bfloat16")
    adapter = adapters.of(one)
    assert {entry.dtype.name for entry in adapter.layout.entries} == {"float32", "int32"}
    before = adapter.snapshot().data.tobytes()
    adapter.load(adapter.snapshot())
    assert adapter.snapshot().data.tobytes() == before
    assert one.layers[0].kernel.dtype == "bfloat16"


def test_a_model_without_variables_says_what_to_do():
    with pytest.raises(WeightsError, match=r"begin it with a keras\.Input"):
        adapters.of(keras.Sequential([layers.Dense(3)]))


def test_another_architecture_is_refused_by_name():
    weights = adapters.of(model()).snapshot()
    with pytest.raises(WeightsError, match=r"0\.kernel"):
        adapters.of(keras.Sequential([keras.Input((5,)), layers.Dense(3)])).load(weights)
