"""Every algorithm is its paper's, written out here once more; a tree is a star, and hosts change nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import flame
from flame.errors import ConfigError, FlameError, RecipeError, WorkerFailed
from flame.mode.horizontal.asyncfl.top_aggregator import TopAggregator as AsyncTop

Array = np.ndarray
FEATURES, ROUNDS, RATE = 3, 4, 0.05
SIZES = (10, 25, 40, 5, 30)
STEPS = (3, 1, 4, 2, 5)


def site(number: int) -> dict[str, Any]:
    """Samples of one law with noise of its own, and how many steps are taken on them."""
    rng = np.random.default_rng(number)
    x = rng.normal(size=(SIZES[number], FEATURES))
    y = x @ np.arange(1.0, FEATURES + 1) + number * rng.normal(size=SIZES[number])
    return {"x": x, "y": y, "steps": STEPS[number]}


class Site(list[Any]):
    """One site's data, as long as it has samples."""

    def __init__(self, number: int) -> None:
        super().__init__(range(SIZES[number]))
        self.own = site(number)


SITES = [Site(number) for number in range(len(SIZES))]


def gradient(w: Array, data: Mapping[str, Any]) -> Array:
    return data["x"].T @ (data["x"] @ w - data["y"]) / len(data["y"])


def loss(w: Array, data: Mapping[str, Any]) -> float:
    return float(((data["x"] @ w - data["y"]) ** 2).mean() / 2)


def descended(w: Array, data: Mapping[str, Any], pull: Callable[[Array], Array] = np.zeros_like) -> Array:
    for _ in range(data["steps"]):
        w = w - RATE * (gradient(w, data) + pull(w))
    return w


def model() -> dict[str, Array]:
    return {"w": np.full(FEATURES, 0.5)}


def train(net: dict[str, Array], item: Site, regularizer: Any) -> dict[str, float]:
    """Full-batch steps along the gradient and the regularizer's."""
    before = loss(net["w"], item.own)
    for _ in range(item.own["steps"]):
        step = gradient(net["w"], item.own)
        if regularizer.wanted:
            step = step + regularizer.get_gradient(curr_model=net)["w"]
        else:
            regularizer.get_term(curr_model=net)
        net["w"] -= RATE * step
    return {"loss": before}


# -- the papers' algorithms; each takes and gives the server's model ------------------------------------------

EVERYBODY = [site(number) for number in range(len(SIZES))]
N = sum(SIZES)


def fedavg(pull: Callable[[Array], Callable[[Array], Array]] = lambda sent: np.zeros_like) -> Array:
    w = model()["w"]
    for _ in range(ROUNDS):
        w = sum(n / N * descended(w, data, pull(w)) for n, data in zip(SIZES, EVERYBODY, strict=True))
    return w


def fedprox() -> Array:
    return fedavg(lambda sent: lambda w: 0.7 * (w - sent))


def fedavgm() -> Array:
    w, v = model()["w"], np.zeros(FEATURES)
    for _ in range(ROUNDS):
        pseudo_gradient = w - sum(n / N * descended(w, data) for n, data in zip(SIZES, EVERYBODY, strict=True))
        v = 0.6 * v + pseudo_gradient
        w = w - v
    return w


def fednova(rho: float = 0.0) -> Array:
    """Equation 12 of the paper, with the weights a_i of the local steps' gradients written out one by one."""
    lengths = [sum(sum(rho**j for j in range(tau - k)) for k in range(tau)) for tau in STEPS]
    effective = sum(n / N * length for n, length in zip(SIZES, lengths, strict=True))
    w = model()["w"]
    for _ in range(ROUNDS):
        directions = [
            (w - descended(w, data)) / (RATE * length) for data, length in zip(EVERYBODY, lengths, strict=True)
        ]
        w = w - effective * sum(n / N * RATE * d for n, d in zip(SIZES, directions, strict=True))
    return w


def qfedavg() -> Array:
    q, lipschitz, w = 2.0, 1 / 0.05, model()["w"]
    for _ in range(ROUNDS):
        deltas, shares = [], []
        for data in EVERYBODY:
            step = lipschitz * (w - descended(w, data))
            deltas.append(loss(w, data) ** q * step)
            shares.append(q * loss(w, data) ** (q - 1) * step @ step + lipschitz * loss(w, data) ** q)
        w = w - sum(deltas) / sum(shares)
    return w


def scaffold() -> Array:
    """Algorithm 1 with option II."""
    x, c, own = model()["w"], np.zeros(FEATURES), [np.zeros(FEATURES) for _ in SIZES]
    for _ in range(ROUNDS):
        moves, changes = [], []
        for number, data in enumerate(EVERYBODY):
            before = own[number]
            y = descended(x, data, lambda w, before=before, c=c: c - before)
            after = before - c + (x - y) / (data["steps"] * RATE)
            moves.append(y - x)
            changes.append(after - before)
            own[number] = after
        x, c = x + sum(moves) / len(SIZES), c + sum(changes) / len(SIZES)
    return x


def feddyn() -> Array:
    """Algorithm 1; the model that is looked at is the clients' mean."""
    alpha, m = 0.3, len(SIZES)
    theta, h, gradients = model()["w"], np.zeros(FEATURES), [np.zeros(FEATURES) for _ in SIZES]
    for _ in range(ROUNDS):
        ends = []
        for number, data in enumerate(EVERYBODY):
            end = descended(theta, data, lambda w, g=gradients[number], theta=theta: -g + alpha * (w - theta))
            gradients[number] = gradients[number] - alpha * (end - theta)
            ends.append(end)
        h = h - alpha / m * sum(end - theta for end in ends)
        mean = sum(ends) / m
        theta = mean - h / alpha
    return mean


PAPERS: dict[str, tuple[Callable[[], Array], dict[str, Any]]] = {
    "fedavg": (fedavg, {}),
    "fedprox": (fedprox, {"mu": 0.7}),
    "fedavgm": (fedavgm, {"momentum": 0.6}),
    "fednova": (fednova, {}),
    "fednova-momentum": (lambda: fednova(0.8), {"momentum": 0.8}),
    "qfedavg": (qfedavg, {"q": 2, "eta": 0.05}),
    "scaffold": (scaffold, {}),
    "feddyn": (feddyn, {"alpha": 0.3}),
    "fedper": (fedavg, {"personal": ["own*"]}),
    "ditto": (fedavg, {"lambda": 0.4}),
}


def with_own() -> dict[str, Array]:
    return {**model(), "own.b": np.zeros(2)}


def run(out: Path, which: str, *, tree: bool = False, hosts: int = 0, **more: Any) -> Any:
    kwargs = PAPERS[which][1]
    shape: dict[str, Any] = {"data": SITES}
    if tree:
        shape = {"data": {"eu": SITES[:2], "na": SITES[2:]}, "tag": "hierarchical"}
    settings = {
        "optimizer": {"sort": which.partition("-")[0], "kwargs": kwargs},
        "hyperparameters": {"rounds": ROUNDS, "learningRate": RATE},
    }
    given = {"model": with_own if which == "fedper" else model, "train": train, "settings": settings, **more}
    return flame.run(hosts=hosts, seed=1, out=out, **shape, **given)


def learned(result: Any) -> Array:
    array: Array = result.weights().arrays()["w"]
    return array


@pytest.mark.parametrize("which", PAPERS)
@pytest.mark.parametrize("tree", [False, True], ids=["star", "tree"])
def test_it_is_what_its_paper_says(tmp_path: Path, which: str, tree: bool) -> None:
    np.testing.assert_allclose(learned(run(tmp_path, which, tree=tree)), PAPERS[which][0](), rtol=0, atol=1e-10)


@pytest.mark.parametrize("which", [which for which in PAPERS if "-" not in which])
def test_no_number_of_hosts_changes_a_bit(tmp_path: Path, which: str) -> None:
    results = [run(tmp_path / str(hosts), which, hosts=hosts) for hosts in (0, 1, 2, 4)]
    assert len({learned(result).tobytes() for result in results}) == 1
    values = [[(r.round, r.worker, r.values) for r in result.metrics] for result in results]
    assert all(each == values[0] for each in values)


def test_papers_differ() -> None:
    """Else the tests above would show nothing."""
    results = [paper() for name, (paper, _) in PAPERS.items() if paper is not fedavg or name == "fedavg"]
    for number, result in enumerate(results):
        assert all(np.abs(result - other).max() > 1e-3 for other in results[:number])


# -- personal models --------------------------------------------------------------------------------------


class Own(flame.Trainer):
    """Measures, at the end of every round, what its own part of the model has come to."""

    def __init__(self, config: Any) -> None:
        self.config, self.model, self.dataset_size = config, None, 0

    def load_data(self) -> None:
        self.dataset_size = len(self.data)

    def initialize(self) -> None:
        self.model = {"w": np.zeros(1), "own.w": np.full(1, float(len(self.data)))}

    def train(self) -> None:
        assert self.weights["own.w"] == self.model["own.w"]
        self.model["w"] += 1
        self.model["own.w"] += len(self.data)
        self.update_metrics({"own": self.model["own.w"][0], "shared": self.model["w"][0]})


class Top(flame.TopAggregator):
    def __init__(self, config: Any) -> None:
        self.config, self.model, self.dataset = config, None, None

    def initialize(self) -> None:
        self.model = {"w": np.zeros(1), "own.w": np.full(1, -1.0)}


def test_personal_layers_stay(tmp_path: Path) -> None:
    settings = {"optimizer": {"sort": "fedper", "kwargs": {"personal": "own.*"}}}
    result = flame.run(
        trainer=Own, aggregator=Top, data=SITES, rounds=3, settings=settings, hosts=2, seed=1, out=tmp_path
    )
    weights = result.weights().arrays()
    assert weights["w"] == 3 and weights["own.w"] == -1
    last = sorted(r.values["own"] for r in result.metrics if r.round == 3)
    assert last == [4 * size for size in sorted(SIZES)]
    assert {r.values["shared"] for r in result.metrics if r.round == 3} == {3}


def test_batch_normalisations_stay(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")

    def net() -> Any:
        torch.manual_seed(0)
        return torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.BatchNorm1d(3), torch.nn.Linear(3, 1))

    def fit(net: Any, item: Site) -> dict[str, float]:
        before = [float(net[1].running_mean[0]), int(net[1].num_batches_tracked)]
        net(torch.full((4, 2), float(len(item))) + torch.arange(8.0).view(4, 2))
        with torch.no_grad():
            net[0].bias += len(item)
            net[1].weight += len(item)
        return {"mean": before[0], "batches": before[1], "scale": float(net[1].weight[0].detach())}

    result = flame.run(
        model=net, train=fit, data=SITES, rounds=3, settings={"optimizer": {"sort": "fedbn"}}, hosts=0, out=tmp_path
    )
    assert sorted(r.values["scale"] for r in result.metrics if r.round == 3) == [1 + 3 * n for n in sorted(SIZES)]
    assert {r.values["batches"] for r in result.metrics if r.round == 3} == {2}
    assert len({r.values["mean"] for r in result.metrics if r.round == 3}) == len(SITES)
    weights, first = result.weights().arrays(), net().state_dict()
    for name in ("1.weight", "1.bias", "1.running_mean", "1.running_var", "1.num_batches_tracked"):
        np.testing.assert_array_equal(weights[name], first[name].numpy())
    assert weights["0.bias"][0] - float(first["0.bias"][0]) == pytest.approx(3 * sum(n * n for n in SIZES) / N)


def test_ditto_trains_a_second_model_near_the_first(tmp_path: Path) -> None:
    """Algorithm 1 of the paper."""
    result = run(tmp_path, "ditto", hosts=2)
    w, own = model()["w"], [model()["w"] for _ in SIZES]
    for round_ in range(1, ROUNDS + 1):
        losses = [loss(v, data) for v, data in zip(own, EVERYBODY, strict=True)]
        measured = [r.values["personal-loss"] for r in result.metrics if r.round == round_]
        np.testing.assert_allclose(sorted(measured), sorted(losses), atol=1e-10)
        own = [descended(v, data, lambda v, w=w: 0.4 * (v - w)) for v, data in zip(own, EVERYBODY, strict=True)]
        w = sum(n / N * descended(w, data) for n, data in zip(SIZES, EVERYBODY, strict=True))


# -- what cannot be --------------------------------------------------------------------------------------


def deaf(net: Any, item: Any) -> None:
    """Never asks for a term."""


def forgetful(net: Any, item: Any, regularizer: Any) -> None:
    """Never asks for it either, though it could."""


@pytest.mark.parametrize("which", ["fedprox", "scaffold", "feddyn", "ditto"])
def test_a_function_that_does_not_ask_for_the_term_is_refused(tmp_path: Path, which: str) -> None:
    with pytest.raises(
        RecipeError, match=rf"optimizer\.sort: {which} adds a term .* train\(model, item, regularizer\)"
    ):
        run(tmp_path, which, train=deaf)


@pytest.mark.parametrize("which", ["scaffold", "feddyn", "ditto"])
def test_a_term_that_is_not_asked_for_ends_the_run(tmp_path: Path, which: str) -> None:
    with pytest.raises(WorkerFailed, match=rf"{which}: the program has not"):
        run(tmp_path, which, train=forgetful)


def test_qfedavg_needs_the_loss(tmp_path: Path) -> None:
    with pytest.raises(WorkerFailed, match="the metric loss is None"):
        run(tmp_path, "qfedavg", train=deaf)


def test_scaffold_needs_the_learning_rate(tmp_path: Path) -> None:
    with pytest.raises(WorkerFailed, match=r"set hyperparameters\.learningRate"):
        run(tmp_path, "scaffold", settings={"optimizer": {"sort": "scaffold"}})


@pytest.mark.parametrize(
    ("personal", "error", "said"),
    [
        (None, ConfigError, "give patterns"),
        ([], ConfigError, "give patterns"),
        ([1], ConfigError, "give patterns"),
        ("head.*", WorkerFailed, "no tensor is called 'head"),
        ("*", WorkerFailed, "leaves nothing"),
    ],
)
def test_layers_that_cannot_stay_are_said(tmp_path: Path, personal: Any, error: type[FlameError], said: str) -> None:
    settings = {"optimizer": {"sort": "fedper", "kwargs": {"personal": personal}}}
    with pytest.raises(error, match=said):
        run(tmp_path, "fedper", settings=settings)


def test_fedbn_without_a_batch_normalisation(tmp_path: Path) -> None:
    with pytest.raises(WorkerFailed, match="no batch normalisation"):
        run(tmp_path, "fedavg", settings={"optimizer": {"sort": "fedbn"}})


@pytest.mark.parametrize("which", ["scaffold", "feddyn"])
def test_halves_that_have_to_agree_on_the_round_are_no_asynchronous_ones(tmp_path: Path, which: str) -> None:
    class Late(AsyncTop):
        def __init__(self, config: Any) -> None:
            self.config, self.model, self.dataset = config, None, None

        def initialize(self) -> None:
            self.model = model()

    with pytest.raises(RecipeError, match=rf"optimizer\.sort: {which} is synchronous"):
        run(tmp_path, which, aggregator=Late)


@pytest.mark.parametrize("which", ["scaffold", "feddyn"])
def test_who_is_not_asked_counts_among_all(tmp_path: Path, which: str) -> None:
    """Two of five in every round: what is moved by them is moved by two fifths."""
    kept: dict[str, Array] = {}

    class Watched(flame.TopAggregator):
        def __init__(self, config: Any) -> None:
            self.config, self.model, self.dataset = config, None, None

        def initialize(self) -> None:
            self.model = {"w": np.zeros(1)}

        def evaluate(self) -> None:
            kept.update(self.optimizer.step.state())

    def move(net: dict[str, Array], item: Site, regularizer: Any) -> None:
        regularizer.get_gradient(curr_model=net)
        net["w"] += 1

    settings = {
        "optimizer": {"sort": which, "kwargs": PAPERS[which][1]},
        "selector": {"sort": "random", "kwargs": {"k": 2}},
        "hyperparameters": {"rounds": 1, "learningRate": 0.5},
    }
    run(tmp_path, which, aggregator=Watched, settings=settings, model=lambda: {"w": np.zeros(1)}, train=move)
    (state,) = kept.values()
    assert state == pytest.approx(2 / 5 * (-1 / 0.5 if which == "scaffold" else 1))
