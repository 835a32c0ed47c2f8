"""Worker configs of the shapes that upstream's example programs come with."""

from __future__ import annotations

from typing import Any

PARAM = {"trainer": ["fetch", "upload"], "aggregator": ["distribute", "aggregate"]}
DOWN = {"trainer": ["fetch", "upload"], "middle-aggregator": ["distribute", "aggregate"]}
UP = {"middle-aggregator": ["fetch", "upload"], "top-aggregator": ["distribute", "aggregate"]}


def channel(name: str, tags: dict[str, list[str]], *groups: str, **more: Any) -> dict[str, Any]:
    pair = [*tags, *tags][:2]
    return {
        "name": name,
        "pair": pair,
        "funcTags": tags,
        "groupBy": {"type": "tag", "value": list(groups)},
        **more,
    }


def config(role: str, channels: list[dict[str, Any]], groups: dict[str, str], **more: Any) -> dict[str, Any]:
    return {
        "taskid": "49d06b7526964db86cf37c70e8e0cdb6bd7aa742",
        "backend": "p2p",
        "brokers": [{"host": "localhost", "sort": "mqtt"}, {"host": "localhost:10104", "sort": "p2p"}],
        "groupAssociation": groups,
        "channels": channels,
        "dataset": "https://storage.example.org/mnist.npz",
        "dependencies": ["numpy >= 1.2.0"],
        "hyperparameters": {"batchSize": 32, "learningRate": 0.01, "rounds": 5},
        "baseModel": {"name": "", "version": 1},
        "job": {"id": "622a358619ab59012eabeefb", "name": "mnist"},
        "registry": {"sort": "dummy", "uri": ""},
        "selector": {"sort": "default", "kwargs": {}},
        "optimizer": {"sort": "fedavg", "kwargs": {}},
        "maxRunTime": 300,
        "realm": "default/us",
        "role": role,
        **more,
    }


def without(content: dict[str, Any], *keys: str) -> dict[str, Any]:
    return {key: value for key, value in content.items() if key not in keys}


PLAIN = config("trainer", [channel("param-channel", PARAM, "us", "uk")], {"param-channel": "us"})
MIDDLE = config(
    "middle-aggregator",
    [channel("param-channel", DOWN, "uk", "us"), channel("global-channel", UP)],
    {"param-channel": "uk", "global-channel": "default"},
)
COORD = {
    "coordinator": ["coordinateWithTrainer"],
    "trainer": ["coordinate"],
}

EXAMPLES: dict[str, dict[str, Any]] = {
    "trainer": PLAIN,
    "aggregator": config("aggregator", [channel("param-channel", PARAM)], {"param-channel": "default"}),
    "middle": without(MIDDLE, "optimizer"),
    "async": config(
        "top-aggregator",
        [channel("global-channel", UP)],
        {"global-channel": "default"},
        selector={"sort": "fedbuff", "kwargs": {"//": "concurrency", "c": 4}},
        optimizer={"sort": "fedbuff", "kwargs": {}},
        hyperparameters={"//": "of the round", "batchSize": 32, "aggGoal": 2, "rounds": 10},
    ),
    "coordinator": without(
        config("coordinator", [channel("coord", COORD)], {}, hyperparameters={"rounds": 10, "concurrency": 2}),
        *("registry", "optimizer", "baseModel", "dataset", "dependencies"),
    ),
    "ring": config(
        "trainer",
        [channel("param-channel", {"trainer": ["ring_allreduce"]}, "default/us")],
        {"param-channel": "default/us"},
        realm="",
    ),
    "per-channel backend": config(
        "trainer",
        [
            channel(
                "param-channel",
                {"trainer": ["ring_allreduce"]},
                "eu",
                backend="p2p",
                brokerHost="localhost:10104",
            ),
            channel(
                "global-channel",
                {"trainer": ["fetch", "upload"], "aggregator": ["distribute"]},
                backend="mqtt",
            ),
        ],
        {"param-channel": "eu", "global-channel": "default"},
        channelConfigs={"param-channel": {"backend": "p2p", "brokers": [], "//": "of old"}},
    ),
    "fedbalancer": config(
        "trainer",
        [channel("param-channel", PARAM)],
        {"param-channel": "default"},
        datasampler={
            "sort": "fedbalancer",
            "kwargs": {"w": 20, "lss": 0.05, "dss": 0.05, "p": 1.0, "noise_factor": 0.0},
        },
    ),
    "private": config(
        "trainer",
        [channel("param-channel", PARAM)],
        {"param-channel": "default"},
        privacy={"sort": "dp", "kwargs": {"clip_threshold": 15, "noise_factor": 0.0001}},
        optimizer={"sort": "fedprox", "kwargs": {"mu": 0}},
    ),
    "from a control plane": without(
        config(
            "aggregator",
            [channel("param-channel", PARAM, "default")],
            {"param-channel": "default"},
            selector={},
            optimizer={},
            baseModel={},
            realm="",
            hyperparameters={"batchSize": "32", "rounds": "5", "learningRate": "0.01"},
        ),
        "maxRunTime",
    ),
    "no groups": config("trainer", [without(channel("param-channel", PARAM), "groupBy")], {}),
}
