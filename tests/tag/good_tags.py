"""The TAGs of Cisco Flame's nine control-plane examples, written down from their description: names, groups, pairs."""

from __future__ import annotations

from typing import Any

TRAINER, AGGREGATOR = ["fetch", "upload"], ["distribute", "aggregate"]
Content = dict[str, Any]


def role(name: str, *associations: dict[str, str], **more: Any) -> Content:
    return {"name": name, "description": f"a {name}", "groupAssociation": list(associations), **more}


def trainer(*associations: dict[str, str]) -> Content:
    return role("trainer", *associations, isDataConsumer=True)


def channel(name: str, groups: list[str] | None, tags: dict[str, list[str]], **more: Any) -> Content:
    names = list(tags)
    row: Content = {"name": name, "description": f"the {name}", "pair": [names[0], names[-1]], "funcTags": tags, **more}
    if groups is not None:
        row["groupBy"] = {"type": "tag", "value": groups}
    return row


def schema(name: str, roles: list[Content], channels: list[Content]) -> Content:
    return {"name": name, "description": "an example", "roles": roles, "channels": channels, "connectors": []}


def star(name: str, groups: list[str]) -> Content:
    rows = [{"param-channel": group} for group in groups]
    tags = {"trainer": TRAINER, "aggregator": AGGREGATOR}
    return schema(name, [trainer(*rows), role("aggregator", *rows)], [channel("param-channel", groups, tags)])


def tree(name: str, regions: list[str], top: str, replica: int | None) -> Content:
    more = {} if replica is None else {"replica": replica}
    middle = [{"param-channel": region, "global-channel": top} for region in regions]
    return schema(
        name,
        [
            trainer(*({"param-channel": region} for region in regions)),
            role("middle-aggregator", *middle, **more),
            role("top-aggregator", {"global-channel": top}),
        ],
        [
            channel("param-channel", regions, {"trainer": TRAINER, "middle-aggregator": AGGREGATOR}),
            channel("global-channel", [top], {"top-aggregator": AGGREGATOR, "middle-aggregator": TRAINER}),
        ],
    )


def hybrid() -> Content:
    rows = [{"param-channel": group, "global-channel": "default"} for group in ("eu", "us")]
    return schema(
        "hybrid",
        [trainer(*rows), role("aggregator", {"global-channel": "default"})],
        [
            channel("param-channel", ["us", "eu"], {"trainer": ["ring_allreduce"]}, backend="p2p"),
            channel("global-channel", ["default"], {"trainer": TRAINER, "aggregator": AGGREGATOR}, backend="mqtt"),
        ],
    )


def coordinated(*, all_named: bool) -> Content:
    """With `all_named` every association names every channel; else only the coordinator's names the coordination."""

    def row(*names: str) -> dict[str, str]:
        return {name: "default" for name in names if all_named or not name.endswith("coord-channel")}

    everyone = ["trainer-coord-channel", "middle-agg-coord-channel", "top-agg-coord-channel"]
    return schema(
        "coordinated",
        [
            role("coordinator", dict.fromkeys(everyone, "default")),
            role("top-aggregator", row("global-channel", "top-agg-coord-channel")),
            role("middle-aggregator", row("param-channel", "global-channel", "middle-agg-coord-channel"), replica=2),
            trainer(row("param-channel", "trainer-coord-channel")),
        ],
        [
            channel(
                "top-agg-coord-channel",
                ["default"],
                {"coordinator": ["coordinateWithTopAgg"], "top-aggregator": ["coordinate"]},
            ),
            channel(
                "middle-agg-coord-channel",
                ["default"],
                {"coordinator": ["coordinateWithMidAgg"], "middle-aggregator": ["coordinate"]},
            ),
            channel(
                "trainer-coord-channel",
                ["default"],
                {"coordinator": ["coordinateWithTrainer"], "trainer": ["coordinate"]},
            ),
            channel("param-channel", ["default"], {"middle-aggregator": AGGREGATOR, "trainer": TRAINER}),
            channel("global-channel", ["default"], {"top-aggregator": AGGREGATOR, "middle-aggregator": TRAINER}),
        ],
    )


def four_tiers() -> Content:
    """The four-tier coordinated federation, whose trainers hang below leaf aggregators."""
    names = ["trainer", "leaf-aggregator", "middle-aggregator", "top-aggregator"]
    data = ["param-channel", "hier-channel", "global-channel"]
    channels = [channel(data[i], None, {names[i]: TRAINER, names[i + 1]: AGGREGATOR}) for i in range(3)] + [
        channel(f"{name}-coord-channel", None, {name: ["coordinate"], "coordinator": [tag]})
        for name, tag in zip(
            names,
            ["coordinateWithTrainer", "coordinateWithLeafAgg", "coordinateWithMidAgg", "coordinateWithTopAgg"],
            strict=True,
        )
    ]
    roles = [trainer({}), *(role(name, {}) for name in names[1:]), role("coordinator", {})]
    return schema("four tiers", roles, channels)


def with_sizes() -> Content:
    """A star whose trainers tell their dataset sizes first."""
    content = star("sizes", ["default"])
    content["channels"][0]["funcTags"] = {
        "trainer": ["fetch", "upload", "uploadDatasetSize"],
        "aggregator": ["distribute", "aggregate", "getDatasetSize"],
    }
    return content


def with_bias() -> Content:
    """A star that is fair: a bias goes up and comes down before training."""
    content = star("bias", ["default"])
    content["channels"][0]["funcTags"] = {
        "trainer": ["fetch", "upload", "fetchBias", "uploadBias"],
        "aggregator": ["distribute", "aggregate", "aggregateBias", "distributeBias"],
    }
    return content


def without_group_by() -> Content:
    content = star("plain", ["default"])
    del content["channels"][0]["groupBy"]
    return content


UPSTREAM: dict[str, Content] = {
    "mnist": star("mnist", ["us"]),
    "medmnist": star("medmnist", ["us"]),
    "hier_mnist": tree("hier_mnist", ["eu", "na"], "default", None),
    "asyncfl_hier_mnist": tree("asyncfl_hier_mnist", ["eu", "na"], "default", 1),
    "asyncfl_hier_mnist_lb": tree("asyncfl_hier_mnist_lb", ["red"], "black", 2),
    "parallel_experiment": star("parallel_experiment", ["us", "eu", "asia"]),
    "distributed_training": schema(
        "distributed_training",
        [trainer({"param-channel": "us"})],
        [channel("param-channel", ["us"], {"trainer": ["ring_allreduce"]})],
    ),
    "hybrid": hybrid(),
    "syncfl_hier_coord_mnist": coordinated(all_named=True),
}

GOOD: dict[str, Content] = {
    **UPSTREAM,
    "coord_without_names": coordinated(all_named=False),
    "four_tiers": four_tiers(),
    "sizes": with_sizes(),
    "bias": with_bias(),
    "without_group_by": without_group_by(),
}
