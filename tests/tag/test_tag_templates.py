"""Templates and the builder."""

from __future__ import annotations

import pytest

from flame.errors import ConfigError, ExtensionError, TagError
from flame.tag import build, check, dumps, expand, read, template, templates
from flame.tag.templates import options_of


@pytest.mark.parametrize("name", templates())
def test_a_template_is_sound_described_and_readable(name: str) -> None:
    tag = template(name)
    assert check(tag) == []
    assert read(tag.to_dict()) == tag
    assert templates()[name].endswith(".")
    assert all(value is not None for value in options_of(name).values())
    assert max(map(len, dumps(tag).splitlines())) <= 110


@pytest.mark.parametrize("depth", range(3, 8))
@pytest.mark.parametrize("regions", [["eu", "na"], ["eu/west/fr", "eu/north/se", "na/east/us"], ["only"]])
def test_a_hierarchy_of_any_depth(depth: int, regions: list[str]) -> None:
    tag = template("hierarchical", depth=depth, regions=regions)
    assert check(tag) == []
    assert len(tag.roles) == depth and len(tag.channels) == depth - 1
    workers = expand(tag, {"trainer": {region: ["x"] for region in regions}})
    for channel in tag.channels:
        met = [
            {channel.group_of(one.group_association) for one in workers if one.role == role} for role in channel.pair
        ]
        assert met[0] == met[1] == set(channel.groups)


def test_each_tier_drops_the_last_part_of_a_path() -> None:
    tag = template("hierarchical", depth=4, regions=["eu/west", "eu/north", "na/east"])
    assert [channel.groups for channel in tag.channels] == [
        ("eu/west", "eu/north", "na/east"), ("eu", "na"), ("default",),
    ]  # fmt: skip


@pytest.mark.parametrize("name", templates())
def test_a_file_may_name_a_template(name: str) -> None:
    assert read({"template": name}) == template(name)
    assert read({"//": "why", "template": name, "options": {**options_of(name), "//": "all of them"}}) == template(name)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"template": "star"}, "template: there is no template 'star'"),
        ({"template": "hierarchial"}, "did you mean 'hierarchical'"),
        ({"template": 3}, "there is no template 3"),
        ({"template": "two-tier", "roles": []}, "roles: is not a key beside `template`"),
        (
            {"template": "hierarchical", "options": {"deth": 4}},
            "options.deth: is no option of hierarchical .did you mean 'depth'",
        ),
        ({"template": "hierarchical", "options": {"depth": "4"}}, "options.depth: is '4'"),
        ({"template": "hierarchical", "options": {"depth": True}}, "options.depth: is True"),
        ({"template": "hierarchical", "options": {"regions": "eu"}}, "options.regions: is 'eu'"),
        ({"template": "hierarchical", "options": {"depth": 2}}, "it is at least 3"),
        ({"template": "hierarchical", "options": []}, "options: is not an object"),
        ({"template": "parallel", "options": {"experiments": ["a", "a"]}}, "listed twice"),
    ],
)
def test_a_file_that_names_a_template_badly_is_refused(content: dict[str, object], said: str) -> None:
    with pytest.raises(TagError, match=said):
        read(content)


def test_bad_names_and_options_are_refused_by_name() -> None:
    with pytest.raises(ExtensionError, match="two-tier"):
        template("three-tier")
    with pytest.raises(ConfigError, match=r"no option 'deth' \(options: regions, depth, replica\)"):
        template("hierarchical", deth=4)
    with pytest.raises(ConfigError, match="depth is 2"):
        template("hierarchical", depth=2)
    for name, options in (
        ("parallel", {"experiments": []}),
        ("hybrid", {"groups": []}),
        ("coordinated", {"aggregators": 0}),
    ):
        with pytest.raises(ConfigError, match="at least 1"):
            template(name, **options)
    with pytest.raises(TagError, match="listed twice"):
        template("parallel", experiments=["a", "a"])


def test_a_few_lines_are_a_tag() -> None:
    tag = (
        build("two tiers")
        .role("trainer", data_consumer=True)
        .role("aggregator")
        .channel("param-channel", {"trainer": "fetch upload", "aggregator": ["distribute", "aggregate"]})
        .done()
    )
    assert tag.roles == template("two-tier").roles and tag.channels == template("two-tier").channels


def test_groups_spread_over_the_workers_of_a_built_tag() -> None:
    tag = (
        build("x")
        .role("trainer", data_consumer=True)
        .role("aggregator")
        .channel("ring", {"trainer": "ring_allreduce"}, groups=["a", "b"])
        .channel("star", {"trainer": "fetch upload", "aggregator": "distribute aggregate"}, groups=["a", "b"])
        .channel("all", {"trainer": "", "aggregator": ""})
        .done()
    )
    assert tag.role("trainer").group_association == (
        {"ring": "a", "star": "a", "all": "default"}, {"ring": "b", "star": "b", "all": "default"},
    )  # fmt: skip


def test_a_builder_refuses_what_check_refuses() -> None:
    start = build("x").role("trainer", data_consumer=True)
    with pytest.raises(TagError, match="no role is named 'agg'"):
        start.channel("c", {"trainer": "fetch upload", "agg": "distribute aggregate"}).done()
    with pytest.raises(TagError):
        build("x").role("a", data_consumer=True).channel("c", {"a": "", "b": "", "c": ""}).done()
