"""Named templates: the topologies that people start from.

A template is a function of keyword options that returns a checked TAG. `TEMPLATES` names them all; a new one
is a function and a line there.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from flame.errors import ConfigError, ExtensionError
from flame.tag.build import build
from flame.tag.schema import DEFAULT_GROUP, Tag

TRAINER, AGGREGATOR = "fetch upload", "distribute aggregate"


def template(name: str, **options: Any) -> Tag:
    """The TAG of a named template.

    Raises:
        ExtensionError: no template has that name.
        ConfigError: the template has no such option, or not with that value.
    """
    if name not in TEMPLATES:
        raise ExtensionError("template", name, sorted(TEMPLATES))
    make = TEMPLATES[name]
    for option in options:
        if option not in inspect.signature(make).parameters:
            known = ", ".join(inspect.signature(make).parameters)
            raise ConfigError(f"template {name}", f"has no option {option!r}", f"options: {known}")
    return make(**options)


def templates() -> dict[str, str]:
    """What each template is, in one line, by name."""
    return {name: (make.__doc__ or "").strip().splitlines()[0] for name, make in TEMPLATES.items()}


def options_of(name: str) -> dict[str, Any]:
    """The options of a template, with their default values."""
    parameters = inspect.signature(TEMPLATES[name]).parameters
    return {option: parameter.default for option, parameter in parameters.items()}


def two_tier(*, group: str = DEFAULT_GROUP) -> Tag:
    """Trainers around one aggregator: classical federated averaging."""
    return (
        build("two-tier")
        .role("trainer", data_consumer=True)
        .role("aggregator")
        .channel("param-channel", {"trainer": TRAINER, "aggregator": AGGREGATOR}, groups=[group])
        .done()
    )


def hierarchical(*, regions: Sequence[str] = ("eu", "na"), depth: int = 3, replica: int = 1) -> Tag:
    """Trainers below one or more tiers of middle aggregators, below a top aggregator.

    Regions may be paths (`eu/west`): each tier further up drops the last part.
    """
    _at_least("hierarchical", "depth", depth, 3)
    tiers = ["middle-aggregator"] if depth == 3 else [f"middle-aggregator-{i}" for i in range(depth - 2, 0, -1)]
    names = ["trainer", *tiers, "top-aggregator"]
    channels = ["param-channel", *(f"channel-{i}" for i in range(depth - 3, 0, -1)), "global-channel"]
    levels = [_shortened(regions, up, is_top=up == depth - 2) for up in range(depth - 1)]
    tag = build("hierarchical", f"{depth} tiers")
    for i, name in enumerate(names):
        rows = []
        for region in regions:
            below = {channels[i - 1]: levels[i - 1][region]} if i else {}
            rows.append(below | ({channels[i]: levels[i][region]} if i < depth - 1 else {}))
        distinct = [row for j, row in enumerate(rows) if row not in rows[:j]]
        middle = 0 < i < depth - 1
        tag.role(name, *distinct, data_consumer=i == 0, replica=replica if middle else 1)
    for i, channel in enumerate(channels):
        groups = dict.fromkeys(levels[i].values())
        tag.channel(channel, {names[i]: TRAINER, names[i + 1]: AGGREGATOR}, groups=groups)
    return tag.done()


def _shortened(regions: Sequence[str], up: int, *, is_top: bool) -> dict[str, str]:
    """For each region its group, some tiers up."""
    if is_top:
        return dict.fromkeys(regions, DEFAULT_GROUP)
    return {
        region: "/".join(region.split("/")[: max(0, region.count("/") + 1 - up)]) or DEFAULT_GROUP for region in regions
    }


def parallel(*, experiments: Sequence[str] = ("asia", "eu", "us")) -> Tag:
    """Several two-tier federations side by side that never meet, such as experiments."""
    _at_least("parallel", "experiments", len(experiments), 1)
    return (
        build("parallel")
        .role("trainer", data_consumer=True)
        .role("aggregator")
        .channel("param-channel", {"trainer": TRAINER, "aggregator": AGGREGATOR}, groups=experiments)
        .done()
    )


def clustered(*, clusters: int = 2) -> Tag:
    """Several aggregators, each with a model of its own; every trainer works on the one that fits its data best."""
    _at_least("clustered", "clusters", clusters, 1)
    return (
        build("clustered")
        .role("trainer", data_consumer=True)
        .role("aggregator", replica=clusters)
        .channel("param-channel", {"trainer": TRAINER, "aggregator": AGGREGATOR})
        .done()
    )


def distributed(*, group: str = DEFAULT_GROUP) -> Tag:
    """Trainers that average among themselves by ring all-reduce, without an aggregator."""
    return (
        build("distributed")
        .role("trainer", data_consumer=True)
        .channel("param-channel", {"trainer": "ring_allreduce"}, groups=[group])
        .done()
    )


def hybrid(*, groups: Sequence[str] = ("eu", "us")) -> Tag:
    """A ring of trainers in each group, and one aggregator over the groups."""
    _at_least("hybrid", "groups", len(groups), 1)
    return (
        build("hybrid")
        .role("trainer", data_consumer=True)
        .role("aggregator")
        .channel("param-channel", {"trainer": "ring_allreduce"}, groups=groups)
        .channel("global-channel", {"trainer": TRAINER, "aggregator": AGGREGATOR})
        .done()
    )


def coordinated(*, aggregators: int = 2) -> Tag:
    """A hierarchy in which a coordinator decides in every round who works with whom."""
    _at_least("coordinated", "aggregators", aggregators, 1)
    return (
        build("coordinated")
        .role("trainer", data_consumer=True)
        .role("middle-aggregator", replica=aggregators)
        .role("top-aggregator")
        .role("coordinator")
        .channel("param-channel", {"trainer": TRAINER, "middle-aggregator": AGGREGATOR})
        .channel("global-channel", {"middle-aggregator": TRAINER, "top-aggregator": AGGREGATOR})
        .channel("trainer-coord-channel", {"trainer": "coordinate", "coordinator": "coordinateWithTrainer"})
        .channel(
            "middle-agg-coord-channel",
            {"middle-aggregator": "coordinate", "coordinator": "coordinateWithMidAgg"},
        )
        .channel("top-agg-coord-channel", {"top-aggregator": "coordinate", "coordinator": "coordinateWithTopAgg"})
        .done()
    )


def _at_least(name: str, option: str, value: int, least: int) -> None:
    if value < least:
        raise ConfigError(f"template {name}", f"{option} is {value}", f"it is at least {least}")


TEMPLATES: Mapping[str, Callable[..., Tag]] = {
    "two-tier": two_tier,
    "hierarchical": hierarchical,
    "parallel": parallel,
    "clustered": clustered,
    "distributed": distributed,
    "hybrid": hybrid,
    "coordinated": coordinated,
}
