"""Expansion: the worked examples in their order, and the laws of ids, order and counts."""

from __future__ import annotations

import hashlib

import pytest
from good_tags import GOOD
from hypothesis import given
from hypothesis import strategies as st

from flame.errors import TagError
from flame.tag import Data, Tag, build, expand, read, template

Row = tuple[str, dict[str, str], str]


def rows(name: str, data: Data) -> list[Row]:
    return [(one.role, dict(one.group_association), one.dataset) for one in expand(read(GOOD[name]), data, job_id="j")]


def of(group: str, count: int) -> list[str]:
    return [f"{group}-{i}.npz" for i in range(count)]


def trainers(group: str, count: int, **association: str) -> list[Row]:
    names = {"param": "param-channel", "global_": "global-channel", "coord": "trainer-coord-channel"}
    named = {names[key]: value for key, value in association.items()}
    return [("trainer", named, dataset) for dataset in of(group, count)]


EU, NA = {"param-channel": "eu", "global-channel": "default"}, {"param-channel": "na", "global-channel": "default"}
TREE: list[Row] = [
    ("middle-aggregator", EU, ""),
    ("middle-aggregator", NA, ""),
    ("top-aggregator", {"global-channel": "default"}, ""),
    *trainers("eu", 2, param="eu"),
    *trainers("na", 2, param="na"),
]
COORD = {f"{name}-coord-channel": "default" for name in ("trainer", "middle-agg", "top-agg")}
MIDDLE = {"param-channel": "default", "global-channel": "default", "middle-agg-coord-channel": "default"}

WORKED: dict[str, tuple[dict[str, int], list[Row]]] = {
    "mnist": ({"us": 1}, [("aggregator", {"param-channel": "us"}, ""), *trainers("us", 1, param="us")]),
    "medmnist": ({"us": 10}, [("aggregator", {"param-channel": "us"}, ""), *trainers("us", 10, param="us")]),
    "hier_mnist": ({"eu": 2, "na": 2}, TREE),
    "asyncfl_hier_mnist": ({"na": 2, "eu": 2}, TREE),
    "asyncfl_hier_mnist_lb": (
        {"red": 1},
        [
            *[("middle-aggregator", {"param-channel": "red", "global-channel": "black"}, "")] * 2,
            ("top-aggregator", {"global-channel": "black"}, ""),
            *trainers("red", 1, param="red"),
        ],
    ),
    "parallel_experiment": (
        {"us": 1, "asia": 1, "eu": 1},
        [
            *[("aggregator", {"param-channel": group}, "") for group in ("us", "eu", "asia")],
            *[row for group in ("asia", "eu", "us") for row in trainers(group, 1, param=group)],
        ],
    ),
    "distributed_training": ({"us": 3}, trainers("us", 3, param="us")),
    "hybrid": (
        {"eu": 2, "us": 2},
        [
            ("aggregator", {"global-channel": "default"}, ""),
            *trainers("eu", 2, param="eu", global_="default"),
            *trainers("us", 2, param="us", global_="default"),
        ],
    ),
    "syncfl_hier_coord_mnist": (
        {"default": 3},
        [
            ("coordinator", COORD, ""),
            *[("middle-aggregator", MIDDLE, "")] * 2,
            ("top-aggregator", {"global-channel": "default", "top-agg-coord-channel": "default"}, ""),
            *trainers("default", 3, param="default", coord="default"),
        ],
    ),
}


@pytest.mark.parametrize("name", WORKED)
def test_a_worked_example(name: str) -> None:
    counts, expected = WORKED[name]
    found = rows(name, {"trainer": {group: of(group, count) for group, count in counts.items()}})
    assert found == expected


def test_the_coordinated_example_whose_associations_leave_channels_out() -> None:
    found = rows("coord_without_names", {"trainer": {"default": of("default", 3)}})
    assert [row[0] for row in found] == [row[0] for row in WORKED["syncfl_hier_coord_mnist"][1]]
    assert found[-1][1] == {"param-channel": "default"}


def test_a_data_group_that_no_association_names_is_refused() -> None:
    with pytest.raises(TagError) as caught:
        rows("parallel_experiment", {"trainer": {"uk": ["a"], "eu": ["b"], "asai": ["c"]}})
    assert [one.path for one in caught.value.findings] == ["data.trainer.uk", "data.trainer.asai"]
    assert "did you mean 'asia'?" in str(caught.value)


def test_a_dataset_listed_twice_gives_two_workers_and_computes_are_kept() -> None:
    tag = template("two-tier")
    found = expand(tag, {"trainer": {"default": ["a", ("a", "cluster-1"), ("b", "cluster-2")]}, "nobody": {"x": ["y"]}})
    assert [(one.dataset, one.compute) for one in found] == [
        ("", "default"), ("a", "default"), ("a", "cluster-1"), ("b", "cluster-2"),
    ]  # fmt: skip
    assert len({one.task_id for one in found}) == 4


def test_without_data_a_consumer_has_no_worker() -> None:
    assert [one.role for one in expand(template("two-tier"), {})] == ["aggregator"]


def test_the_first_association_that_names_the_group_anywhere_is_taken() -> None:
    tag = (
        build("x")
        .role("trainer", {"a": "eu", "b": "default"}, {"a": "us", "b": "default"}, data_consumer=True)
        .role("aggregator", {"a": "eu", "b": "default"}, {"a": "us", "b": "default"})
        .channel("a", {"trainer": "", "aggregator": ""}, groups=["eu", "us"])
        .channel("b", {"trainer": "", "aggregator": ""})
        .done()
    )
    found = expand(tag, {"trainer": {"default": ["x"], "us": ["y"]}})
    assert [one.group_association["a"] for one in found if one.role == "trainer"] == ["eu", "us"]


def test_ids_stay_what_they_are() -> None:
    worker = expand(template("two-tier"), {"trainer": {"default": ["a", "a"]}}, job_id="job-1")[2]
    text = '["job-1", "trainer", [["param-channel", "default"]]]\n1\na'
    assert worker.task_id == hashlib.sha1(text.encode()).hexdigest()


GROUPS = st.dictionaries(
    st.sampled_from(["asia", "eu", "us"]),
    st.lists(st.sampled_from(["a", "b", "c", "1\nb", "é"]), max_size=5),
    max_size=3,
)


@given(GROUPS)
def test_counts_order_and_uniqueness(groups: dict[str, list[str]]) -> None:
    tag = template("parallel")
    found = expand(tag, {"trainer": groups})
    assert found == expand(tag, {"trainer": dict(reversed(groups.items()))})
    assert [one.dataset for one in found[3:]] == [one for group in sorted(groups) for one in groups[group]]
    ids = {one.task_id for one in found}
    assert len(ids) == len(found)
    assert all(len(one) == 40 and set(one) <= set("0123456789abcdef") for one in ids)
    assert not ids & {one.task_id for one in expand(tag, {"trainer": groups}, job_id="other")}


@given(GROUPS, st.sampled_from(["asia", "eu", "us"]))
def test_a_worker_more_changes_no_other_id(groups: dict[str, list[str]], group: str) -> None:
    tag = template("parallel")
    more = {**groups, group: [*groups.get(group, []), "new"]}
    before = {one.task_id for one in expand(tag, {"trainer": groups})}
    after = {one.task_id for one in expand(tag, {"trainer": more})}
    assert before < after and len(after - before) == 1


def with_replicas(count: int) -> Tag:
    return template("hierarchical", replica=count)


def test_replicas_multiply_associations_replica_by_replica() -> None:
    two, three = (expand(with_replicas(count), {}) for count in (2, 3))
    assert [one.group_association["param-channel"] for one in two[:4]] == ["eu", "na", "eu", "na"]
    assert {one.task_id for one in two} < {one.task_id for one in three}


def test_a_hundred_thousand_workers_share_their_associations() -> None:
    names = [f"r{i}" for i in range(100)]
    tag = template("hierarchical", regions=names)
    found = expand(tag, {"trainer": {name: [f"{name}/{i}" for i in range(1000)] for name in names}})
    assert len(found) == 100_101
    assert len({id(one.group_association) for one in found if one.role == "trainer"}) == 100
