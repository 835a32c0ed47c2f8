"""Boosted trees: bagging of one is boosting, and a union holds everybody's trees."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer, load_iris
from sklearn.metrics import roc_auc_score

import flame
from flame.errors import WeightsError
from flame.lab.result import Result
from flame.optimizer.xgb_bagging import Union
from flame.weights import adapters, forest

xgboost = pytest.importorskip("xgboost")

GROWTH = {"objective": "binary:logistic", "max_depth": 2, "eta": 0.2, "base_score": 0.5, "nthread": 1}
X, Y = load_breast_cancer(return_X_y=True)
ORDER = np.random.default_rng(0).permutation(len(Y))
X, Y = X[ORDER], Y[ORDER]


def rows_of(x: Any, y: Any = None) -> Any:
    """In one thread: threads do not survive a fork."""
    return xgboost.DMatrix(x, y, nthread=1)


ALL = rows_of(X, Y)
BAGGING = {"optimizer": {"sort": "xgb_bagging"}}


class Site(flame.Trainer):
    def load_data(self) -> None:
        self.rows = rows_of(*self.data)
        self.dataset_size = len(self.data[1])

    def initialize(self) -> None:
        self.model = xgboost.Booster(GROWTH, [self.rows])

    def train(self) -> None:
        self.model.update(self.rows, self.model.num_boosted_rounds())


class Server(flame.TopAggregator):
    def initialize(self) -> None:
        self.model = xgboost.Booster(GROWTH)

    def evaluate(self) -> None:
        self.update_metrics({"auc": roc_auc_score(Y[400:], self.model.predict(rows_of(X[400:])))})


def sites(count: int) -> list[Any]:
    return [(X[part], Y[part]) for part in np.array_split(np.arange(400), count)]


def boosted(rows: Any, rounds: int, **more: Any) -> Any:
    booster = xgboost.Booster({**GROWTH, **more}, [rows])
    for number in range(rounds):
        booster.update(rows, number)
    return booster


def of(result: Result) -> Any:
    booster = xgboost.Booster()
    adapters.of(booster).load(result.weights())
    return booster


def run(out: Any, **more: Any) -> Result:
    return flame.run(trainer=Site, aggregator=Server, settings=BAGGING, out=out, **more)


def test_bagging_with_one_client_is_boosting(tmp_path) -> None:
    """To the byte."""
    result = run(tmp_path / "run", data=sites(1), rounds=4, hosts=0)
    local = boosted(rows_of(*sites(1)[0]), 4)
    assert of(result).save_raw("json") == local.save_raw("json")


def test_every_round_adds_a_tree_of_every_client_and_ranks_better(tmp_path) -> None:
    result = run(tmp_path / "run", data=sites(3), rounds=5, hosts=0)
    assert of(result).num_boosted_rounds() == 15
    (curve,) = result.series("auc", role="aggregator").values()
    assert curve[-1][1] > max(0.98, curve[0][1])


@pytest.mark.parametrize("hosts", [1, 2])
def test_the_same_bits_for_any_number_of_hosts(tmp_path, hosts: int) -> None:
    one, many = (run(tmp_path / str(n), data=sites(3), rounds=2, hosts=n).weights() for n in (0, hosts))
    assert one.data.tobytes() == many.data.tobytes()


def test_a_tree_of_aggregators_collects_what_a_star_does(tmp_path) -> None:
    star = run(tmp_path / "star", data=sites(4), rounds=3, hosts=0)
    tree = flame.run(
        roles={"trainer": Site, "top-aggregator": Server},
        tag="hierarchical",
        data={"eu": sites(4)[:2], "na": sites(4)[2:]},
        rounds=3,
        settings=BAGGING,
        hosts=0,
        out=tmp_path / "tree",
    )
    assert of(star).num_boosted_rounds() == of(tree).num_boosted_rounds() == 12
    np.testing.assert_allclose(of(tree).predict(ALL), of(star).predict(ALL), rtol=1e-5)


def test_a_union_says_the_sum_of_what_its_trees_say() -> None:
    """In the margin, to which the base score is added once."""
    one, other = boosted(ALL, 3), boosted(ALL, 2, max_depth=4)
    both = xgboost.Booster()
    adapters.of(both).load(forest.union([adapters.of(one).snapshot(), adapters.of(other).snapshot()]))
    margins = [booster.predict(ALL, output_margin=True) for booster in (one, other, both)]
    assert both.num_boosted_rounds() == 5
    np.testing.assert_allclose(margins[2], margins[0] + margins[1], rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(both[:3].predict(ALL), one.predict(ALL))


def test_classes_keep_their_trees() -> None:
    x, y = load_iris(return_X_y=True)
    rows = rows_of(x, y)
    one = boosted(rows, 2, objective="multi:softprob", num_class=3)
    both = xgboost.Booster()
    adapters.of(both).load(forest.union([adapters.of(one).snapshot()] * 2))
    assert both.num_boosted_rounds() == 4
    np.testing.assert_allclose(
        both.predict(rows, output_margin=True) - 0.5, 2 * (one.predict(rows, output_margin=True) - 0.5), rtol=1e-4
    )


def test_how_trees_are_grown_stays_with_the_program() -> None:
    """What comes is the trees; depth and rate are the worker's own."""
    site = xgboost.Booster({**GROWTH, "max_depth": 1, "eta": 0.01}, [ALL])
    for rounds in (2, 1, 3):
        adapters.of(site).load(adapters.of(boosted(ALL, rounds, max_depth=5)).snapshot())
        base = adapters.of(site).snapshot()
        site.update(ALL, site.num_boosted_rounds())
        delta = adapters.of(site).delta(base)
        (tree,) = json.loads(forest.unpacked(delta)[1])["learner"]["gradient_booster"]["model"]["trees"]
        assert tree["tree_param"]["num_nodes"] == "3"
        assert site.num_boosted_rounds() == rounds + 1


def test_a_booster_without_trees_is_empty_and_can_be_loaded() -> None:
    fresh, full = xgboost.Booster(GROWTH), boosted(ALL, 2)
    nothing = adapters.of(fresh).snapshot()
    assert forest.unpacked(nothing) == (0, b"")
    adapters.of(xgboost.Booster(GROWTH, [ALL])).load(nothing)
    assert forest.unpacked(forest.union([nothing, nothing])) == (0, b"")
    assert adapters.of(full).delta(nothing).data.tobytes() == adapters.of(full).snapshot().data.tobytes()
    assert forest.unpacked(adapters.of(full).delta(adapters.of(full).snapshot())) == (0, b"")


def test_a_lost_update_leaves_no_tree() -> None:
    union, kept, gone = Union(), adapters.of(boosted(ALL, 1)).snapshot(), adapters.of(boosted(ALL, 2)).snapshot()
    union.add(kept, 1)
    union.add(gone, 1)
    union.drop(gone)
    union.settle()
    assert forest.unpacked(union.mean())[0] == 1


def test_trees_of_another_base_score_do_not_add_up() -> None:
    one, other = boosted(ALL, 1), boosted(ALL, 1, base_score=0.7)
    with pytest.raises(WeightsError, match="base_score"):
        forest.union([adapters.of(one).snapshot(), adapters.of(other).snapshot()])


def test_the_wrong_optimizer_and_the_wrong_model_are_refused(tmp_path) -> None:
    with pytest.raises(flame.WorkerFailed, match="booster int8"):
        flame.run(trainer=Site, aggregator=Server, data=sites(2), rounds=2, hosts=0, out=tmp_path / "fedavg")
    with pytest.raises(flame.WorkerFailed, match="has to be an xgboost"):
        flame.run(
            model=lambda: np.zeros(3),
            train=lambda model, item: None,
            data=[1],
            rounds=1,
            settings=BAGGING,
            hosts=0,
            out=tmp_path / "numpy",
        )
    with pytest.raises(WeightsError, match="be an xgboost"):
        adapters.of(xgboost.XGBClassifier())


Tree = dict[str, Any]


def loops(model: dict[str, Any], tree: Tree) -> None:
    tree["left_children"][1] = 1


def leads_out(model: dict[str, Any], tree: Tree) -> None:
    tree["right_children"][0] = 10**6


def leads_back(model: dict[str, Any], tree: Tree) -> None:
    tree["right_children"][0] = 0


def other_feature(model: dict[str, Any], tree: Tree) -> None:
    tree["split_indices"][0] = 30


def too_short(model: dict[str, Any], tree: Tree) -> None:
    tree["split_conditions"].pop()


def of_no_class(model: dict[str, Any], tree: Tree) -> None:
    model["tree_info"][0] = 7


def starts_astray(model: dict[str, Any], tree: Tree) -> None:
    model["iteration_indptr"][1] = 5


def more_than_there_are(model: dict[str, Any], tree: Tree) -> None:
    model["gbtree_model_param"]["num_trees"] = "9"


def no_list(model: dict[str, Any], tree: Tree) -> None:
    model["trees"] = 5


@pytest.mark.parametrize(
    "forge",
    [
        loops,
        leads_out,
        leads_back,
        other_feature,
        too_short,
        of_no_class,
        starts_astray,
        more_than_there_are,
        no_list,
    ],
)
def test_forged_trees_are_refused_before_xgboost_sees_them(forge: Callable[[dict[str, Any], Tree], None]) -> None:
    rounds, document = forest.unpacked(adapters.of(boosted(ALL, 2)).snapshot())
    whole = json.loads(document)
    model = whole["learner"]["gradient_booster"]["model"]
    forge(model, model["trees"][0])
    weights = forest.packed(rounds, json.dumps(whole).encode())
    for use in (adapters.of(xgboost.Booster()).load, lambda forged: forest.union([forged])):
        with pytest.raises(WeightsError, match="no boosted trees"):
            use(weights)


@pytest.mark.parametrize("document", [b"{}", b"[" * 100_000, b"\xff", b'{"learner": 3}', b"null"], ids=str)
def test_what_is_no_model_is_refused(document: bytes) -> None:
    with pytest.raises(WeightsError):
        forest.union([forest.packed(1, document)])


def test_other_weights_are_no_trees() -> None:
    with pytest.raises(WeightsError, match="boosted trees were expected"):
        forest.union([adapters.of({"w": np.zeros(2)}).snapshot()])


def test_a_mechanism_of_privacy_is_refused_before_anything_runs(tmp_path) -> None:
    """It would hide whole numbers, and with them every tree."""
    settings = {**BAGGING, "privacy": {"sort": "dp", "kwargs": {}}}
    with pytest.raises(flame.FlameError, match="privacy"):
        flame.run(trainer=Site, aggregator=Server, data=sites(2), settings=settings, hosts=0, out=tmp_path / "run")
