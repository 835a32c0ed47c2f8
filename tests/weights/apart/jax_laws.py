"""Trees of JAX arrays, and Flax modules."""

from __future__ import annotations

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen, nnx
from flax.core import freeze
from flax.training.train_state import TrainState

import flame
from flame.errors import RunError, WeightsError
from flame.weights import Weights, adapters
from flame.weights.plain import out_of


class Net(nnx.Module):
    def __init__(self) -> None:
        rngs = nnx.Rngs(0)
        self.inner = nnx.Linear(3, 4, rngs=rngs)
        self.norm = nnx.BatchNorm(4, rngs=rngs)
        self.drop = nnx.Dropout(0.5, rngs=rngs)
        self.again = self.inner
        self.steps = nnx.Variable(jnp.zeros((), jnp.int32))
        self.half = nnx.Param(jnp.ones(2, jnp.bfloat16))


def tree():
    return {
        "w": {"kernel": jnp.arange(6.0).reshape(2, 3), "bias": jnp.zeros(3)},
        "layers": [{"a": jnp.ones(2, jnp.bfloat16)}, jnp.arange(3)],
        "fixed": np.ones(2),
        "flags": jnp.array([True, False]),
    }


def linen_params():
    class Inner(linen.Module):
        @linen.compact
        def __call__(self, x):
            return linen.BatchNorm(use_running_average=True)(linen.Dense(4)(x))

    return Inner().init(jax.random.key(0), jnp.ones((1, 3)))


MODELS = {"tree": tree, "linen": linen_params, "nnx": Net}


@pytest.fixture(params=MODELS)
def made(request):
    """Two models of a kind, equal in layout and different in values."""
    one, other = MODELS[request.param](), MODELS[request.param]()
    adapter = adapters.of(other)
    plus = Weights.pack({name: array + 1 for name, array in adapter.snapshot().arrays().items()}, layout=adapter.layout)
    adapter.load(plus)
    return SimpleNamespace(kind=request.param, one=one, other=other)


def test_loading_a_snapshot_makes_models_equal(made):
    one, other = adapters.of(made.one), adapters.of(made.other)
    assert one.layout == other.layout and one.layout.entries
    one.load(other.snapshot())
    assert one.snapshot().data.tobytes() == other.snapshot().data.tobytes()


def test_what_a_program_sees_of_weights_can_be_made_weights_again(made):
    adapter = adapters.of(made.one)
    weights = adapters.of(made.other).snapshot()
    again = out_of(adapter.as_dict(weights), adapter.layout)
    for name, array in weights.arrays().items():
        np.testing.assert_array_equal(again.arrays()[name], array, err_msg=name)


def test_delta_is_model_minus_base(made):
    base = adapters.of(made.one).snapshot()
    delta = adapters.of(made.other).delta(base)
    assert delta.layout is base.layout
    for name, array in delta.arrays().items():
        np.testing.assert_allclose(array, 0 if name == "flags" and array.all() else 1, atol=1 if name == "flags" else 0)


def test_what_was_loaded_is_the_models_own(made):
    adapter = adapters.of(made.one)
    weights = adapter.snapshot()
    before = weights.data.tobytes()
    adapter.load(weights)
    weights.data[...] = 0
    assert adapter.snapshot().data.tobytes() == before


def test_own_dtypes_and_structure_come_back(made):
    adapter = adapters.of(made.one)
    form = adapter.as_dict(adapters.of(made.other).snapshot())
    if made.kind == "nnx":
        assert form["half"].get_value().dtype == jnp.bfloat16 and form["steps"].get_value().dtype == jnp.int32
        nnx.update(made.one, form)
    else:
        assert jax.tree.structure(form) == jax.tree.structure(made.one)
        assert [leaf.dtype for leaf in jax.tree.leaves(form)] == [leaf.dtype for leaf in jax.tree.leaves(made.one)]
        made.one.update(form)
    assert adapter.snapshot().data.tobytes() == adapters.of(made.other).snapshot().data.tobytes()


def test_statistics_are_averaged_and_random_streams_stay():
    adapter = adapters.of(Net())
    assert adapter.averaged == {"norm/mean", "norm/var", "steps"}
    assert not [entry.name for entry in adapter.layout.entries if "rng" in entry.name]
    assert len([entry for entry in adapter.layout.entries if entry.name.endswith("kernel")]) == 1  # it is tied
    assert {entry.name: entry.dtype.name for entry in adapter.layout.entries}["steps"] == "int32"
    assert adapters.of(linen_params()).averaged == {
        "batch_stats/BatchNorm_0/mean",
        "batch_stats/BatchNorm_0/var",
    }


def test_a_model_that_jit_returns_has_the_same_layout():
    model = {"z": jnp.ones(2), "a": jnp.ones(3)}
    assert adapters.of(jax.jit(lambda tree: tree)(model)).layout == adapters.of(model).layout


def state():
    params = linen_params()["params"]
    return TrainState.create(apply_fn=None, params=params, tx=optimizer())


def optimizer():
    import optax

    return optax.sgd(0.1)


@pytest.mark.parametrize(
    ("model", "says"),
    [
        (lambda: freeze(linen_params()), "unfreeze"),
        (state, r"state\.replace\(params=self\.model\)"),
        (lambda: (jnp.ones(2),), "in a tuple"),
        (lambda: jnp.ones(2), "dict or list"),
        (lambda: {"w": jnp.ones(2), "key": jax.random.key(0)}, "key is a random key"),
        (lambda: {"w": jnp.ones(2), "n": 3}, "n is int"),
        (lambda: {"w": jnp.ones(2, jnp.complex64)}, "w is complex64"),
    ],
    ids=["frozen", "state", "tuple", "array", "key", "number", "complex"],
)
def test_what_cannot_be_changed_in_place_is_refused_with_a_remedy(model, says):
    with pytest.raises(WeightsError, match=says):
        adapters.of(model())


def test_another_shape_is_refused_by_name():
    model = tree()
    adapter = adapters.of(model)
    base = adapter.snapshot()
    model["w"]["kernel"] = jnp.zeros((2, 4))
    with pytest.raises(WeightsError, match="w/kernel"):
        adapter.delta(base)
    model["w"]["kernel"] = jnp.zeros((2, 3))
    model["more"] = jnp.zeros(1)
    with pytest.raises(WeightsError, match="more has been added"):
        adapter.load(base)


def test_arrays_in_a_dict_within_a_tuple_are_replaced():
    model = ({"w": jnp.ones(2)}, {"w": jnp.ones(2)})
    adapter = adapters.of(model)
    adapter.load(Weights.pack({entry.name: np.zeros(2, np.float32) for entry in adapter.layout.entries}))
    assert not model[0]["w"].any() and not model[1]["w"].any()


def test_a_run_that_jax_would_hang_is_refused(tmp_path):
    """Its threads do not survive a fork; in one process there is none."""
    run = {
        "model": lambda: {"w": jnp.zeros(2)},
        "train": lambda model, item: model.update(w=model["w"] + item),
        "data": [1.0, 3.0],
        "rounds": 2,
    }
    jnp.zeros(1).block_until_ready()
    with pytest.raises(RunError, match="hosts=0"):
        flame.run(**run, hosts=1, out=tmp_path / "refused")
    assert flame.run(**run, hosts=0, out=tmp_path / "run").weights().arrays()["w"].tolist() == [4.0, 4.0]
