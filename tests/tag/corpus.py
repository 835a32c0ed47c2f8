"""Broken TAGs, made from good ones by small mutations, each with exactly the findings that it should give."""

from __future__ import annotations

from collections.abc import Iterator

from corpus_shapes import keys, shapes
from good_tags import GOOD
from mutation import CUT, Broken, Edit, many, one


def corpus() -> list[Broken]:
    """All of them; their names are unique."""
    return [*shapes(), *keys(), *_names(), *_graph(), *_groups(), *_tags(), *_protocols(), *_deadlocks(), *_outside()]


def _names() -> Iterator[Broken]:
    """Names that are empty, taken, or that would lead out of a folder or change a topic."""
    yield one("mnist", "name", "", "bad-name =")
    yield one("mnist", "channels[0].groupBy.value[+]", "", "bad-name channels[0].groupBy.value[1]")
    yield one("mnist", "channels[0].groupBy.value[+]", "a/../b", "bad-name channels[0].groupBy.value[1]")
    yield one("mnist", "channels[0].groupBy.value[+]", "all/#", "bad-name channels[0].groupBy.value[1]")
    yield one("mnist", "channels[0].groupBy.value[+]", "/us", "bad-name channels[0].groupBy.value[1]")
    for name in ("..", "../trainer", "a/b", "a\\b", "/etc", " trainer", "tr\nainer", "tr\x00ainer"):
        edits: list[Edit] = [("roles[0].name", name), ("channels[0].pair[0]", name)]
        edits.append(("channels[0].funcTags", {name: ["fetch", "upload"], "aggregator": ["distribute", "aggregate"]}))
        yield many(f"role named {name!r}", "mnist", edits, "bad-name =")
    for name in ("../channel", "a/b", "."):
        edits = [("channels[0].name", name)]
        edits += [(f"roles[{i}].groupAssociation", [{name: "us"}]) for i in (0, 1)]
        yield many(f"channel named {name!r}", "mnist", edits, "bad-name =")
    hier = GOOD["hier_mnist"]
    again = {**hier["roles"][2], "description": "again"}
    yield one("hier_mnist", "roles[+]", again, "duplicate-role roles[3].name")
    again = {**hier["channels"][1], "funcTags": {"middle-aggregator": [], "top-aggregator": []}}
    yield one("hier_mnist", "channels[+]", again, "duplicate-channel channels[2].name")


def _graph() -> Iterator[Broken]:
    """Pairs, data consumers, connection, replicas, backends."""
    swap: list[Edit] = [("channels[0].pair[1]", "agregator")]
    yield many(
        "pair misspelt in one place",
        "mnist",
        swap,
        "missing-role =",
        "not-connected roles[1]",
        "unknown-channel roles[1].groupAssociation[0].param-channel",
        "foreign-tags channels[0].funcTags.aggregator",
        "no-tags channels[0].funcTags",
        "no-partner channels[0].funcTags.trainer[0]",
        "no-partner channels[0].funcTags.trainer[1]",
    )
    ghost = {"name": "x", "pair": ["trainer", "ghost"], "funcTags": {"trainer": [], "ghost": []}}
    yield one("mnist", "channels[+]", ghost, "missing-role channels[1].pair[1]")
    yield one("mnist", "channels[+]", {**ghost, "pair": ["ghost", "trainer"]}, "missing-role channels[1].pair[0]")
    both = {"name": "x", "pair": ["a", "b"], "funcTags": {"a": [], "b": []}}
    yield one("mnist", "channels[+]", both, "missing-role channels[1].pair[0]", "missing-role channels[1].pair[1]")
    for base in ("mnist", "hier_mnist", "hybrid", "parallel_experiment", "distributed_training"):
        yield one(base, "roles[0].isDataConsumer", CUT, "no-data-consumer roles")
    yield one("mnist", "roles[0].isDataConsumer", False, "no-data-consumer roles")
    yield one("mnist", "roles[+]", {"name": "alone", "groupAssociation": [{}]}, "not-connected roles[2]")
    yield many(
        "upper half cut off",
        "hier_mnist",
        [
            ("channels[1]", CUT),
            ("roles[1].groupAssociation", [{"param-channel": "eu"}, {"param-channel": "na"}]),
            ("roles[2].groupAssociation", [{}]),
        ],
        "not-connected roles[2]",
    )
    yield many(
        "a TAG without roles",
        "mnist",
        [("roles", [])],
        "no-data-consumer roles",
        "missing-role channels[0].pair[0]",
        "missing-role channels[0].pair[1]",
    )
    yield many(
        "a TAG without channels",
        "mnist",
        [("channels", []), ("roles[0].groupAssociation", [{}]), ("roles[1].groupAssociation", [{}])],
        "not-connected roles[1]",
    )
    yield one("mnist", "roles[1].isDataConsumer", True, "joined-data-consumers channels[0].pair")
    yield one("hier_mnist", "roles[1].isDataConsumer", True, "joined-data-consumers channels[0].pair")
    yield one("hybrid", "roles[1].isDataConsumer", True, "joined-data-consumers channels[1].pair")
    for value in (0, -1, 2**31, 10**12):
        yield one("mnist", "roles[1].replica", value, "bad-replica =")
    for value in (2, 0):
        yield one("mnist", "roles[0].replica", value, "bad-replica =")
    for value in ("mqqt", "MQTT", "kafka"):
        yield one("mnist", "channels[0].backend", value, "unknown-backend =")
    yield one("hybrid", "channels[0].backend", "grpc", "unknown-backend =")
    yield from _compressions()


def _compressions() -> Iterator[Broken]:
    """Compressors that there are not, and settings that they do not have."""
    path = "channels[0].compression"
    for value in ("int4", "TOPK", {"sort": "zip"}, {"sort": "fp-16", "kwargs": {}}):
        yield one("mnist", path, value, "bad-compression =")
    for sort, name, value in (
        ("topk", "keep", 0),
        ("topk", "keep", 1.5),
        ("topk", "keep", "0.1"),
        ("topk", "keep", True),
        ("topk", "whole", -1),
        ("topk", "kep", 0.1),
        ("int8", "keep", 0.1),
        ("fp16", "bits", 16),
    ):
        choice = {"sort": sort, "kwargs": {name: value}}
        yield one("mnist", path, choice, f"bad-compression {path}.kwargs.{name}")
    yield one("mnist", path, {"sort": "topk", "kwargs": {"self": 1}}, f"bad-compression {path}.kwargs")
    yield one("mnist", path, {"kwargs": {"keep": 0.1}}, f"missing-key {path}.sort")
    yield one("mnist", path, {"sort": "topk", "keep": 0.1}, f"unknown-key {path}.keep")
    for value in (5, ["int8"], True):
        yield one("mnist", path, value, "shape =")
    yield one("mnist", path, {"sort": "topk", "kwargs": [0.1]}, f"shape {path}.kwargs")
    yield one("mnist", path, {"sort": 8}, f"shape {path}.sort")


def _groups() -> Iterator[Broken]:
    """Groups and associations."""
    yield one("mnist", "channels[0].groupBy.type", "realm", "bad-group-by =")
    yield one("mnist", "channels[0].groupBy.value[+]", "us", "bad-group-by channels[0].groupBy.value[1]")
    yield one(
        "hier_mnist", "channels[0].groupBy.value", ["eu", "na", "eu"], "bad-group-by channels[0].groupBy.value[2]"
    )
    path = "roles[0].groupAssociation[0]"
    yield one(
        "mnist",
        path,
        {"parm-channel": "us"},
        f"unknown-channel {path}.parm-channel",
        "one-sided-group channels[0].groupBy",
        "one-sided-group channels[0].groupBy.value[0]",
    )
    yield one("mnist", f"{path}.other", "us", "unknown-channel =")
    yield one("hier_mnist", f"{path}.global-channel", "default", "unknown-channel =")
    yield one("hier_mnist", "roles[2].groupAssociation[0].param-channel", "eu", "unknown-channel =")
    for role in (0, 1):
        yield one(
            "mnist",
            f"roles[{role}].groupAssociation[0].param-channel",
            "uk",
            "unknown-group =",
            "one-sided-group channels[0].groupBy",
            "one-sided-group channels[0].groupBy.value[0]",
        )
    yield many(
        "both in a group that is not listed",
        "mnist",
        [(f"roles[{i}].groupAssociation[0].param-channel", "uk") for i in (0, 1)],
        "unknown-group =",
        "unknown-group roles[1].groupAssociation[0].param-channel",
    )
    yield one("hier_mnist", "roles[1].groupAssociation[0].global-channel", "top", "unknown-group =")
    for base, role in (("mnist", 0), ("mnist", 1), ("hier_mnist", 1), ("hybrid", 1), ("distributed_training", 0)):
        yield one(base, f"roles[{role}].groupAssociation", [], "no-worker =")
        yield one(base, f"roles[{role}].groupAssociation", CUT, "no-worker =")
    yield one(
        "mnist",
        "roles[0].groupAssociation[+]",
        {"param-channel": "us"},
        "repeated-association roles[0].groupAssociation[1]",
    )
    row = {"global-channel": "default", "param-channel": "us"}
    yield one("hybrid", "roles[0].groupAssociation[+]", row, "repeated-association roles[0].groupAssociation[2]")
    for role in (0, 1):
        for group in range(3):
            side = f"roles[{role}].groupAssociation[{group}]"
            yield one("parallel_experiment", side, CUT, f"one-sided-group channels[0].groupBy.value[{group}]")
    yield one("hier_mnist", "roles[1].groupAssociation[0]", CUT, "one-sided-group channels[0].groupBy.value[0]")
    yield one("hier_mnist", "roles[0].groupAssociation[1]", CUT, "one-sided-group channels[0].groupBy.value[1]")
    # Depth: a region that flows into two groups, and paths that do not get shorter.
    yield many(
        "a region below two tops",
        "hier_mnist",
        [
            ("channels[1].groupBy.value", ["default", "b"]),
            ("roles[2].groupAssociation[+]", {"global-channel": "b"}),
            ("roles[1].groupAssociation[+]", {"param-channel": "eu", "global-channel": "b"}),
        ],
        "group-depth roles[1].groupAssociation[2].global-channel",
    )
    for low, high in (
        ("eu/west", "eu/west"),
        ("eu/west", "na/west"),
        ("eu", "eu/west"),
        ("default/eu", "default/na"),
        ("default/eu", "eu"),
        ("default/eu/west", "default/na"),
        ("a/b/c", "a/c"),
        ("default", "a/b"),
    ):
        yield _deep(low, high)


def _deep(low: str, high: str) -> Broken:
    edits: list[Edit] = [
        ("channels[0].groupBy.value", [low]),
        ("channels[1].groupBy.value", [high]),
        ("roles[0].groupAssociation", [{"param-channel": low}]),
        ("roles[1].groupAssociation", [{"param-channel": low, "global-channel": high}]),
        ("roles[2].groupAssociation", [{"global-channel": high}]),
    ]
    return many(f"{low} below {high}", "hier_mnist", edits, "group-depth roles[1].groupAssociation[0].global-channel")


def _tags() -> Iterator[Broken]:
    """Function tags in the wrong place, without looking at what they do."""
    tags = "channels[0].funcTags"
    yield one("mnist", f"{tags}.trainr", ["fetch"], "foreign-tags =")
    yield one("hier_mnist", f"{tags}.top-aggregator", [], "foreign-tags =")
    for base in ("mnist", "hier_mnist"):
        yield one(base, tags, {}, "no-tags =")
        yield one(base, tags, CUT, "no-tags =")
    yield one("distributed_training", tags, {}, "no-tags =")
    yield one("mnist", f"{tags}.trainer[+]", "fetch", f"repeated-tag {tags}.trainer[2]")
    yield one("mnist", f"{tags}.aggregator[+]", "aggregate", f"repeated-tag {tags}.aggregator[2]")
    twice = {"name": "second", "pair": ["trainer", "aggregator"], "funcTags": {"trainer": ["fetch"], "aggregator": []}}
    yield one(
        "mnist",
        "channels[+]",
        twice,
        "repeated-tag channels[1].funcTags.trainer[0]",
        "no-partner channels[1].funcTags.trainer[0]",
    )
    yield one("mnist", f"{tags}.trainer[+]", "", f"bad-name {tags}.trainer[2]")
    yield one("mnist", f"{tags}.trainer[+]", "a#b", f"bad-name {tags}.trainer[2]")


def _protocols() -> Iterator[Broken]:
    """Functions without a partner: each tag cut from each side of each channel."""
    partner = {
        "fetch": "distribute",
        "upload": "aggregate",
        "ring_allreduce": "ring_allreduce",
        "uploadDatasetSize": "getDatasetSize",
        "uploadBias": "aggregateBias",
        "fetchBias": "distributeBias",
        "coordinate": "coordinateWith",
    }
    partner |= {other: tag for tag, other in partner.items()}
    for base in ("mnist", "hier_mnist", "hybrid", "syncfl_hier_coord_mnist", "sizes", "bias", "four_tiers"):
        for i, channel in enumerate(GOOD[base]["channels"]):
            for role, tags in channel["funcTags"].items():
                other = next((name for name in channel["pair"] if name != role), role)
                for j, tag in enumerate(tags if other != role else ()):
                    wanted = partner.get(tag, "coordinate")
                    left = next(k for k, name in enumerate(channel["funcTags"][other]) if name.startswith(wanted))
                    yield one(
                        base,
                        f"channels[{i}].funcTags.{role}[{j}]",
                        CUT,
                        f"no-partner channels[{i}].funcTags.{other}[{left}]",
                    )
    tags = "channels[0].funcTags"
    for typo in ("fetc", "Fetch", "fetchh"):
        yield one("mnist", f"{tags}.trainer[0]", typo, f"no-partner {tags}.aggregator[0]")
    yield one(
        "mnist",
        f"{tags}.trainer",
        ["distribute", "aggregate"],
        f"no-partner {tags}.trainer[0]",
        f"no-partner {tags}.trainer[1]",
        f"no-partner {tags}.aggregator[0]",
        f"no-partner {tags}.aggregator[1]",
    )
    yield many(
        "a ring between two roles",
        "mnist",
        [(f"{tags}.trainer[+]", "ring_allreduce"), (f"{tags}.aggregator[+]", "ring_allreduce")],
        f"no-partner {tags}.trainer[2]",
        f"no-partner {tags}.aggregator[2]",
    )


def _deadlocks() -> Iterator[Broken]:
    """Every function has a partner, and yet all wait for each other."""
    yield one(
        "distributed_training",
        "channels[0].funcTags.trainer",
        ["fetch", "distribute"],
        "deadlock channels[0].funcTags.trainer[0]",
    )
    ring = [("trainer", "aggregator"), ("aggregator", "top"), ("top", "trainer")]
    work = {"down": ["fetch", "upload"], "up": ["distribute", "aggregate"]}
    channels = [
        {"name": f"c{i}", "pair": list(pair), "funcTags": {pair[0]: work["down"], pair[1]: work["up"]}}
        for i, pair in enumerate(ring)
    ]
    roles = [{"name": name, "groupAssociation": [{}], "isDataConsumer": name == "trainer"} for name, _ in ring]
    yield many(
        "three that fetch from each other",
        "mnist",
        [("roles", roles), ("channels", channels)],
        "deadlock channels[0].funcTags.trainer[0]",
    )
    back = {
        "name": "back",
        "pair": ["middle-aggregator", "top-aggregator"],
        "funcTags": {"top-aggregator": ["fetch", "upload"], "middle-aggregator": ["distribute", "aggregate"]},
    }
    two: list[Edit] = [
        (
            "channels[0]",
            {
                "name": "param-channel",
                "pair": ["trainer", "middle-aggregator"],
                "groupBy": {"type": "tag", "value": ["eu", "na"]},
                "funcTags": {"trainer": [], "middle-aggregator": []},
            },
        ),
        ("channels[+]", back),
    ]
    yield many(
        "two that fetch from each other", "hier_mnist", two, "deadlock channels[1].funcTags.middle-aggregator[0]"
    )


def _outside() -> Iterator[Broken]:
    """What is known besides the TAG: code folders, classes, backends, datasets."""
    yield one("mnist", "description", "no code at all", "no-code roles[0].name", "no-code roles[1].name", code=set())
    yield one("mnist", "description", "no code of one", "no-code roles[1].name", code={"trainer", "Aggregator "})
    classes = {"trainer": {"fetch", "upload"}, "aggregator": {"distribute", "aggregate"}}
    tags = "channels[0].funcTags"
    yield one("mnist", f"{tags}.trainer[+]", "report", f"unknown-tag {tags}.trainer[2]", tags_of=classes)
    yield one(
        "mnist",
        f"{tags}.trainer[0]",
        "fecth",
        f"unknown-tag {tags}.trainer[0]",
        f"no-partner {tags}.aggregator[0]",
        tags_of=classes,
    )
    fewer = {"trainer": {"fetch"}}
    yield one("mnist", "description", "a class with less", f"unknown-tag {tags}.trainer[1]", tags_of=fewer)
    yield one("mnist", "channels[0].backend", "mqtt", "unknown-backend =", backends={"inproc"})
    us = {"us": ["a"]}
    datas: dict[str, tuple[object, tuple[str, ...]]] = {
        "no datasets": ({}, ("no-data data.trainer", "one-sided-group channels[0].groupBy.value[0]")),
        "no group": ({"trainer": {}}, ("no-data data.trainer", "one-sided-group channels[0].groupBy.value[0]")),
        "unknown group": ({"trainer": {**us, "uk": ["b"]}}, ("unknown-data data.trainer.uk",)),
        "unknown role": ({"trainer": us, "trainr": us}, ("unknown-data data.trainr",)),
        "no consumer": ({"trainer": us, "aggregator": us}, ("unknown-data data.aggregator",)),
        "empty group": (
            {"trainer": {"us": []}},
            ("no-data data.trainer.us", "one-sided-group channels[0].groupBy.value[0]"),
        ),
    }
    for name, (data, expected) in datas.items():
        yield one("mnist", "description", name, *expected, data=data)
    yield one(
        "parallel_experiment",
        "description",
        "no data in asia",
        "one-sided-group channels[0].groupBy.value[2]",
        data={"trainer": {"us": ["a"], "eu": ["b"]}},
    )
