"""A worker's config.json, with all its quirks."""

from __future__ import annotations

import copy
import json
from dataclasses import FrozenInstanceError
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from role_configs import CONFIGS
from worker_configs import PLAIN, SHAPES, without

from flame import config as room
from flame.config import BackendType, Config, read_config
from flame.errors import ConfigError


@pytest.mark.parametrize("name", SHAPES)
def test_what_is_written_reads_as_what_was_read(name: str) -> None:
    content = SHAPES[name]
    before = copy.deepcopy(content)
    config = Config.from_dict(content)
    assert content == before
    again = Config.from_dict(json.loads(json.dumps(config.to_dict())))
    assert again == config
    assert again.to_dict() == config.to_dict()


plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
arguments = st.dictionaries(st.text(max_size=5), plain, max_size=4)
extras = st.dictionaries(st.text("abcxyz_/", min_size=1, max_size=6), plain.filter(lambda x: x is not None), max_size=4)


@given(arguments, extras, st.integers(0, 100))
def test_arguments_and_extra_hyperparameters_are_kept_as_they_are(
    kwargs: dict[str, Any], more: dict[str, Any], rounds: int
) -> None:
    optimizer = {"sort": "fedadam", "kwargs": kwargs}
    config = Config.from_dict({**PLAIN, "optimizer": optimizer, "hyperparameters": {**more, "rounds": rounds}})
    assert config.optimizer.kwargs == kwargs
    assert all(getattr(config.hyperparameters, name) == value for name, value in more.items())
    assert Config.from_dict(json.loads(json.dumps(config.to_dict()))) == config


def test_of_two_channels_with_one_tag_the_last_counts() -> None:
    channels = [{**PLAIN["channels"][0], "name": name} for name in ("a", "b")]
    assert Config.from_dict({**PLAIN, "channels": channels}).func_tag_map == {"fetch": "b", "upload": "b"}


@pytest.mark.parametrize("sampler", [{"sort": "default"}, {"sort": "default", "kwargs": {}}, {}])
def test_the_default_sampler_takes_nothing(sampler: dict[str, Any]) -> None:
    config = Config.from_dict({**PLAIN, "datasampler": sampler})
    assert (config.datasampler.sort, config.datasampler.kwargs) == ("default", {})


def test_what_is_left_out() -> None:
    optional = (
        "registry",
        "baseModel",
        "dependencies",
        "dataset",
        "maxRunTime",
        "realm",
        "brokers",
        "selector",
    )
    config = Config.from_dict(without(PLAIN, *optional, "hyperparameters", "optimizer"))
    assert (config.registry, config.base_model, config.dependencies) == (None, None, None)
    assert (config.dataset, config.max_run_time, config.task, config.realm) == ("", 300, "local", "")
    assert (config.name, config.seed) == ("trainer/49d06b75", None)


@pytest.mark.parametrize("content", [{}, None])
def test_empty_hyperparameters_are_the_defaults(content: object) -> None:
    numbers = Config.from_dict({**PLAIN, "hyperparameters": content}).hyperparameters
    assert (numbers.rounds, numbers.epochs, numbers.batch_size, numbers.learning_rate) == (1, 1, 16, None)
    assert numbers.dict() == {
        "rounds": 1,
        "epochs": 1,
        "batch_size": 16,
        "learning_rate": None,
        "weight_decay": None,
        "aggregation_goal": None,
        "concurrency": None,
        "min_peers": None,
        "simulated_time": None,
    }


def test_numbers_may_be_strings_and_have_either_name() -> None:
    content = {"batchSize": 8, "batch_size": "64", "learningRate": "0.5", "aggGoal": "3", "fooBar": "7"}
    numbers = Config.from_dict({**PLAIN, "hyperparameters": content}).hyperparameters
    assert (numbers.batch_size, numbers.learning_rate, numbers.aggregation_goal) == (64, 0.5, 3)
    assert numbers.fooBar == "7"
    assert "batchSize" not in numbers.dict()
    with pytest.raises(AttributeError, match="no hyperparameter 'momentum'; there are: rounds, epochs"):
        numbers.momentum  # noqa: B018


def test_arguments_are_passed_with_their_comments_and_types() -> None:
    assert Config.from_dict(CONFIGS["async_mnist"][0]).selector.kwargs == {"//": "busy", "c": 4}
    mu = Config.from_dict(CONFIGS["medmnist_fedprox"][1]).optimizer.kwargs["mu"]
    assert (mu, type(mu)) == (0, int)


def test_a_config_cannot_be_changed() -> None:
    config = Config.from_dict(PLAIN)
    with pytest.raises(FrozenInstanceError):
        config.role = "other"  # type: ignore[misc]
    with pytest.raises(FrozenInstanceError):
        config.hyperparameters.rounds = 2


def test_sorts_are_strings() -> None:
    config = Config.from_dict(PLAIN)
    assert config.backend is BackendType.P2P
    assert f"{config.backend}/{config.optimizer.sort}" == "p2p/fedavg"
    assert Config.from_dict({**PLAIN, "backend": "inproc"}).backend == "inproc"


def test_the_enumerations_are_upstreams() -> None:
    members = {
        "BackendType": "local p2p mqtt shm",
        "RegistryType": "dummy local mlflow",
        "OptimizerType": "fedavg fedadagrad fedadam fedyogi fedbuff fedprox feddyn scaffold fedgft",
        "SelectorType": "default random fedbuff oort",
        "DataSamplerType": "default fedbalancer",
        "PrivacyType": "default dp",
    }
    for name, values in members.items():
        assert " ".join(getattr(room, name)) == values
    assert (room.GROUPBY_DEFAULT_GROUP, room.GROUP_ASSOCIATION_SEPARATOR) == ("default", "/")
    assert room.DEFAULT_HYPERARAMETERS_DICT["batchSize"] == 16


def test_a_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text("\ufeff" + json.dumps({**PLAIN, "name": "trainer/3", "seed": 7}), encoding="utf-8")
    for given_path in (path, str(path)):
        config = Config(given_path)
        assert (config.name, config.seed) == ("trainer/3", 7)
    assert Config(path) == Config.from_dict(read_config(path))


def channels(**change: Any) -> dict[str, Any]:
    return {"channels": [{**PLAIN["channels"][0], **change}]}


@pytest.mark.parametrize(
    ("change", "where", "reason"),
    [
        ({"backend": "pigeon"}, "backend", "no backend named 'pigeon'; there are: "),
        (
            {"optimizer": {"sort": "sgd"}},
            "optimizer",
            "no optimizer named 'sgd'; there are: ditto, fedadagrad, fedadam",
        ),
        (
            {"selector": {"sort": "best", "kwargs": {}}},
            "selector",
            "no selector named 'best'; there are: default, fedb",
        ),
        (
            {"optimizer": {"sort": "FedAdm"}},
            "optimizer",
            "no optimizer named 'FedAdm' (did you mean 'fedadam'?); there are: ditto, fedadagrad, fedadam",
        ),
        ({"selector": {"kwargs": []}}, "selector.kwargs", "expected `object`, got `array`"),
        ({"registry": {"sort": ""}}, "registry", "no registry named ''"),
        ({"role": None}, "role", "is missing"),
        ({"taskid": 7}, "taskid", "expected `str`, got `int`"),
        ({"job": {"name": "x"}}, "job.id", "is missing"),
        ({"brokers": [{"sort": "mqtt"}]}, "brokers[0].host", "is missing"),
        ({"groupAssociation": None}, "groupAssociation", "is null (write {}"),
        ({"groupAssociation": {"param-channel": 1}}, "groupAssociation[...]", "expected `str`"),
        ({"hyperparameters": {"rounds": "many"}}, "hyperparameters.rounds", "expected `int"),
        ({"hyperparameters": {"batch_size": 1.5}}, "hyperparameters.batchSize", "expected `int"),
        ({"hyperparameters": [5]}, "hyperparameters", "expected `object`, got `array`"),
        (channels(pair=["trainer"]), "channels[0].pair", "expected `array` of length 2, got 1"),
        (channels(funcTags={"aggregator": []}), "channels[0].funcTags", "role 'trainer' has no tags"),
        (channels(backend="pigeon"), "channels[0].backend", "no backend named 'pigeon'"),
        (channels(name=None), "channels[0].name", "expected `str`, got `null`"),
        (channels(compression="int4"), "channels[0].compression", "no compression is named 'int4'"),
        (channels(compression=8), "channels[0].compression", "expected `str | object | null`, got `int`"),
        (channels(compression={"sort": "topk", "keep": 1}), "channels[0].compression", "object contains unknown field"),
        (
            channels(compression={"sort": "topk", "kwargs": {"keep": 2}}),
            "channels[0].compression.kwargs.keep",
            "a number above 0 and at most 1 is needed, not 2",
        ),
        ({"maxRunTime": "soon"}, "maxRunTime", "expected `int`"),
    ],
)
def test_a_wrong_setting_is_named_with_its_place(change: dict[str, Any], where: str, reason: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Config.from_dict({**PLAIN, **change}, "config.json")
    assert caught.value.path == f"config.json: {where}"
    assert reason in str(caught.value)


def test_a_file_that_is_not_json_is_named_with_line_and_column(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text('{\n  "taskid": ,\n}', encoding="utf-8")
    with pytest.raises(ConfigError, match=r"config\.json:2:13: is not JSON: Expecting value"):
        Config(path)
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match=r"config\.json: is not JSON"):
        Config(path)
    path.write_text("[1]", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"config\.json: expected `object`, got `array`"):
        Config(path)
    with pytest.raises(ConfigError, match=r"config\.json: is not a JSON object"):
        read_config(path)
    with pytest.raises(ConfigError, match=r"none\.json: cannot be read: No such file"):
        Config(tmp_path / "none.json")


def test_every_key_has_a_line_in_the_reference() -> None:
    page = (Path(__file__).resolve().parents[2] / "docs" / "reference" / "config.md").read_text(encoding="utf-8")
    config = Config.from_dict({**PLAIN, "seed": 1})
    keys = {*config.to_dict(), *PLAIN["channels"][0], *config.hyperparameters.dict(), *Config.__slots__}
    assert {key for key in keys if f"`{key}`" not in page} == set()
