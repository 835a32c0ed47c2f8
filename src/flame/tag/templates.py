"""Named templates: the topologies that people start from.

A template is a function of keyword options that returns a checked TAG. `TEMPLATES` names them all; a new one
is a function and a line there.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from flame.errors import ConfigError, ExtensionError, TagError, nearest
from flame.tag.build import build
from flame.tag.finding import Finding, hint
from flame.tag.keys import COMMENT, TEMPLATE
from flame.tag.schema import DEFAULT_GROUP, Channel, Compression, Tag

FILE_KEYS = tuple(key.name for key in TEMPLATE)
TRAINER, CHOOSER, AGGREGATOR = "fetch upload", "fetch choose upload", "distribute aggregate"


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


def named(content: Mapping[str, Any], source: str = "") -> Tag:
    """The TAG of a file, `source`, that names a template.

    Raises:
        TagError: there is no such template, or it has no such options.
    """
    found = [
        Finding(str(key), "is not a key beside `template`", hint(str(key), FILE_KEYS), "unknown-key")
        for key in content
        if key not in (*FILE_KEYS, COMMENT)
    ]
    name, options = content["template"], content.get("options", {})
    if not isinstance(name, str) or name not in TEMPLATES:
        close = nearest(str(name), TEMPLATES)
        fix = (f"did you mean {close!r}? " if close else "") + f"there are: {', '.join(sorted(TEMPLATES))}"
        raise TagError([*found, Finding("template", f"there is no template {name!r}", fix, "unknown-template")], source)
    if not isinstance(options, Mapping):
        raise TagError([*found, Finding("options", "is not an object {option: value}", "", "shape")], source)
    given = {key: value for key, value in options.items() if key != COMMENT}
    found += filter(None, (_fault(name, key, value) for key, value in given.items()))
    if not found:
        try:
            return template(name, **given)
        except (ConfigError, TagError) as error:
            found = [Finding("options", str(error), "", "bad-option")]
    raise TagError(found, source)


def _fault(name: str, option: str, value: object) -> Finding | None:
    """What is wrong with an option of a template."""
    defaults, path = options_of(name), f"options.{option}"
    if option not in defaults:
        return Finding(path, f"is no option of {name}", hint(option, defaults), "unknown-option")
    if not _like(value, defaults[option]):
        return Finding(path, f"is {value!r}", f"write something like {json.dumps(defaults[option])}", "shape")
    return None


def _like(value: object, default: object) -> bool:
    """Whether a value from a file can stand for an option with that default."""
    if isinstance(default, str | bool | int):
        return type(value) is type(default)
    return isinstance(value, list | tuple) and all(isinstance(one, str) for one in value)


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


def deep(*, regions: Sequence[str] = ("eu/north", "eu/south", "na/east"), replica: int = 1) -> Tag:
    """Four tiers: sites below edges, edges below clouds, and one aggregator over all."""
    return replace(hierarchical(regions=regions, depth=4, replica=replica), name="deep")


def load_balanced(*, group: str = DEFAULT_GROUP, aggregators: int = 2) -> Tag:
    """Several middle aggregators in one group, any of which a trainer may work for, below a top aggregator."""
    _at_least("load-balanced", "aggregators", aggregators, 1)
    return replace(hierarchical(regions=(group,), replica=aggregators), name="load-balanced")


def edge_cloud(*, regions: Sequence[str] = ("eu", "na")) -> Tag:
    """Three tiers over two networks: shared memory within a site, MQTT with int8 from there to the cloud."""
    tag = hierarchical(regions=regions)
    below, above = tag.channels
    up = replace(above, backend="mqtt", compression=Compression("int8"))
    return _renamed(tag, "edge-cloud", replace(below, backend="shm"), up)


def cross_device(*, group: str = DEFAULT_GROUP) -> Tag:
    """A star of many small devices: MQTT, and what they send in eight bits."""
    tag = two_tier(group=group)
    return _renamed(tag, "cross-device", replace(tag.channels[0], backend="mqtt", compression=Compression("int8")))


def cross_silo(*, group: str = DEFAULT_GROUP) -> Tag:
    """A star of a few organizations, which are called directly."""
    tag = two_tier(group=group)
    return _renamed(tag, "cross-silo", replace(tag.channels[0], backend="p2p"))


def _renamed(tag: Tag, name: str, *channels: Channel) -> Tag:
    return replace(tag, name=name, channels=channels)


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


def parallel_trees(*, experiments: Sequence[str] = ("plain", "changed"), regions: Sequence[str] = ("eu", "na")) -> Tag:
    """Several three-tier federations side by side that never meet."""
    _at_least("parallel-trees", "experiments", len(experiments), 1)
    tops = {f"{experiment}-{region}": experiment for experiment in experiments for region in regions}
    places = list(tops)
    tag = build("parallel-trees")
    tag.role("trainer", *({"param-channel": place} for place in places), data_consumer=True)
    tag.role("middle-aggregator", *({"param-channel": at, "global-channel": tops[at]} for at in places))
    tag.role("top-aggregator", *({"global-channel": experiment} for experiment in experiments))
    tag.channel("param-channel", {"trainer": TRAINER, "middle-aggregator": AGGREGATOR}, groups=places)
    tag.channel("global-channel", {"middle-aggregator": TRAINER, "top-aggregator": AGGREGATOR}, groups=experiments)
    return tag.done()


def clustered(*, clusters: int = 2) -> Tag:
    """Several aggregators, each with a model of its own; every trainer works on the one that fits its data best."""
    _at_least("clustered", "clusters", clusters, 1)
    return (
        build("clustered")
        .role("trainer", data_consumer=True)
        .role("aggregator", replica=clusters)
        .channel("param-channel", {"trainer": CHOOSER, "aggregator": AGGREGATOR})
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


def cyclic(*, group: str = DEFAULT_GROUP) -> Tag:
    """Trainers that hand one model from one to the next: a round is once around."""
    return (
        build("cyclic")
        .role("trainer", data_consumer=True)
        .channel("hand-over-channel", {"trainer": "handOver"}, groups=[group])
        .done()
    )


def gossip_ring(*, group: str = DEFAULT_GROUP) -> Tag:
    """Trainers that mix their models with two neighbours each, in a ring."""
    return _gossip("ring", group)


def gossip_grid(*, group: str = DEFAULT_GROUP) -> Tag:
    """Trainers that mix their models with up to four neighbours each, in a grid."""
    return _gossip("grid", group)


def gossip_full(*, group: str = DEFAULT_GROUP) -> Tag:
    """Trainers that mix their models with all others."""
    return _gossip("full", group)


def gossip_random(*, group: str = DEFAULT_GROUP) -> Tag:
    """Trainers that mix their models with a few neighbours each, chosen at random."""
    return _gossip("random", group)


def _gossip(kind: str, group: str) -> Tag:
    return (
        build(f"gossip-{kind}")
        .role("trainer", data_consumer=True)
        .channel("gossip-channel", {"trainer": f"gossip{kind.capitalize()}"}, groups=[group])
        .done()
    )


def vertical(*, group: str = DEFAULT_GROUP) -> Tag:
    """Parties that hold different columns of the same samples, around the one that holds the labels."""
    return (
        build("vertical")
        .role("feature-holder", data_consumer=True)
        .role("label-holder", data_consumer=True)
        .channel(
            "split-channel",
            {"feature-holder": f"uploadIds {TRAINER}", "label-holder": f"alignIds {AGGREGATOR}"},
            groups=[group],
        )
        .done()
    )


def lifl_coordinated(*, aggregators: int = 2, leaves: int = 2) -> Tag:
    """A coordinated hierarchy of four tiers, with leaf aggregators between trainers and middle aggregators."""
    _at_least("lifl-coordinated", "aggregators", aggregators, 1)
    _at_least("lifl-coordinated", "leaves", leaves, 1)
    tag = (
        build("lifl-coordinated")
        .role("trainer", data_consumer=True)
        .role("leaf-aggregator", replica=leaves)
        .role("middle-aggregator", replica=aggregators)
        .role("top-aggregator")
        .role("coordinator")
        .channel("param-channel", {"trainer": TRAINER, "leaf-aggregator": AGGREGATOR})
        .channel("hier-channel", {"leaf-aggregator": TRAINER, "middle-aggregator": AGGREGATOR})
        .channel("global-channel", {"middle-aggregator": TRAINER, "top-aggregator": AGGREGATOR})
    )
    for tier, name in (
        ("trainer", "Trainer"),
        ("leaf-agg", "LeafAgg"),
        ("middle-agg", "MidAgg"),
        ("top-agg", "TopAgg"),
    ):
        role = tier.replace("-agg", "-aggregator")
        tag.channel(f"{tier}-coord-channel", {role: "coordinate", "coordinator": f"coordinateWith{name}"})
    return tag.done()


def _at_least(name: str, option: str, value: int, least: int) -> None:
    if value < least:
        raise ConfigError(f"template {name}", f"{option} is {value}", f"it is at least {least}")


TEMPLATES: Mapping[str, Callable[..., Tag]] = {
    "two-tier": two_tier,
    "cross-silo": cross_silo,
    "cross-device": cross_device,
    "hierarchical": hierarchical,
    "deep": deep,
    "load-balanced": load_balanced,
    "edge-cloud": edge_cloud,
    "parallel": parallel,
    "parallel-trees": parallel_trees,
    "clustered": clustered,
    "distributed": distributed,
    "hybrid": hybrid,
    "coordinated": coordinated,
    "cyclic": cyclic,
    "gossip-ring": gossip_ring,
    "gossip-grid": gossip_grid,
    "gossip-full": gossip_full,
    "gossip-random": gossip_random,
    "vertical": vertical,
    "lifl-coordinated": lifl_coordinated,
}
