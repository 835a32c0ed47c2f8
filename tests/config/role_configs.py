"""The role configs of upstream's 21 library examples: 115 of them, in all their variations.

Upstream's examples come with a config for each process. Where a script makes the configs of many trainers, there is
one template for the aggregator and one for the trainers. Channels that may be of shared memory, and optimizers and
frameworks that can be chosen, have configs of their own. Upstream's count is of its files; where these are written down
nowhere, how they are shared out among the examples is a reading of ours.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import Any

from worker_configs import DOWN, PARAM, UP, channel, config, without

Content = dict[str, Any]

MOSQUITTO = {"backend": "mqtt", "brokers": [{"host": "localhost", "sort": "mqtt"}]}
FEDBUFF = {"selector": {"sort": "fedbuff", "kwargs": {"c": 2}}, "optimizer": {"sort": "fedbuff", "kwargs": {}}}
SIZES = {
    "trainer": ["fetch", "upload", "uploadDatasetSize"],
    "aggregator": ["distribute", "aggregate", "getDatasetSize"],
}
BIASES = {
    "trainer": ["fetch", "upload", "fetchBias", "uploadBias"],
    "aggregator": ["distribute", "aggregate", "aggregateBias", "distributeBias"],
}
RING = {"trainer": ["ring_allreduce"]}
SPOKEN = {"top-aggregator": "TopAgg", "middle-aggregator": "MidAgg", "leaf-aggregator": "LeafAgg", "trainer": "Trainer"}
THREE, FOUR = ("top-aggregator", "middle-aggregator", "trainer"), tuple(SPOKEN)
BELOW = {"top-aggregator": "global-channel", "middle-aggregator": "hier-channel", "leaf-aggregator": "param-channel"}


def hyper(rounds: int | None, **more: Any) -> Content:
    """Hyperparameters; None for the rounds leaves them out."""
    given = {"batchSize": 32, "learningRate": 0.01, "rounds": rounds, **more}
    return {"hyperparameters": {key: value for key, value in given.items() if value is not None}}


def star(
    trainers: int, tags: dict[str, list[str]] = PARAM, *, of_trainer: Content | None = None, **more: Any
) -> list[Content]:
    """An aggregator and its trainers; `of_trainer` is what only these have."""
    channels, groups = [channel("param-channel", tags, "default")], {"param-channel": "default"}
    sites = [config("trainer", channels, groups, **{**more, **(of_trainer or {})}) for _ in range(trainers)]
    return [config("aggregator", channels, groups, **more), *sites]


def tree(regions: Iterable[str], trainers: int, *, over_shm: bool = False, **more: Any) -> Iterator[Content]:
    """A top, an aggregator for each region, trainers; the upper channel may be one of shared memory as well."""
    regions = list(regions)
    down, up = channel("param-channel", DOWN, *regions), channel("global-channel", UP, "default")
    for above in (up, shared(up)) if over_shm else (up,):
        yield config("top-aggregator", [above], {"global-channel": "default"}, **more)
        for region in regions:
            groups = {"param-channel": region, "global-channel": "default"}
            yield config("middle-aggregator", [down, above], groups, realm=f"default/{region}", **more)
    for region in regions:
        for _ in range(trainers):
            yield config("trainer", [down], {"param-channel": region}, realm=f"default/{region}", **more)


def coordinated(
    tiers: tuple[str, ...], *, over_shm: bool = False, middle: Content | None = None, **more: Any
) -> Iterator[Content]:
    """A coordinator, a top, and two of every other role; channels between aggregators may be of shared memory."""
    links = [
        channel(
            "param-channel" if lower == "trainer" else BELOW[upper],
            {lower: ["fetch", "upload"], upper: ["distribute", "aggregate"]},
            "default",
        )
        for upper, lower in pairwise(tiers)
    ]
    talks = [
        channel(f"{role}-coord-channel", {role: ["coordinate"], "coordinator": [f"coordinateWith{SPOKEN[role]}"]})
        for role in tiers
    ]
    rounds = more.pop("coordinator", {"rounds": 10})
    yield without(
        config("coordinator", talks, {one["name"]: "default" for one in talks}, **{**more, "hyperparameters": rounds}),
        *("registry", "optimizer", "baseModel", "dataset", "dependencies"),
    )
    for role, talk in zip(tiers, talks, strict=True):
        mine = [one for one in links if role in one["pair"]]
        variants = [mine]
        if over_shm and role != "trainer":
            variants.append([one if "trainer" in one["pair"] else shared(one) for one in mine])
        own = {**more, **(middle or {})} if role == "middle-aggregator" else more
        for channels in variants:
            for _ in range(1 if role == "top-aggregator" else 2):
                groups = {one["name"]: "default" for one in channels}
                yield without(
                    config(role, [*channels, talk], groups, **own), *([] if "optimizer" in own else ["optimizer"])
                )


def shared(spec: Content) -> Content:
    """The same channel, carried by shared memory."""
    return {**spec, "backend": "shm", "brokerHost": "localhost:10105"}


def ring(groups: list[str], **more: Any) -> Iterator[Content]:
    for group in groups:
        yield config(
            "trainer", [channel("param-channel", RING, *dict.fromkeys(groups))], {"param-channel": group}, **more
        )


def hybrid(**more: Any) -> Iterator[Content]:
    """Rings of two groups below an aggregator, each channel with a backend of its own."""
    param = channel("param-channel", RING, "eu", "us", backend="p2p", brokerHost="localhost:10104")
    above = channel("global-channel", PARAM, "default", backend="mqtt")
    yield config("aggregator", [above], {"global-channel": "default"}, **MOSQUITTO, **more)
    for group in ("eu", "eu", "us", "us"):
        groups = {"param-channel": group, "global-channel": "default"}
        yield config("trainer", [param, above], groups, **MOSQUITTO, **more)


def medmnist() -> Iterator[Content]:
    public = {"backend": "mqtt", "brokers": [{"host": "broker.hivemq.com", "sort": "mqtt"}]}
    adaptive = {"beta_1": 0.9, "beta_2": 0.99, "eta": 0.01, "tau": 0.001}
    arguments: dict[str, Content] = {
        "fedavg": {},
        "fedadagrad": {"beta_1": 0, "eta": 0.1, "tau": 0.01},
        "fedadam": adaptive,
        "fedyogi": adaptive,
    }
    for sort, kwargs in arguments.items():
        yield from star(3, **public, **hyper(10, epochs=4), optimizer={"sort": sort, "kwargs": kwargs})
    yield from star(1, **public, **hyper(5))


def oort() -> list[Content]:
    """Its script numbers the workers; the aggregator's template has another job's id."""
    content = star(1, **MOSQUITTO, **hyper(100), selector={"sort": "oort", "kwargs": {"aggr_num": 3}})
    content[0]["job"] = {**content[0]["job"], "id": "622a358619ab59012eabeefc"}
    return [{**one, "taskid": str(number)} for number, one in enumerate(content)]


def optimizer(sort: str, **kwargs: Any) -> Content:
    return {"optimizer": {"sort": sort, "kwargs": kwargs}}


SAMPLER = {"sort": "fedbalancer", "kwargs": {"w": 20, "lss": 0.05, "dss": 0.05, "p": 1.0, "noise_factor": 0.0}}
PRIVACY = {"sort": "dp", "kwargs": {"clip_threshold": 15, "noise_factor": 0.0001}}
MLFLOW = {
    "backend": "mqtt",
    "brokers": [{"host": "flame-mosquitto", "sort": "mqtt"}],
    "registry": {"sort": "mlflow", "uri": "http://flame-mlflow:5000"},
    "selector": {"sort": "random", "kwargs": {"k": 1}},
}
LEGACY = {"channelConfigs": {"param-channel": {"backend": "p2p", "brokers": [], "//": "of old"}}}


def plain(contents: Iterable[Content]) -> list[Content]:
    """Without the choice of an optimizer."""
    return [without(content, "optimizer") for content in contents]


CONFIGS: dict[str, list[Content]] = {
    "adult": plain(star(1, **MLFLOW, **hyper(5))),
    "async_hier_mnist": list(tree(("uk", "us"), 2, **FEDBUFF, **hyper(10, aggGoal=1))),
    "async_mnist": star(
        4, **{**FEDBUFF, "selector": {"sort": "fedbuff", "kwargs": {"//": "busy", "c": 4}}}, **hyper(10, aggGoal=2)
    ),
    "cifar10_scaffold": star(1, SIZES, **optimizer("scaffold", k=100), **hyper(100, batchSize=50, learningRate=0.1)),
    "compas_fedgft": star(1, BIASES, **optimizer("fedgft", fair="SP", gamma=50, reg="l2"), **hyper(50)),
    "coord_3_hier_syncfl_mnist": list(coordinated(FOUR, over_shm=True, **hyper(10))),
    "coord_hier_asyncfl_mnist": list(
        coordinated(
            THREE,
            coordinator={"rounds": 10, "concurrency": 2},
            middle=hyper(None, aggGoal=1),
            **hyper(10, aggGoal=1),
            **optimizer("fedbuff"),
        )
    ),
    "coord_hier_syncfl_mnist": list(coordinated(THREE, over_shm=True, **hyper(10))),
    "dist_mnist": [
        *ring(["default/us"] * 3, **hyper(10), realm=""),
        *ring(["default/us"] * 3, **hyper(10, epochs=1), dataset="", realm=""),
    ],
    "dp_mnist": star(1, of_trainer={"privacy": PRIVACY}, **hyper(20)),
    "eager_hier_mnist": plain(tree(("us",), 4, over_shm=True, **hyper(5))),
    "fedbalancer_mnist": star(1, **MOSQUITTO, datasampler=SAMPLER, **hyper(20, epochs=5, batchSize=10)),
    "fedscale/femnist": star(1, **hyper(20, weightDecay=0.0005, **{"//": "as the paper has them"})),
    "fedscale/coord_hier_syncfl_femnist": list(coordinated(THREE, **hyper(1000))),
    "hier_mnist": plain(tree(("uk", "us"), 1, **hyper(5))),
    "hybrid": [*hybrid(**hyper(5)), *hybrid(**LEGACY, **hyper(5, epochs=1))],
    "medmnist": list(medmnist()),
    "medmnist_feddyn": star(1, SIZES, **MOSQUITTO, **optimizer("feddyn", alpha=0.01), **hyper(100, epochs=4)),
    "medmnist_fedprox": star(1, **MOSQUITTO, **optimizer("fedprox", mu=0), **hyper(100, epochs=4)),
    "medmnist_oort": oort(),
    "mnist": [*star(1, **hyper(20)), *star(1, **hyper(20, batchSize=None, epochs=2), dataset="")],
}

for _example, _contents in CONFIGS.items():
    for _number, _content in enumerate(_contents):
        if _example != "medmnist_oort":
            _content["taskid"] = hashlib.sha1(f"{_example}/{_number}".encode()).hexdigest()
