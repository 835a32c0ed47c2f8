"""Optimizers that programs have written for Cisco's Flame: `do(base_weights, cache, …)`, in every topology."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import flame
from flame import extend
from flame.common.constants import TrainState
from flame.errors import ConfigError, RecipeError, RunError
from flame.mode.horizontal.asyncfl.middle_aggregator import MiddleAggregator as AsyncMiddle
from flame.mode.horizontal.asyncfl.top_aggregator import TopAggregator as AsyncTop
from flame.optimizer.abstract import AbstractOptimizer
from flame.optimizer.fedavg import FedAvg
from flame.optimizer.fedavgm import FedAvgM
from flame.optimizer.fedbuff import FedBuff
from flame.optimizer.fedopt import FedAdaGrad, FedAdam, FedYogi
from flame.optimizer.fedprox import FedProx
from flame.optimizer.regularizer.default import Regularizer
from flame.optimizer.train_result import TrainResult
from flame.optimizers import optimizer_provider

SITES = [1.0, 2.0, 4.0, 9.0]
CALLS: list[dict[str, Any]] = []
STEPS: list[str] = []


class Near(Regularizer):
    """FedProx's term for models that are numpy arrays, by the calls that upstream makes."""

    def __init__(self, mu: float) -> None:
        self.mu, self.updates = mu, 0

    def save_state(self, state: TrainState, **values: Any) -> None:
        name, model = next(iter(values.items()))
        STEPS.append(f"{state.name} {name} {float(model['w'][0]):g}")
        if state is TrainState.PRE:
            self.sent = model["w"].copy()

    def get_term(self, **values: Any) -> float:
        return float(self.mu / 2 * ((values["curr_model"]["w"] - self.sent) ** 2).sum())

    def update(self) -> None:
        STEPS.append("update")
        self.updates += 1


class Mean(AbstractOptimizer):
    """FedAvg with server momentum, written as upstream's are: in place, and the cache is emptied."""

    def __init__(self, momentum: float = 0.0, mu: float = 0.0) -> None:
        self.momentum, self.velocity = momentum, None
        self.add_fn = self._add
        self.regularizer = Near(mu) if mu else None

    def do(self, base_weights: Any, cache: Any, *, total: int = 0, version: int = 0, **kwargs: Any) -> Any:
        if len(cache) == 0 or total == 0:
            return None
        CALLS.append({"ends": len(cache), "total": total, "base": type(base_weights).__name__, **kwargs})
        start, keys = _copy(base_weights), _keys(base_weights)
        for end in cache.iterkeys():
            update = cache.pop(end)
            assert isinstance(update, TrainResult) and type(update.weights) is type(base_weights)
            for key in keys:
                self.add_fn(base_weights, key, update.weights[key] * (update.count / total))
        if self.momentum:
            moved = {key: base_weights[key] - start[key] for key in keys}
            before = self.velocity or {key: 0 * moved[key] for key in keys}
            self.velocity = {key: self.momentum * before[key] + moved[key] for key in keys}
            for key in keys:
                base_weights[key] = start[key] + self.velocity[key]
        return base_weights

    def _add(self, weights: Any, key: Any, part: Any) -> None:
        weights[key] = weights[key] + part


class Buffer(AbstractOptimizer):
    """FedBuff, written as upstream's is."""

    def do(self, base_weights: Any, cache: Any, *, total: int = 0, version: int = 0, **kwargs: Any) -> Any:
        for end in list(cache.iterkeys()):
            update = cache.pop(end)
            rate = 1 / np.sqrt(1 + version - update.version)
            CALLS.append({"late": version - update.version, "total": total, "base": base_weights is None})
            if base_weights is None:
                base_weights = {key: 0.0 for key in update.weights}
            base_weights = {key: base_weights[key] + rate * value for key, value in update.weights.items()}
        return base_weights

    def scale_add_agg_weights(self, base_weights: Any, agg_weights: Any, agg_goal: int) -> Any:
        return {key: base_weights[key] + value / agg_goal for key, value in agg_weights.items()}


def _keys(weights: Any) -> list[Any]:
    return list(weights) if isinstance(weights, dict) else list(range(len(weights)))


def _copy(weights: Any) -> Any:
    return dict(weights) if isinstance(weights, dict) else list(weights)


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extend, "_registered", {})
    CALLS.clear()
    STEPS.clear()
    optimizer_provider.register("mean", Mean)
    optimizer_provider.register("buffer", Buffer)


def model() -> dict[str, np.ndarray]:
    return {"w": np.zeros(2, np.float32), "n": np.zeros(1, np.int64)}


def train(net: dict[str, np.ndarray], item: float, regularizer: Any) -> dict[str, float]:
    net["w"] += np.float32(0.1) * (np.float32(item) - net["w"])
    net["n"] += 1
    return {"term": float(regularizer.get_term(curr_model=net))}


def run(out: Path, sort: str, *, kwargs: dict[str, Any] | None = None, **more: Any) -> Any:
    chosen = {"optimizer.sort": sort, "optimizer.kwargs": kwargs or {}, **more.pop("set", {})}
    job = {"model": model, "train": train, "data": SITES, "hosts": 0, "rounds": 4, "seed": 1, **more}
    return flame.run(out=out, set=chosen, **job)


def trained(result: Any) -> dict[str, np.ndarray]:
    return {name: np.array(array) for name, array in result.weights().arrays().items()}


TREE: dict[str, Any] = {"tag": "hierarchical", "data": {"eu": SITES[:3], "na": SITES[3:]}}


def test_it_is_asked_once_a_round_in_the_programs_form_and_computes_what_ours_does(tmp_path: Path) -> None:
    ours = trained(run(tmp_path / "ours", "fedavgm", kwargs={"momentum": 0.5}))
    own = trained(run(tmp_path / "own", "mean", kwargs={"momentum": 0.5}))
    np.testing.assert_allclose(own["w"], ours["w"], rtol=1e-5)
    assert CALLS == [{"ends": 4, "total": 4, "base": "dict", "num_trainers": 4}] * 4


def test_in_a_tree_every_aggregator_asks_it(tmp_path: Path) -> None:
    star, tree = trained(run(tmp_path / "star", "mean")), trained(run(tmp_path / "tree", "mean", **TREE))
    np.testing.assert_allclose(tree["w"], star["w"], rtol=1e-5)
    assert tree["n"] == star["n"] == [4]
    assert sorted({(call["ends"], call["total"]) for call in CALLS[4:]}) == [(1, 1), (2, 4), (3, 3)]


@pytest.mark.parametrize(
    "job",
    [
        {"hosts": 2},
        {"set": {"channels.param-channel.compression": "fp16"}},
        {"tag": "coordinated"},
        {"tag": "hybrid", "data": {"eu": SITES[:3], "us": SITES[3:]}},
    ],
    ids=["hosts", "compressed", "coordinated", "hybrid"],
)
def test_a_mean_of_its_own_is_ours_wherever_the_updates_come_from(tmp_path: Path, job: dict[str, Any]) -> None:
    large = {"model": lambda: {"w": np.zeros(20_000, np.float32), "n": np.zeros(1, np.int64)}, "rounds": 3, **job}
    ours, own = trained(run(tmp_path / "ours", "fedavg", **large)), trained(run(tmp_path / "own", "mean", **large))
    np.testing.assert_allclose(own["w"], ours["w"], rtol=2e-5)
    assert own["w"].any() and own["n"] == ours["n"] == 3


@pytest.mark.parametrize(
    ("sort", "parent", "kwargs"),
    [
        ("fedavg", FedAvg, {}),
        ("fedavgm", FedAvgM, {"momentum": 0.5}),
        ("fedadam", FedAdam, {"eta": 0.1}),
        ("fedyogi", FedYogi, {"eta": 0.1}),
        ("fedadagrad", FedAdaGrad, {"eta": 0.1}),
        ("fedprox", FedProx, {"mu": 0.1}),
        ("fedbuff", FedBuff, {}),
    ],
)
def test_one_that_subclasses_ours_asks_its_do(tmp_path: Path, sort: str, parent: Any, kwargs: dict[str, float]) -> None:
    """A run of it is resumed, too: what the server half keeps is kept."""

    class Own(parent):
        def do(self, base_weights: Any, cache: Any, **others: Any) -> Any:
            CALLS.append(others)
            nothing = parent.do(self, base_weights, {}, **others)
            assert nothing is (base_weights if parent is FedBuff else None)
            made = parent.do(self, base_weights, cache, **others)
            assert not cache
            return made

    optimizer_provider.register("own", Own)
    ours = trained(run(tmp_path / "ours", sort, kwargs=kwargs))
    run(tmp_path / "half", "own", kwargs=kwargs, rounds=2, checkpoint=1)
    own = trained(run(tmp_path / "own", "own", kwargs=kwargs, resume=tmp_path / "half"))
    np.testing.assert_allclose(own["w"], ours["w"], rtol=1e-6)
    assert own["w"].any() and own["n"] == ours["n"] == 4
    assert CALLS == [{"total": 4, "num_trainers": 4}] * 4


def test_what_is_taken_out_of_the_cache_does_not_count(tmp_path: Path) -> None:
    class Kind(FedAvg):
        def do(self, base_weights: Any, cache: Any, **others: Any) -> Any:
            for end in [end for end, result in cache.items() if abs(result.weights["w"]).max() > 0.3]:
                del cache[end]
            others["total"] = sum(result.count for result in cache.values())
            return super().do(base_weights, cache, **others)

    optimizer_provider.register("kind", Kind)
    assert trained(run(tmp_path, "kind", rounds=1))["w"] == pytest.approx(0.15)


def test_half_precision_is_summed_in_double() -> None:
    cache = {str(number): TrainResult({"w": np.full(1, 2e-5, np.float16)}, 1) for number in range(1000)}
    made: Any = FedAvg().do({"w": np.zeros(1, np.float16)}, cache, total=1000)
    assert made["w"] == pytest.approx([2e-5], rel=1e-2)


def test_what_goes_with_a_sum_of_its_own_is_not_ignored(tmp_path: Path) -> None:
    class Half(FedBuff):
        def scale_add_agg_weights(self, base_weights: Any, agg_weights: Any, agg_goal: int) -> Any:
            return super().scale_add_agg_weights(base_weights, agg_weights, 2 * agg_goal)

    class Top(AsyncTop):
        def initialize(self) -> None:
            self.model = model()

    optimizer_provider.register("half", Half)
    chosen = {"selector.sort": "fedbuff", "selector.kwargs": {"c": 4}, "hyperparameters.aggGoal": 4}
    whole, half = (
        trained(run(tmp_path / sort, sort, rounds=1, set=chosen, roles={"aggregator": Top}))
        for sort in ("fedbuff", "half")
    )
    assert half["w"] == pytest.approx(whole["w"] / 2) and whole["w"].all()


@pytest.mark.parametrize("shape", [{"tag": "two-tier", "data": SITES}, TREE], ids=["star", "tree"])
def test_no_step_is_taken_in_what_is_measured(tmp_path: Path, shape: dict[str, Any]) -> None:
    class Own(FedAdam):
        def do(self, base_weights: Any, cache: Any, **others: Any) -> Any:
            return super().do(base_weights, cache, **others)

    def moved(net: Any, by: float) -> None:
        with torch.no_grad():
            net[1].running_var *= 0.9

    optimizer_provider.register("own", Own)
    site = type("Site", (Net,), {"make": staticmethod(_torch), "move": staticmethod(moved), "__module__": __name__})
    top = type("Top", (flame.TopAggregator,), {"initialize": lambda self: setattr(self, "model", _torch())})
    roles = {("top-aggregator" if shape is TREE else "aggregator"): top}
    job = {"trainer": site, "roles": roles, "model": None, "train": None, "rounds": 6, **shape}
    found = trained(run(tmp_path, "own", kwargs={"eta": 0.5}, **job))
    assert found["1.running_var"] == pytest.approx(0.9**6)


def test_a_ring_without_an_aggregator_has_nobody_to_ask_it(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="a ring carries models only"):
        run(tmp_path, "mean", tag="distributed")


def test_its_regularizer_is_the_trainers(tmp_path: Path) -> None:
    result = run(tmp_path, "mean", kwargs={"mu": 2.0}, data=[10.0], rounds=2)
    assert [row.values["term"] for row in result.metrics if "term" in row.values] == pytest.approx([2.0, 1.62])
    assert STEPS == [
        "PRE glob_model 0",
        "POST loc_model 1",
        "update",
        "PRE glob_model 1",
        "POST loc_model 1.9",
        "update",
    ]


def test_updates_that_come_late_are_given_one_by_one(tmp_path: Path) -> None:
    class Made:
        def initialize(self) -> None:
            self.model = {"w": np.zeros(2), "n": np.zeros(1)}

    class Top(Made, AsyncTop):
        pass

    class Site(Made, flame.Trainer):
        def train(self) -> None:
            self.dataset_size = 3
            self.model["w"] += 0.1 * (self.data - self.model["w"])

    def ran(name: str, sort: str, **more: Any) -> np.ndarray:
        job = {"trainer": Site, "roles": {"aggregator": Top}, "model": None, "train": None, **more}
        chosen = {"selector.sort": "fedbuff", "selector.kwargs": {"c": 3}, "hyperparameters.aggGoal": 2}
        return trained(run(tmp_path / name, sort, set=chosen, rounds=6, **job))["w"]

    class Own(FedBuff):
        def do(self, base_weights: Any, cache: Any, **others: Any) -> Any:
            return super().do(base_weights, cache, **others)

    optimizer_provider.register("own", Own)
    ours = ran("ours", "fedbuff")
    np.testing.assert_allclose(ran("own", "own"), ours, rtol=1e-12)
    np.testing.assert_allclose(ran("buffer", "buffer"), ours, rtol=1e-12)
    assert len(CALLS) == 12 and {call["total"] for call in CALLS} == {3}
    assert {call["late"] for call in CALLS} >= {0, 1} and [call["base"] for call in CALLS] == [True, False] * 6
    roles = {"top-aggregator": Top, "middle-aggregator": AsyncMiddle}
    tree = [ran(f"tree-{sort}", sort, **{**TREE, "roles": roles}) for sort in ("buffer", "fedbuff")]
    np.testing.assert_allclose(tree[0], tree[1], rtol=1e-12)
    with pytest.raises(RecipeError, match="mean is synchronous"):
        ran("sync", "mean")


class Net(flame.Trainer):
    """Any framework's module, moved by its site's number."""

    make: Callable[[], Any]
    move: Callable[[Any, float], None]

    def initialize(self) -> None:
        self.model, self.dataset_size = type(self).make(), 2

    def train(self) -> None:
        type(self).move(self.model, self.data)


def _torch() -> Any:
    net = torch.nn.Sequential(torch.nn.Linear(1, 1, bias=False), torch.nn.BatchNorm1d(1))
    torch.nn.init.zeros_(net[0].weight)
    return net


def _torch_moved(net: Any, by: float) -> None:
    with torch.no_grad():
        net[0].weight += by
        net[1].num_batches_tracked += 1


def _keras() -> Any:
    import keras

    net = keras.Sequential([keras.Input((1,)), keras.layers.BatchNormalization(), keras.layers.Dense(1)])
    net.layers[1].set_weights([np.zeros((1, 1)), np.zeros(1)])
    return net


def _keras_moved(net: Any, by: float) -> None:
    net.layers[1].set_weights([np.full((1, 1), by) + net.layers[1].get_weights()[0], np.zeros(1)])


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # of Keras on torch
@pytest.mark.parametrize(
    ("make", "move", "tensor", "form"),
    [(_torch, _torch_moved, "0.weight", "dict"), (_keras, _keras_moved, "4.kernel", "list")],
)
def test_weights_have_the_form_of_the_framework_also_where_there_is_no_model(
    tmp_path: Path, make: Any, move: Any, tensor: str, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    ours = {"make": staticmethod(make), "move": staticmethod(move)}
    site = type("Site", (Net,), {**ours, "__module__": __name__})
    top = type("Top", (flame.TopAggregator,), {"initialize": lambda self: setattr(self, "model", make())})
    job = {"trainer": site, "roles": {"top-aggregator": top}, "model": None, "train": None, "rounds": 2, **TREE}
    found = trained(run(tmp_path, "mean", **job))
    assert found[tensor].item() == pytest.approx(2 * sum(SITES) / len(SITES))
    assert {call["base"] for call in CALLS} == {form} and len(CALLS) == 6
    if make is _torch:
        assert found["1.num_batches_tracked"] == 2 and found["1.running_var"] == 1.0


def test_a_run_with_it_is_resumed(tmp_path: Path) -> None:
    whole = trained(run(tmp_path / "whole", "mean", kwargs={"momentum": 0.9, "mu": 0.1}, checkpoint=1))
    run(tmp_path / "half", "mean", kwargs={"momentum": 0.9, "mu": 0.1}, rounds=2, checkpoint=1)
    again = trained(run(tmp_path / "again", "mean", kwargs={"momentum": 0.9, "mu": 0.1}, resume=tmp_path / "half"))
    assert again["w"].tobytes() == whole["w"].tobytes()


def test_updates_that_are_protected_at_the_trainers_are_its_too_and_a_mean_is_nobodys(tmp_path: Path) -> None:
    at = {"privacy.sort": "dp", "privacy.kwargs": {"clip_threshold": 1.0, "noise_factor": 0.1}}
    assert np.abs(trained(run(tmp_path / "own", "mean", set=at))["w"]).sum() > 0
    at["privacy.kwargs"] = {"at": "server", "clip_threshold": 1.0, "noise_factor": 0.1}
    with pytest.raises(RecipeError, match=r"protects a mean of numbers; optimizer\.sort mean has none"):
        run(tmp_path / "mean", "mean", set=at)


def test_none_leaves_the_model_and_what_does_not_fit_is_said(tmp_path: Path) -> None:
    def does(what: Callable[[Any], Any]) -> type:
        return type(
            "Does", (AbstractOptimizer,), {"do": lambda self, base_weights, cache, **others: what(base_weights)}
        )

    optimizer_provider.register("none", does(lambda base: None))
    assert not trained(run(tmp_path / "none", "none"))["w"].any()
    for said, what in {
        r"tensor n int64\[1\] is missing": lambda base: {"w": base["w"]},
        r"tensor w float32\[2\] is expected, but there is float32\[1\]": lambda base: {**base, "w": base["w"][:1]},
        "optimizer odd, as its `do` has aggregated round 1: 2 arrays are needed, not 0": lambda base: [],
    }.items():
        optimizer_provider.register("odd", does(what))
        with pytest.raises(RunError, match=said):
            run(tmp_path / "odd", "odd")
    optimizer_provider.register("odd", dict)
    with pytest.raises(ConfigError, match=r"optimizer\.sort: odd makes a dict \(subclass flame\.optimizer\.abstract"):
        run(tmp_path / "no", "odd")


def test_a_package_that_is_installed_gives_it_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "halving.py").write_text(
        "from flame.optimizer.abstract import AbstractOptimizer\n\n\n"
        "class Halving(AbstractOptimizer):\n"
        "    def do(self, base_weights, cache, **others):\n"
        "        total = sum(update.weights['w'] for update in cache.values())\n"
        "        return {**base_weights, 'w': base_weights['w'] + total / 2}\n"
    )
    info = tmp_path / "halving-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: halving\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[flame.optimizer]\nhalving = halving:Halving\n")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    assert trained(run(tmp_path / "out", "halving", data=[2.0, 4.0], rounds=1))["w"] == pytest.approx(0.3)
