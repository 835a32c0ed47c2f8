"""A target writes exactly what loading a buffer would have written, wherever a model's arrays lie."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flame.engine.fold import BLOCK, WeightedMean
from flame.optimizer.fedavg import FedAvg
from flame.weights import Weights, adapters
from flame.weights.target import Target


def arrays(sizes, seed):
    draw = np.random.default_rng(seed)
    return {f"a{n}": draw.normal(size=(size,)).astype(np.float32) for n, size in enumerate(sizes)} | {
        "steps": np.array(7, np.int64)
    }


def folded(layout, seed):
    draw, fold = np.random.default_rng(seed), WeightedMean()
    for samples in (1, 3, 2):
        update = Weights(layout, np.zeros(layout.nbytes, np.uint8))
        for segment in update.segments:
            segment[...] = draw.integers(-9, 9, segment.size)
        fold.add(update, samples)
    return fold


SIZES = st.sampled_from([0, 1, 3, 500, BLOCK - 1, BLOCK, BLOCK + 1])


@settings(deadline=None, max_examples=25)
@given(st.lists(SIZES, min_size=1, max_size=4), st.integers(0, 9))
def test_writing_in_place_is_loading(sizes, seed):
    straight, around = arrays(sizes, seed), arrays(sizes, seed)
    identities = {name: id(array) for name, array in straight.items()}
    one, other = adapters.of(straight), adapters.of(around)
    one_fold, other_fold = folded(one.layout, seed), folded(one.layout, seed)
    one_fold.finish_into(one.target(), one.snapshot(), FedAvg().step)
    other.load(other_fold.finish(other.snapshot(), FedAvg().step))
    for name, array in around.items():
        assert straight[name].tobytes() == array.tobytes()
    assert {name: id(array) for name, array in straight.items()} == identities


def test_a_torch_model_is_written_in_place():
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    straight = torch.nn.Sequential(torch.nn.Linear(300, 200), torch.nn.BatchNorm1d(200))
    around = torch.nn.Sequential(torch.nn.Linear(300, 200), torch.nn.BatchNorm1d(200))
    around.load_state_dict(straight.state_dict())
    one, other = adapters.of(straight), adapters.of(around)
    one_fold, other_fold = folded(one.layout, 3), folded(one.layout, 3)
    one_fold.finish_into(one.target(), one.snapshot(), FedAvg().step, averaged=one.averaged)
    other.load(other_fold.finish(other.snapshot(), FedAvg().step, averaged=other.averaged))
    for (name, tensor), expected in zip(straight.state_dict().items(), around.state_dict().values(), strict=True):
        assert torch.equal(tensor, expected), name


@pytest.mark.parametrize(
    "model",
    [
        {"w": np.ones((4, 6))[:, ::2]},
        {"w": np.frombuffer(bytes(64))},
    ],
    ids=["not contiguous", "read-only"],
)
def test_what_cannot_be_written_flat_is_loaded(model):
    assert adapters.of(model).target() is None


def test_an_array_of_another_width_is_loaded():
    model = {"w": np.ones(4, np.float32)}
    adapter = adapters.of(model)
    model["w"] = np.ones(4)
    assert adapter.target() is None


def test_models_on_bfloat16_are_loaded():
    torch = pytest.importorskip("torch")
    assert adapters.of(torch.nn.Linear(2, 2).bfloat16()).target() is None


def test_parts_cover_a_block_once_and_in_order():
    pieces = [np.zeros(size, np.float32) for size in (3, 0, 2, 5)]
    target = Target([pieces])
    for start in range(10):
        for stop in range(start + 1, 11):
            parts = list(target.parts(0, slice(start, stop)))
            where = [index for _, part in parts for index in range(part.start, part.stop)]
            assert where == list(range(stop - start))
            assert all(view.size == part.stop - part.start for view, part in parts)
