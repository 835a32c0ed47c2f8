"""Worker configs in upstream's form; those of its example programs are made of them."""

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

SHAPES: dict[str, dict[str, Any]] = {
    "trainer": PLAIN,
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
