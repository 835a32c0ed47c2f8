"""Broken TAGs: values of the wrong type, and keys that are missing or unknown."""

from __future__ import annotations

from collections.abc import Iterator

from mutation import CUT, Broken, Edit, many, one


def shapes() -> Iterator[Broken]:
    """Values of the wrong type: one finding at the place, and none about what hangs on it."""
    for value in (None, [], "text", 5, True):
        yield one("mnist", "", value, "shape =")
    for value in ({}, "text", 5):
        yield one("mnist", "roles", value, "shape =")
        yield one("mnist", "channels", value, "shape =")
        yield one("mnist", "connectors", value, "shape =")
    for value in (5, True, [], {}, 1.5):
        yield one("mnist", "name", value, "shape =")
        yield one("mnist", "roles[0].name", value, "shape =")
        yield one("mnist", "channels[0].name", value, "shape =")
    for value in ("two", 1.5, True, [2]):
        yield one("mnist", "roles[1].replica", value, "shape =")
    for value in ("true", 1, [], {}):
        yield one("mnist", "roles[1].isDataConsumer", value, "shape =")
    yield one("mnist", "roles[0].isDataConsumer", "yes", "shape =")
    yield one("mnist", "roles[0]", "trainer", "shape =")
    yield one("mnist", "roles[1]", None, "shape =")
    yield one("mnist", "channels[0]", ["trainer", "aggregator"], "shape =")
    for value in ({"param-channel": "us"}, "us", 3):
        yield one("mnist", "roles[0].groupAssociation", value, "shape =")
    for value in ("us", ["us"], None):
        yield one("mnist", "roles[0].groupAssociation[0]", value, "shape =")
    for value in (5, None, False, ["us"]):
        yield one("mnist", "roles[0].groupAssociation[0].param-channel", value, "shape =")
    for value in ("trainer", {"trainer": "aggregator"}, 2):
        yield one("mnist", "channels[0].pair", value, "shape =")
    for value in ([], ["trainer"], ["trainer", "aggregator", "trainer"]):
        yield one("mnist", "channels[0].pair", value, "shape =")
    for value in (5, None, ["aggregator"]):
        yield one("mnist", "channels[0].pair[1]", value, "shape =")
    for value in ("us", ["us"], 5):
        yield one("mnist", "channels[0].groupBy", value, "shape =")
    yield one("mnist", "channels[0].groupBy.value", "us", "shape =")
    yield one("mnist", "channels[0].groupBy.value[0]", 5, "shape =")
    yield one("mnist", "channels[0].groupBy.type", 5, "shape =")
    for value in ("fetch", ["fetch", "upload"]):
        yield one("mnist", "channels[0].funcTags", value, "shape =")
    for value in ("fetch", {"fetch": True}, None):
        yield one("mnist", "channels[0].funcTags.trainer", value, "shape =")
    yield one("mnist", "channels[0].funcTags.trainer[1]", 7, "shape =")
    for key in ("backend", "brokerHost", "description"):
        yield one("mnist", f"channels[0].{key}", 5, "shape =")
    for key in ("isUnidirectional", "isBidirectional"):
        yield one("mnist", f"channels[0].{key}", "no", "shape =")
    yield one("mnist", "revision", -1, "shape =")
    yield one("mnist", "revision", "3", "shape =")
    yield one("mnist", "connectors[+]", "a connector", "shape connectors[0]")
    edits: list[Edit] = [
        ("roles[0].replica", "x"),
        ("channels[0].pair[0]", 4),
        ("channels[0].backend", "mqt"),
        ("name", ""),
    ]
    yield many(
        "several at once",
        "mnist",
        edits,
        "shape roles[0].replica",
        "shape channels[0].pair[0]",
        "unknown-backend channels[0].backend",
        "bad-name name",
    )


def keys() -> Iterator[Broken]:
    """Keys that are missing or that a TAG does not have."""
    for key in ("name", "roles", "channels"):
        yield one("mnist", key, CUT, "missing-key =")
    yield one("mnist", "roles[0].name", CUT, "missing-key =")
    yield one("mnist", "channels[0].name", CUT, "missing-key =")
    yield one("mnist", "channels[0].pair", CUT, "missing-key =")
    yield one("mnist", "connectors[+]", {"name": "x"}, "missing-key connectors[0].connection")
    for key in ("Roles", "version", "metadata"):
        yield one("mnist", key, [], "unknown-key =")
    for key in ("replicas", "isdataconsumer", "group_association", "loadBalance"):
        yield one("mnist", f"roles[1].{key}", 1, "unknown-key =")
    for key in ("funcTag", "groupby", "pairs", "brokerhost"):
        yield one("mnist", f"channels[0].{key}", "x", "unknown-key =")
    yield one("mnist", "channels[0].groupBy.values", ["us"], "unknown-key =")
    spelt = [("channels[0].pairs", ["trainer", "aggregator"]), ("channels[0].pair", CUT)]
    yield many("pair misspelt", "mnist", spelt, "unknown-key =", "missing-key channels[0].pair")
