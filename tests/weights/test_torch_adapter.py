import copy
import subprocess
import sys
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flame.errors import WeightsError
from flame.weights import Weights, adapters, safetensors
from flame.weights.plain import out_of

torch = pytest.importorskip("torch")
nn = torch.nn


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.inward = nn.Embedding(5, 3)
        self.outward = nn.Linear(3, 5, bias=False)
        self.outward.weight = self.inward.weight
        self.register_buffer("mask", torch.tensor([True, False, True]))
        self.register_buffer("forgotten", torch.ones(2), persistent=False)

    def forward(self, x):
        return self.outward(self.inward(x))


class OwnStateDict(nn.Linear):
    """Keeps its state dict under names of its own, as wrappers of models do."""

    def state_dict(self, *args, **kwargs):
        return {f"own.{name}": tensor for name, tensor in super().state_dict().items()}

    def load_state_dict(self, state, strict=True, assign=False):
        return super().load_state_dict({name.removeprefix("own."): t for name, t in state.items()}, strict, assign)


def overlapping():
    model = nn.Linear(3, 3)
    model.register_buffer("row", model.weight.data[0])
    return model


def half_and_single():
    return nn.Sequential(nn.Linear(3, 2).bfloat16(), nn.Linear(2, 2))


def channels_last():
    return nn.Conv2d(2, 3, 2).to(memory_format=torch.channels_last)


MODELS = {
    "mlp": lambda: nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2)),
    "batch norm": lambda: nn.Sequential(nn.Conv2d(3, 5, 3), nn.BatchNorm2d(5), nn.Conv2d(5, 1, 1)),
    "tied": Tied,
    "one dimension": lambda: nn.PReLU(),
    "lstm": lambda: nn.LSTM(3, 4),
    "double": lambda: nn.Linear(3, 2).double(),
    "half": lambda: nn.Linear(3, 2).half(),
    "bfloat16": lambda: nn.Linear(3, 2).bfloat16(),
    "shared module": lambda: nn.ModuleList([nn.Linear(2, 2)] * 2),
    "own state dict": lambda: OwnStateDict(3, 2),
    "overlapping": overlapping,
    "two dtypes that travel as one": half_and_single,
    "not contiguous": channels_last,
}
anything = pytest.mark.parametrize("make", MODELS.values(), ids=MODELS.keys())


def shift(model):
    """Change every value, in place, as training does."""
    with torch.no_grad():
        for tensor in {t.data_ptr(): t for t in model.state_dict().values()}.values():
            tensor.copy_(~tensor if tensor.dtype == torch.bool else tensor + 1)


def frozen(model):
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def same(one, other):
    return list(one) == list(other) and all(torch.equal(one[name], other[name]) for name in one)


@anything
def test_binding_changes_no_value_and_no_object(make):
    model = make()
    before, parameters = frozen(model), [id(p) for p in model.parameters()]
    adapters.of(model)
    assert same(frozen(model), before)
    assert [id(p) for p in model.parameters()] == parameters
    assert {name: t.dtype for name, t in model.state_dict().items()} == {n: t.dtype for n, t in before.items()}


@anything
def test_loading_a_snapshot_changes_nothing(make):
    model = make()
    adapter = adapters.of(model)
    before, snapshot = frozen(model), adapter.snapshot()
    shift(model)
    assert not same(frozen(model), before)
    adapter.load(snapshot)
    assert same(frozen(model), before)
    assert adapter.snapshot().data.tobytes() == snapshot.data.tobytes()


@anything
def test_delta_is_model_minus_base(make):
    model = make()
    adapter = adapters.of(model)
    base = adapter.snapshot()
    shift(model)
    delta, now = adapter.delta(base), adapter.snapshot()
    assert delta.layout is base.layout
    for change, after, before in zip(delta.segments, now.segments, base.segments, strict=True):
        assert np.array_equal(change, after - before)
        assert change.any()


@anything
def test_as_dict_is_a_private_state_dict(make):
    model, other = make(), make()
    adapter = adapters.of(model)
    weights = adapter.snapshot()
    sent = weights.data.tobytes()
    state = adapter.as_dict(weights)
    assert same(state, model.state_dict())
    assert out_of(state, adapter.layout).data.tobytes() == sent
    other.load_state_dict(state)
    assert same(frozen(other), frozen(model))
    for tensor in state.values():
        tensor.zero_()
    assert weights.data.tobytes() == sent


@anything
def test_the_layout_depends_on_the_architecture_alone(make):
    assert adapters.of(make()).layout == adapters.of(make()).layout


@anything
def test_read_only_weights_load_without_a_warning(make):
    model = make()
    adapter = adapters.of(model)
    weights = Weights(adapter.layout, np.frombuffer(adapter.snapshot().data.tobytes(), np.uint8))
    before = frozen(model)
    shift(model)
    with warnings.catch_warnings(action="error"):
        adapter.load(weights)
    assert same(frozen(model), before)


@settings(max_examples=20, deadline=None)
@given(st.lists(st.sampled_from(["linear", "norm", "conv", "prelu"]), min_size=1, max_size=5), st.integers(0, 99))
def test_the_round_trip_holds_for_any_stack_of_layers(kinds, seed):
    torch.manual_seed(seed)
    makers = {"linear": lambda: nn.Linear(3, 4), "norm": lambda: nn.BatchNorm1d(5),
              "conv": lambda: nn.Conv1d(2, 3, 2), "prelu": nn.PReLU}  # fmt: skip
    model = nn.Sequential(*(makers[kind]() for kind in kinds))
    before = frozen(model)
    adapter = adapters.of(model)
    snapshot = adapter.snapshot()
    shift(model)
    adapter.load(snapshot)
    assert same(frozen(model), before)


def test_tied_tensors_travel_once_and_stay_tied():
    model = Tied()
    adapter = adapters.of(model)
    assert [entry.name for entry in adapter.layout.entries] == ["inward.weight", "mask"]
    assert model.outward.weight is model.inward.weight
    state = adapter.as_dict(adapter.snapshot())
    assert state["outward.weight"] is state["inward.weight"]


def test_an_optimizer_made_before_binding_trains_the_bound_model():
    results = []
    for bind in (False, True):
        torch.manual_seed(3)
        model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Linear(8, 1))
        optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
        adapter = adapters.of(model) if bind else None
        for _ in range(5):
            optimizer.zero_grad()
            model(torch.randn(6, 4)).square().mean().backward()
            optimizer.step()
        results.append(frozen(model))
        if adapter:
            snapshot = adapter.snapshot().arrays()
            assert all(np.array_equal(snapshot[name], tensor) for name, tensor in frozen(model).items())
    assert same(*results)


def assign_state(model):
    model.load_state_dict(frozen(model), assign=True)


def make_half(model):
    model.half()


def make_double(model):
    model.double()


def new_module(model):
    model[0] = nn.Linear(4, 3)


def new_parameter(model):
    model[0].weight = nn.Parameter(torch.ones(3, 4))


def new_data(model):
    model[0].weight.data = torch.ones(3, 4)


def transposed(model):
    model[1].weight.data = model[1].weight.data.T


@pytest.mark.parametrize(
    "replace", [assign_state, make_half, make_double, new_module, new_parameter, new_data, transposed]
)
def test_tensors_that_the_user_replaced_are_followed(replace):
    model = nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 3))
    adapter = adapters.of(model)
    base = adapter.snapshot()
    replace(model)
    snapshot = adapter.snapshot()
    assert snapshot.layout == base.layout
    assert all(np.array_equal(a, frozen(model)[n].float()) for n, a in snapshot.arrays().items())
    shift(model)
    delta, now = adapter.delta(base), adapter.snapshot()
    assert np.array_equal(delta.segments[0], now.segments[0] - base.segments[0])
    dtype = model[0].weight.dtype
    adapter.load(base)
    assert model[0].weight.dtype == dtype
    assert all(np.array_equal(frozen(model)[n], torch.tensor(a).to(dtype)) for n, a in base.arrays().items())


def test_a_tensor_whose_shape_changed_is_named():
    model = nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 3))
    adapter = adapters.of(model)
    base = adapter.snapshot()
    model[1] = nn.Linear(3, 2)
    with pytest.raises(WeightsError, match=r"1\.weight"):
        adapter.delta(base)


@pytest.mark.parametrize(
    "change",
    [
        lambda m: m.append(nn.Linear(3, 3)),
        lambda m: m.pop(1),
        lambda m: setattr(m[1], "weight", m[2].weight),
        lambda m: m[1].register_buffer("extra", torch.ones(1)),
        lambda m: setattr(m[2], "bias", nn.Parameter(torch.ones(3))),
    ],
)
def test_a_tensor_that_came_or_went_is_named(change):
    model = nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 3), nn.Linear(3, 3, bias=False))
    adapter = adapters.of(model)
    adapter.snapshot()
    change(model)
    with pytest.raises(WeightsError, match=r"tensor .* since the first round"):
        adapter.snapshot()


def test_weights_of_another_model_are_refused_by_name():
    adapter = adapters.of(nn.Linear(3, 2))
    with pytest.raises(WeightsError, match=r"weight float32\[2, 3\] is expected"):
        adapter.load(adapters.of(nn.Linear(4, 2)).snapshot())


class Strange(nn.Linear):
    def get_extra_state(self):
        return {"a": 1}

    def set_extra_state(self, state):
        pass


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: nn.LazyLinear(3), "no values yet"),
        (lambda: nn.Linear(3, 2, device="meta"), "no values yet"),
        (nn.ReLU, "no parameters"),
        (lambda: Strange(2, 2), "only tensors"),
        (lambda: nn.Linear(2, 2).to(torch.complex64), "cannot be carried"),
    ],
)
@pytest.mark.filterwarnings("ignore:Lazy modules", "ignore:Complex modules")
def test_a_model_that_cannot_be_sent_is_told_why(make, says):
    with pytest.raises(WeightsError, match=says):
        adapters.of(make())


def test_a_copy_of_a_bound_model_is_independent_of_it():
    model = nn.Linear(3, 2)
    adapter = adapters.of(model)
    other = copy.deepcopy(model)
    before = frozen(model)
    shift(other)
    assert same(frozen(model), before)
    assert same(adapter.as_dict(adapter.snapshot()), before)


def test_a_bound_model_is_saved_by_the_packages_own_writer(tmp_path):
    writer = pytest.importorskip("safetensors.torch")
    model = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
    adapters.of(model)
    writer.save_file(model.state_dict(), tmp_path / "m.safetensors")
    arrays = safetensors.read(tmp_path / "m.safetensors").arrays()
    assert all(np.array_equal(arrays[name], tensor) for name, tensor in model.state_dict().items())


def test_finding_an_adapter_does_not_import_torch():
    program = (
        "import sys, numpy as np; from flame.weights import adapters; adapters.of(np.zeros(3)); "
        "import flame.optimizer.fedprox, flame.engine.fold, flame.weights.safetensors; "
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
