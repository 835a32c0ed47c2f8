"""Upstream's role configs, each read from a file: the statements about configs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from role_configs import CONFIGS
from worker_configs import PLAIN, SHAPES, without

from flame.channel_manager import ChannelManager
from flame.config import Config, OptimizerType, SelectorType

FILES = {
    "adult": 2,
    "async_hier_mnist": 7,
    "async_mnist": 5,
    "cifar10_scaffold": 2,
    "compas_fedgft": 2,
    "coord_3_hier_syncfl_mnist": 13,
    "coord_hier_asyncfl_mnist": 6,
    "coord_hier_syncfl_mnist": 9,
    "dist_mnist": 6,
    "dp_mnist": 2,
    "eager_hier_mnist": 8,
    "fedbalancer_mnist": 2,
    "fedscale/femnist": 2,
    "fedscale/coord_hier_syncfl_femnist": 6,
    "hier_mnist": 5,
    "hybrid": 10,
    "medmnist": 18,
    "medmnist_feddyn": 2,
    "medmnist_fedprox": 2,
    "medmnist_oort": 2,
    "mnist": 4,
}
ALL = [(example, content) for example, contents in CONFIGS.items() for content in contents]


def read(content: dict[str, Any], folder: Path) -> Config:
    path = folder / "config.json"
    path.write_text(json.dumps(content))
    return Config(path)


def test_there_are_as_many_as_upstream_has() -> None:
    assert {example: len(contents) for example, contents in CONFIGS.items()} == FILES
    assert sum(FILES.values()) == len({json.dumps(content) for _, content in ALL}) == 115
    shapes = [{key: value for key, value in content.items() if key != "taskid"} for _, content in ALL]
    assert len({json.dumps(shape) for shape in shapes}) > 60  # the others are twins of one role


@pytest.mark.parametrize("example", CONFIGS)
def test_statement_01_every_role_config_parses(tmp_path: Path, example: str) -> None:
    """`batch_size` is `batchSize`, and 16 without; rounds and epochs are 1 without. Nothing of it gets lost."""
    for content in CONFIGS[example]:
        config, numbers = read(content, tmp_path), content["hyperparameters"]
        assert config.hyperparameters.batch_size == numbers.get("batchSize", 16)
        assert config.hyperparameters.rounds == numbers.get("rounds", 1)
        assert config.hyperparameters.epochs == numbers.get("epochs", 1)
        assert config.hyperparameters.learning_rate == numbers.get("learningRate")
        assert config.hyperparameters.aggregation_goal == numbers.get("aggGoal")
        assert (config.task_id, config.role) == (content["taskid"], content["role"])
        assert (config.backend, config.realm) == (content["backend"], content["realm"])
        assert config.brokers.sort_to_host == {broker["sort"]: broker["host"] for broker in content["brokers"]}
        assert config.dataset == content.get("dataset", "")
        assert (config.registry is None) == ("registry" not in content)
        for spec in content["channels"]:
            channel = config.channels[spec["name"]]
            assert (channel.backend, channel.broker_host) == (spec.get("backend", ""), spec.get("brokerHost", ""))
        assert config.selector.kwargs == content["selector"]["kwargs"]
        assert config.optimizer.kwargs == content.get("optimizer", {"kwargs": {}})["kwargs"]
        assert Config.from_dict(json.loads(json.dumps(config.to_dict()))) == config


def test_statement_02_function_tags_lead_to_channels(tmp_path: Path) -> None:
    """A middle aggregator fetches on the channel above it, and distributes on the one below."""
    middles = [content for _, content in ALL if content["role"] in ("middle-aggregator", "leaf-aggregator")]
    assert len(middles) == 22
    for content in middles:
        tags = read(content, tmp_path).func_tag_map
        pairs = {spec["name"]: spec["funcTags"] for spec in content["channels"]}
        (above,) = set(pairs[tags["fetch"]]) - {content["role"]}
        (below,) = set(pairs[tags["distribute"]]) - {content["role"]}
        assert tags["upload"] == tags["fetch"] != tags["aggregate"] == tags["distribute"]
        assert "distribute" in pairs[tags["fetch"]][above] and "fetch" in pairs[tags["distribute"]][below]


def test_statement_03_a_group_that_is_not_listed_or_not_named_is_the_default_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _, content in ALL:
        config = read(content, tmp_path)
        for name, channel in config.channels.items():
            named = config.group_association.get(name)
            assert channel.group_by.groupable_value(named) == (named if named in channel.group_by.value else "default")
            assert channel.group_by.groupable_value("mars") == channel.group_by.groupable_value(None) == "default"
    # What a worker really joins.
    monkeypatch.setenv("FLAME_RENDEZVOUS", str(tmp_path))
    for association, group in (
        ({"param-channel": "us"}, "us"),
        ({"param-channel": "mars"}, "default"),
        ({}, "default"),
    ):
        manager = ChannelManager(read({**PLAIN, "backend": "shm", "groupAssociation": association}, tmp_path))
        manager.join_all()
        channel = manager.get("param-channel")
        manager.cleanup()
        assert channel is not None and channel.groupby() == group
    bare = Config.from_dict(SHAPES["no groups"]).channels["param-channel"]
    assert bare.group_by.groupable_value("us") == "default"


def test_statement_04_a_sampler_is_given_epochs_and_batch_size(tmp_path: Path) -> None:
    for content in CONFIGS["fedbalancer_mnist"]:
        given, kwargs = content["datasampler"]["kwargs"], read(content, tmp_path).datasampler.kwargs
        assert {name: kwargs[name] for name in given} == given
        assert (kwargs["epochs"], kwargs["batchSize"]) == (5, 10)
        kwargs = read(without(content, "hyperparameters"), tmp_path).datasampler.kwargs
        assert (kwargs["epochs"], kwargs["batchSize"]) == (1, 16)


def test_statement_05_empty_choices_are_the_defaults(tmp_path: Path) -> None:
    for _, content in ALL:
        config = read({**content, "selector": {}, "optimizer": {}}, tmp_path)
        assert (config.selector.sort, config.selector.kwargs) == (SelectorType.DEFAULT, {})
        assert (config.optimizer.sort, config.optimizer.kwargs) == (OptimizerType.FEDAVG, {})
        config = read(without(content, "optimizer", "privacy", "datasampler"), tmp_path)
        assert (config.optimizer.sort, config.privacy.sort, config.datasampler.sort) == ("fedavg", "default", "default")
