"""Expansion: the worked examples in their order, and the laws of ids, order and counts."""

from __future__ import annotations

import copy
import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from good_tags import GOOD, Content
from hypothesis import given
from hypothesis import strategies as st

from flame.config import BaseModel, Hyperparameters, Optimizer, Selector
from flame.config.build import configs
from flame.config.job import read_job
from flame.errors import ConfigError, TagError
from flame.tag import Data, Tag, build, expand, read, template

SITE = "https://data.example.org"
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


def folder(top: Path, name: str, tag: Content, counts: dict[str, int]) -> Path:
    """An example as a job's folder: no model is said, as in upstream's own fixtures."""
    files: dict[str, Any] = {
        "schema": tag,
        "job": {"designId": name, "backend": "mqtt", "maxRunTime": 1800, "dataSpecPath": "dataSpec.json"},
        "dataSpec": [
            {"role": "trainer", "datasetGroups": {group: of(group, count) for group, count in counts.items()}}
        ],
        "datasets": [
            {"name": one, "url": f"{SITE}/{one}", "realm": "default"} for g, n in counts.items() for one in of(g, n)
        ],
    }
    for file, content in files.items():
        (top / f"{file}.json").write_text(json.dumps(content))
    for role in tag["roles"]:
        (top / role["name"]).mkdir()
        (top / role["name"] / "main.py").touch()
    return top


@pytest.mark.parametrize("name", WORKED)
def test_statement_32_a_worked_example(tmp_path: Path, name: str) -> None:
    """Its workers in their order, and all that each one's config says."""
    counts, expected = WORKED[name]
    schema = GOOD[name]
    files = read_job(folder(tmp_path, name, schema, counts))
    specs = expand(files.tag, files.data, job_id=files.job.id)
    made = list(configs(files.tag, files.job, specs))
    assert [(one.role, dict(one.group_association), one.dataset.removeprefix(f"{SITE}/")) for one in made] == expected
    assert len({one.task_id for one in made}) == len(made)
    for config in made:
        assert (config.job.name, config.job.job_id, config.realm) == (name, files.job.id, "")
        assert (config.backend, config.max_run_time, config.brokers.sort_to_host) == ("mqtt", 1800, {})
        assert (config.optimizer, config.selector) == (Optimizer(), Selector())
        assert (config.base_model, config.dependencies or ()) == (BaseModel(), ())
        assert config.registry is not None and config.registry.sort == "dummy"
        assert config.hyperparameters == Hyperparameters()
        rows = {row["name"]: row for row in schema["channels"] if config.role in row["pair"]}
        assert sorted(config.channels) == sorted(rows)
        for channel in config.channels.values():
            row = rows[channel.name]
            assert (list(channel.pair), channel.description) == (row["pair"], row["description"])
            assert list(channel.group_by.value) == row.get("groupBy", {"value": ["default"]})["value"]
            assert {role: list(tags) for role, tags in channel.func_tags.items()} == row["funcTags"]
            assert channel.backend == row.get("backend", "")


def test_statement_32_there_are_the_workers_of_nine_examples() -> None:
    counts = {name: len(expected) for name, (_, expected) in WORKED.items()}
    assert sorted(counts.values()) == [2, 3, 4, 5, 6, 7, 7, 7, 11]
    assert sum(counts.values()) == 52  # upstream has the expected configs of 45


WRONG: dict[str, tuple[str, str]] = {
    "no consumer": ("roles", "no role consumes data"),
    "no code": ("roles[0].name", "no code for role 'trainer'"),
    "no such role": ("channels[0].pair[1]", "no role is named 'agregator'"),
    "no such dataset": ("[0].datasetGroups.us[1]", "no dataset 'us-1.npz'"),
}


@pytest.mark.parametrize("fault", WRONG)
def test_statement_33_a_worked_error(tmp_path: Path, fault: str) -> None:
    """Said before anything runs, with its place."""
    tag = copy.deepcopy(GOOD["mnist"])
    folder(tmp_path, "mnist", tag, {"us": 1})
    if fault == "no consumer":
        del tag["roles"][0]["isDataConsumer"]
    elif fault == "no code":
        shutil.rmtree(tmp_path / "trainer")
    elif fault == "no such role":
        tag["channels"][0]["pair"][1] = "agregator"
    else:
        spec = [{"role": "trainer", "datasetGroups": {"us": of("us", 2)}}]
        (tmp_path / "dataSpec.json").write_text(json.dumps(spec))
    (tmp_path / "schema.json").write_text(json.dumps(tag))
    where, said = WRONG[fault]
    with pytest.raises((TagError, ConfigError)) as caught:
        read_job(tmp_path)
    assert where in str(caught.value) and said in str(caught.value)


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
