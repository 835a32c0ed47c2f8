"""Rings compute what a star computes: without an aggregator, and below one, for any number of members and hosts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_laws import FEATURES, flat, model, site, train

import flame
from flame.engine.ring import SMALLEST, Ring
from flame.errors import RecipeError, WeightsError
from flame.mode.distributed.trainer import Trainer as RingTrainer
from flame.tag import template
from flame.weights.layout import Weights

Arrays = dict[str, np.ndarray]


def turned(models: list[Weights], shares: list[float], order: int = 0) -> list[Weights]:
    """What each member ends with; `order` chooses who is heard next."""
    rng = np.random.default_rng(order)
    rings = [Ring(weights, rank, shares) for rank, weights in enumerate(models)]
    links = [ring.begin() for ring in rings]
    while any(links):
        at = rng.choice([rank for rank, link in enumerate(links) if link])
        after = (at + 1) % len(rings)
        links[after] += rings[after].take(links[at].pop(0))
    assert all(ring.done for ring in rings)
    return [ring.result for ring in rings]


def tensors(number: int, elements: int) -> Arrays:
    rng = np.random.default_rng(number)
    cut = elements // 3
    return {
        "double": rng.normal(size=cut),
        "single": rng.normal(size=(1, elements - cut)).astype(np.float32),
        "half": rng.normal(size=3).astype(np.float16),
        "count": rng.integers(-9, 9, size=2),
    }


@pytest.mark.parametrize("members", [1, 2, 3, 5, 7])
@pytest.mark.parametrize("elements", [1, 4, 5 * SMALLEST + 7])
def test_a_ring_takes_the_mean_by_samples_and_all_get_the_same_bits(members: int, elements: int) -> None:
    arrays = [tensors(number, elements) for number in range(members)]
    shares = [float(3 * number + 1) for number in range(members)]
    results = turned([Weights.pack(each) for each in arrays], shares)
    assert all(result.data.tobytes() == results[0].data.tobytes() for result in results)
    for name, array in results[0].arrays().items():
        terms = [share * each[name].astype(np.float64) for share, each in zip(shares, arrays, strict=True)]
        wanted = sum(terms) / sum(shares)
        if array.dtype.kind == "i":
            np.testing.assert_array_equal(array, np.rint(wanted))
        else:
            np.testing.assert_allclose(array, wanted.astype(array.dtype), rtol=2 * np.finfo(array.dtype).eps, atol=1e-7)


def test_the_order_of_arrival_changes_no_bit() -> None:
    models = [Weights.pack(tensors(number, 4 * SMALLEST)) for number in range(4)]
    first, *others = [turned(models, [1.0, 2.0, 3.0, 4.0], order) for order in range(8)]
    assert all(other[0].data.tobytes() == first[0].data.tobytes() for other in others)


def test_what_does_not_count_may_hold_anything() -> None:
    models = [Weights.pack({"w": np.full(3, value)}) for value in (np.nan, 1.0, 4.0)]
    results = turned(models, [0.0, 1.0, 2.0])
    assert all(result.arrays()["w"].tolist() == [3.0] * 3 for result in results)


def test_a_piece_that_is_none_is_refused() -> None:
    models = [Weights.pack({"w": np.zeros(3)}) for _ in range(2)]
    one, two = (Ring(weights, rank, [1.0, 1.0]) for rank, weights in enumerate(models))
    (piece,) = one.begin()
    with pytest.raises(WeightsError, match="not due"):
        two.take(piece._replace(number=4))
    with pytest.raises(WeightsError, match="piece 0"):
        two.take(piece._replace(mean=True))
    with pytest.raises(WeightsError, match="piece 0"):
        two.take(piece._replace(values=Weights.pack({"sum": np.zeros(4)})))


def full(net: Arrays, data: tuple[np.ndarray, np.ndarray]) -> None:
    x, y = data
    error = x @ net["w"] + net["b"] - y
    net["w"] -= 0.05 * (x.T @ error / len(y))
    net["b"] -= 0.05 * error.mean()


def double() -> Arrays:
    return {"w": np.zeros(FEATURES), "b": np.zeros(1)}


def steps(net: Arrays, data: tuple[np.ndarray, np.ndarray]) -> dict[str, float]:
    """Three steps in single precision."""
    x, y = data
    for _ in range(3):
        error = x @ net["w"] + net["b"] - y
        net["w"] -= 0.05 * (x.T @ error / len(y)).astype(np.float32)
        net["b"] -= np.float32(0.05 * error.mean())
    return {"loss": float((error**2).mean())}


@pytest.mark.parametrize("members", [1, 2, 3, 5])
def test_a_ring_learns_what_a_star_learns(tmp_path: Path, members: int) -> None:
    common = {"model": model, "train": steps, "data": [site(number) for number in range(members)], "hosts": 0}
    star = flame.run(rounds=5, out=tmp_path / "star", **common)
    ring = flame.run(rounds=5, out=tmp_path / "ring", tag="distributed", **common)
    np.testing.assert_allclose(flat(ring), flat(star), rtol=1e-5, atol=1e-6)
    losses = [{(r.round, r.worker): r.values["loss"] for r in result.metrics} for result in (star, ring)]
    assert losses[0].keys() == losses[1].keys()
    np.testing.assert_allclose(list(losses[1].values()), [losses[0][key] for key in losses[1]], rtol=1e-4)


@pytest.mark.parametrize("sort", ["fedavg", "fedadam"])
def test_groups_of_any_size_below_an_aggregator(tmp_path: Path, sort: str) -> None:
    kwargs = {} if sort == "fedavg" else {"beta_1": 0.9, "beta_2": 0.99, "eta": 0.05, "tau": 0.01}
    settings = {"optimizer": {"sort": sort, "kwargs": kwargs}, "hyperparameters": {"rounds": 4}}
    sites = [site(number) for number in range(6)]
    common = {"model": double, "train": full, "hosts": 0, "settings": settings}
    star = flame.run(data=sites, out=tmp_path / "star", **common)
    groups = {"a": sites[:1], "b": sites[1:3], "c": sites[3:]}
    rings = flame.run(data=groups, tag=template("hybrid", groups=tuple(groups)), out=tmp_path / "rings", **common)
    np.testing.assert_allclose(flat(rings), flat(star), rtol=1e-6, atol=1e-9)
    folded = [row["folded"] for row in json.loads((tmp_path / "rings/timeline.json").read_text())["rounds"]]
    assert folded == [3] * 4  # one update for each group


@pytest.mark.parametrize("tag", ["distributed", "hybrid"])
@pytest.mark.parametrize("seed", [1, 2])
def test_the_number_of_hosts_changes_no_bit(tmp_path: Path, tag: str, seed: int) -> None:
    sites = [site(number) for number in range(5)]
    data: Any = {"eu": sites[:3], "us": sites[3:]} if tag == "hybrid" else sites
    results = [
        flame.run(
            model=model, train=train, data=data, tag=tag, hosts=hosts, rounds=4, seed=seed, out=tmp_path / str(hosts)
        )
        for hosts in (0, 1, 2, 4)
    ]
    assert len({flat(result).tobytes() for result in results}) == 1
    values = [[(r.round, r.worker, r.values) for r in result.metrics] for result in results]
    assert all(each == values[0] for each in values)


def random_model() -> Arrays:
    return {"w": np.random.normal(size=FEATURES), "b": np.zeros(1)}


def test_all_begin_from_one_model_and_end_with_one(tmp_path: Path) -> None:
    """Each site draws its own; the one with the lowest id is everybody's."""
    begun: list[bytes] = []

    class Site(RingTrainer):
        def load_data(self) -> None:
            self.dataset_size = len(self.data[1])

        def initialize(self) -> None:
            self.model = random_model()

        def train(self) -> None:
            if self._round == 1:
                begun.append(self.model["w"].tobytes())
            full(self.model, self.data)

        def evaluate(self) -> None:
            self.update_metrics({"first": self.model["w"][0]})

    data = [site(number) for number in range(4)]
    result = flame.run(trainer=Site, data=data, tag="distributed", rounds=3, hosts=0, out=tmp_path)
    assert len(begun) == 4 and len(set(begun)) == 1
    for number in (1, 2, 3):
        assert len({r.values["first"] for r in result.metrics if r.round == number}) == 1


def test_a_run_without_aggregator_leaves_what_others_leave(tmp_path: Path) -> None:
    def measured(net: Arrays) -> dict[str, float]:
        return {"norm": float(np.abs(net["w"]).sum())}

    sites = [site(number) for number in range(3)]
    result = flame.run(
        model=model, train=train, evaluate=measured, data=sites, tag="distributed", rounds=4, hosts=0, out=tmp_path
    )
    summary = json.loads((tmp_path / "run.json").read_text())
    assert (summary["status"], summary["rounds"], summary["rounds_asked"]) == ("completed", 4, 4)
    rounds = json.loads((tmp_path / "timeline.json").read_text())["rounds"]
    assert [(row["round"], row["asked"], row["folded"]) for row in rounds] == [(n, 3, 3) for n in (1, 2, 3, 4)]
    assert len({row["worker"] for row in rounds}) == 1
    norms = [record.values["norm"] for record in result.metrics if "norm" in record.values]
    assert len(norms) == 12  # each site measures its own, and all have the same
    assert len(set(norms)) == 4
    assert norms[-1] == pytest.approx(np.abs(result.weights().arrays()["w"]).sum())
    assert not list(tmp_path.glob("models/*"))
    report = (tmp_path / "report.html").read_text()
    assert "ring_allreduce" in report and "rounds of aggregators" in report


def test_rings_side_by_side_each_have_a_model(tmp_path: Path) -> None:
    tag = template("distributed").to_dict()
    tag["roles"][0]["groupAssociation"] = [{"param-channel": "a"}, {"param-channel": "b"}]
    tag["channels"][0]["groupBy"] = {"type": "tag", "value": ["a", "b"]}
    (tmp_path / "schema.json").write_text(json.dumps(tag))
    data = {"a": [site(0), site(1)], "b": [site(2)]}
    flame.run(
        model=model, train=train, data=data, tag=tmp_path / "schema.json", rounds=2, hosts=0, out=tmp_path / "out"
    )
    assert (tmp_path / "out/model.safetensors").exists()
    assert len(list((tmp_path / "out/models").glob("*.safetensors"))) == 1


@pytest.mark.parametrize(
    ("tag", "settings", "words"),
    [
        ("distributed", {"optimizer": {"sort": "fedadam", "kwargs": {}}}, "fedadam needs an aggregator"),
        ("distributed", {"gate": {"sort": "everyone", "kwargs": {"atLeast": 2}}}, "gate: where nobody leads"),
        ("distributed", {"selector": {"sort": "random", "kwargs": {"k": 1}}}, "selector.sort: random"),
        ("distributed", {"optimizer": {"sort": "fedbuff", "kwargs": {}}}, "optimizer.sort"),
        ("hybrid", {"selector": {"sort": "random", "kwargs": {"k": 1}}}, "a ring waits for all"),
        ("hybrid", {"optimizer": {"sort": "fedbuff", "kwargs": {}}}, "fedbuff asks whoever is idle"),
    ],
)
def test_what_contradicts_a_ring_is_refused_by_name(tmp_path: Path, tag: str, settings: Any, words: str) -> None:
    with pytest.raises(RecipeError, match=words):
        data: Any = {"eu": [site(0)], "us": [site(1)]} if tag == "hybrid" else [site(0), site(1)]
        flame.run(model=model, train=train, data=data, tag=tag, settings=settings, hosts=0, out=tmp_path)


def test_a_compressed_ring_is_refused(tmp_path: Path) -> None:
    tag = template("distributed").to_dict()
    tag["channels"][0]["compression"] = "fp16"
    (tmp_path / "schema.json").write_text(json.dumps(tag))
    with pytest.raises(RecipeError, match="compression"):
        flame.run(model=model, train=train, data=[site(0)], tag=tmp_path / "schema.json", hosts=0, out=tmp_path / "out")
