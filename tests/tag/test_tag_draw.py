"""Drawings: they show everything, in order, are well formed, and have no text on top of another."""

from __future__ import annotations

import itertools
import re
import time
from xml.etree import ElementTree

import pytest
from good_tags import GOOD

from flame.errors import ExtensionError
from flame.tag import Channel, Role, Tag, draw, expand, read, template, templates
from flame.tag.draw.layout import arrange
from flame.tag.draw.picture import Picture, of_roles, of_workers

TREE = """\
hierarchical
┌─────────────────────┐
│ top-aggregator      ├─ distribute, aggregate ─┐ global-channel (default)
└─────────────────────┘                         │
┌─────────────────────┐                         │
│ middle-aggregator   ├─ fetch, upload ─────────┘
│                     ├─ distribute, aggregate ─┐ param-channel (eu, na)
└─────────────────────┘                         │
┌─────────────────────┐                         │
│ trainer ◆           ├─ fetch, upload ─────────┘
│ one per dataset     │
└─────────────────────┘

◆ consumes data
"""

LOOP = """\
distributed
┌───────────────────┐
│ trainer ◆         ├─ ring_allreduce ─┐ param-channel (default)
│ one per dataset   ├──────────────────┘
└───────────────────┘

◆ consumes data
"""


def test_a_tree_and_a_loop_in_the_terminal() -> None:
    assert draw(template("hierarchical")) == TREE
    assert draw(template("distributed")) == LOOP


@pytest.mark.parametrize("form", ["text", "mermaid", "svg"])
@pytest.mark.parametrize("name", GOOD)
def test_everything_is_in_the_drawing(name: str, form: str) -> None:
    tag = read(GOOD[name])
    drawing = draw(tag, form)
    for role in tag.roles:
        assert role.name in drawing
    for channel in tag.channels:
        assert channel.name in drawing
        for group in channel.groups:
            assert group in drawing
        for tags in channel.func_tags.values():
            assert ", ".join(tags) in drawing


def test_brackets_of_the_terminal_drawing_are_whole() -> None:
    for tag in (read(content) for content in GOOD.values()):
        rows = [row.rstrip() for row in draw(tag).splitlines()]
        assert sum(row.count("┐") for row in rows) == len(tag.roles) + len(tag.channels)
        assert sum(row.count("┘") for row in rows) == len(tag.roles) + len(tag.channels)
        assert max(map(len, rows)) < 110


def workers_of(name: str, **data: int) -> tuple[Tag, str]:
    tag = read(GOOD[name])
    some = {group: [f"{group}{i}" for i in range(count)] for group, count in data.items()}
    return tag, draw(tag, "text", expand(tag, {"trainer": some}))


def test_equal_workers_are_one_box() -> None:
    _, text = workers_of("hier_mnist", eu=100, na=2)
    assert "trainer \N{MULTIPLICATION SIGN}100" in text and "trainer \N{MULTIPLICATION SIGN}2" in text
    assert text.count("middle-aggregator \N{MULTIPLICATION SIGN}1") == 2
    assert text.count("param-channel (eu)") == 1
    _, text = workers_of("syncfl_hier_coord_mnist", default=3)
    assert "middle-aggregator \N{MULTIPLICATION SIGN}2" in text


def test_thousands_of_groups_are_drawn_at_once_and_small() -> None:
    names = [f"r{i}" for i in range(1000)]
    tag = template("hierarchical", regions=names)
    workers = expand(tag, {"trainer": {name: ["x"] * 100 for name in names}})
    start = time.perf_counter()
    drawing = draw(tag, "svg", workers)
    assert time.perf_counter() - start < 2
    assert len(drawing) < 20_000
    assert "trainer \N{MULTIPLICATION SIGN}99,500" in drawing and "in 995 more groups" in drawing


HOSTILE = '</text><script>alert("1")</script>&\x00\n'


def hostile() -> Tag:
    roles = (Role(HOSTILE, is_data_consumer=True, group_association=({},)), Role("b", group_association=({},)))
    channel = Channel(HOSTILE + "c", (HOSTILE, "b"), func_tags={HOSTILE: (HOSTILE,), "b": ("x",)})
    return Tag(HOSTILE, roles, (channel,))


@pytest.mark.parametrize("tag", [*map(template, templates()), hostile()], ids=[*templates(), "hostile"])
def test_an_svg_is_one_well_formed_element_without_references(tag: Tag) -> None:
    svg = draw(tag, "svg")
    root = ElementTree.fromstring(svg)
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert {one.tag.split("}")[1] for one in root.iter()} <= {"svg", "style", "rect", "text", "path"}
    assert not re.search(r"href|url\(|@import|<script", svg)
    assert "prefers-color-scheme:dark" in svg


def test_hostile_names_do_not_leave_their_place() -> None:
    text = draw(hostile(), "mermaid")
    assert "<script" not in text
    assert len(text.splitlines()) == 7
    assert len(draw(hostile(), "text").splitlines()) == len(draw(template("two-tier")).splitlines())


@pytest.mark.parametrize("name", templates())
def test_no_text_of_a_template_lies_on_another_or_beyond_the_edge(name: str) -> None:
    assert_apart(of_roles(template(name)))


@pytest.mark.parametrize("name", GOOD)
def test_no_text_of_an_svg_lies_on_another(name: str) -> None:
    tag = read(GOOD[name])
    data = {group: ["x"] * 3 for group in tag.role("trainer").associations_by_group() if group != "default"}
    for picture in (of_roles(tag), of_workers(tag, expand(tag, {"trainer": data}))):
        assert_apart(picture)


def assert_apart(picture: Picture) -> None:
    layout = arrange(picture)
    texts = [
        *layout.spots,
        *(bend.label for bend in layout.bends),
        *(tag for bend in layout.bends for tag in bend.tags),
    ]
    for one, other in itertools.combinations(texts, 2):
        assert not one.meets(other, room=-2), (one, other)
    for one in texts:
        assert one.x >= 0 and one.x + one.width <= layout.width
        assert one.y >= 0 and one.y + one.height <= layout.height


def test_a_broken_tag_is_drawn_as_far_as_it_goes() -> None:
    tag = Tag("x", (Role("a"), Role("b"), Role("a")), (Channel("c", ("a", "ghost")), Channel("d", ("a", "b"))))
    for form in ("text", "mermaid", "svg"):
        assert "d" in draw(tag, form)
        assert draw(Tag("empty", (), ()), form)


def test_a_form_that_there_is_not() -> None:
    with pytest.raises(ExtensionError, match="mermaid, svg, text"):
        draw(template("two-tier"), "png")
