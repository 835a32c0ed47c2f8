import math
from pathlib import Path

import pytest
import rundirs

from flame.lab import history, summary, theme
from flame.lab.history import History
from flame.tag import template

TREE = {
    "roles": [{"name": "trainer", "isDataConsumer": True}, {"name": "middle"}, {"name": "top"}],
    "channels": [{"pair": ["trainer", "middle"]}, {"pair": ["top", "middle"]}],
}


def run(path: Path, rows: list[tuple[int, str, dict[str, float]]], tag: object = TREE) -> History:
    path.mkdir(parents=True, exist_ok=True)
    rundirs.dump(path / "tag.json", tag)
    records = [{"round": at, "worker": w, "role": w.partition("/")[0], "values": v} for at, w, v in rows]
    rundirs.dump(path / "metrics.json", {"records": records})
    return history.read(path)


def test_roles_are_ranked_by_their_distance_from_the_data(tmp_path):
    tree = run(tmp_path, [])
    assert tree.sites == {"trainer"} and list(tree.upper) == ["top", "middle"]


def test_who_holds_the_labels_of_a_split_model_is_above_those_who_hold_columns(tmp_path):
    split = run(
        tmp_path,
        [(1, "feature-holder/0", {"width": 4.0}), (1, "label-holder/0", {"accuracy": 0.5, "train-loss": 1.0})],
        template("vertical").to_dict(),
    )
    assert split.holders == {"feature-holder", "label-holder"}
    assert split.sites == {"feature-holder"} and list(split.upper) == ["label-holder"]
    assert summary.headline(split).name == "accuracy"
    (top, *_) = summary.charts(split)
    assert [series.name for series in top.highlights] == ["label-holder"] and not top.sites


def test_the_global_curve_is_the_top_ones_else_the_mean_of_the_sites(tmp_path):
    tree = run(
        tmp_path,
        [
            (1, "middle/0", {"acc": 0.2}),
            (1, "top/0", {"acc": 0.5}),
            (1, "trainer/0", {"acc": 0.9, "loss": 1.0}),
            (1, "trainer/1", {"acc": 0.9, "loss": 3.0}),
            (2, "trainer/1", {"loss": math.nan}),
        ],
    )
    assert summary.global_curve(tree, tree.by_metric["acc"]) == [(1, 0.5)]
    curve = summary.global_curve(tree, tree.by_metric["loss"])
    assert curve[0] == (1, 2.0) and math.isnan(curve[1][1])


def test_parallel_experiments_are_averaged(tmp_path):
    several = run(tmp_path, [(1, "top/0", {"acc": 0.25}), (1, "top/1", {"acc": 0.75})])
    assert summary.global_curve(several, several.by_metric["acc"]) == [(1, 0.5)]


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["train-loss", "test-loss", "test-accuracy"], "test-accuracy"),
        (["train-accuracy", "val_auc"], "val_auc"),
        (["train-loss", "test-loss"], "test-loss"),
        (["train.runtime", "length"], "length"),
    ],
)
def test_the_headline_is_a_score_on_unseen_data_if_there_is_one(tmp_path, names, expected):
    top = summary.headline(run(tmp_path, [(1, "top/0", dict.fromkeys(names, 0.5))]))
    assert top is not None and top.name == expected


def test_the_best_round_knows_which_way_is_up(tmp_path):
    curve = [(1, 3.0), (2, 1.0), (3, math.nan), (4, 2.0)]
    assert summary.best(curve, "test-loss") == (2, 1.0)
    assert summary.best(curve, "accuracy") == (1, 3.0)
    assert summary.best([(1, math.nan)], "accuracy") is None
    assert summary.rounds_to(curve, "rmse", 2.0) == 2
    assert summary.rounds_to(curve, "auc", 5.0) is None


def test_few_sites_take_the_colours_when_nobody_stands_above_them(tmp_path):
    few = run(tmp_path / "few", [(1, f"trainer/{at}", {"loss": 1.0}) for at in range(4)])
    assert len(summary.charts(few)[0].highlights) == 4
    many = run(tmp_path / "many", [(1, f"trainer/{at}", {"loss": 1.0}) for at in range(9)])
    chart = summary.charts(many)[0]
    assert [s.name for s in chart.highlights] == ["mean"] and len(chart.sites) == 9


def test_many_middle_workers_stand_behind_the_top(tmp_path):
    rows = [(1, f"middle/{at}", {"acc": 0.1}) for at in range(20)] + [(1, "top/0", {"acc": 0.5})]
    chart = summary.charts(run(tmp_path, rows))[0]
    assert [s.name for s in chart.highlights] == ["top/0"] and len(chart.sites) == 20 and chart.noun == "worker"


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (0.84294, "0.8429"),
        (1234567.0, "1.23e+06"),
        (3.0, "3"),
        (-0.5, "\u22120.5000"),
        (0.0, "0"),
        (12.3456, "12.35"),
    ],
)
def test_numbers_read_well(value, words):
    assert theme.number(value) == words


def test_durations_and_sizes_read_well():
    assert [theme.seconds(s) for s in (0.0, 0.00002, 0.038, 4.21, 200.0, 7500.0)] == [
        "0 ms",
        "20 µs",
        "38 ms",
        "4.2 s",
        "3 min 20 s",
        "2 h 05 min",
    ]
    assert [theme.size(b) for b in (0, 312, 4_100, 1_200_000, 48_000_000_000)] == [
        "0 B",
        "312 B",
        "4.1 kB",
        "1.2 MB",
        "48.0 GB",
    ]
