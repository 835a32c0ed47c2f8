"""The difference of two TAGs: by names; order and descriptions say nothing."""

from __future__ import annotations

import json

import pytest
from good_tags import GOOD
from mutation import put

from flame.tag import diff, read, template


def changed(base: str, *edits: tuple[str, object]) -> list[str]:
    content = json.loads(json.dumps(GOOD[base]))
    for path, value in edits:
        put(content, path, value)
    return [str(change) for change in diff(read(GOOD[base]), read(content)).changes]


@pytest.mark.parametrize("name", GOOD)
def test_a_tag_does_not_differ_from_itself_or_from_itself_reordered(name: str) -> None:
    tag = read(GOOD[name])
    same = diff(tag, tag)
    assert not same.changes and same.lines_changed == same.lines_added == same.lines_removed == 0
    assert str(same) == "no difference"
    content = json.loads(json.dumps(GOOD[name]))
    content["roles"].reverse()
    content["channels"].reverse()
    for channel in content["channels"]:
        channel["pair"].reverse()
        channel["description"] = "another"
    assert diff(tag, read(content)).changes == ()


def test_each_kind_of_change() -> None:
    assert changed("hier_mnist", ("roles[1].replica", 3)) == ["~ roles.middle-aggregator.replica: 1 → 3"]
    assert changed("mnist", ("channels[0].backend", "mqtt")) == ['~ channels.param-channel.backend: "" → "mqtt"']
    assert changed("mnist", ("channels[0].groupBy.value[+]", "eu")) == ["+ channels.param-channel.groups.eu"]
    both = ("channels[0].funcTags.trainer[+]", "tell"), ("channels[0].funcTags.aggregator[+]", "learn")
    assert changed("mnist", *both) == [
        "+ channels.param-channel.funcTags.trainer.tell",
        "+ channels.param-channel.funcTags.aggregator.learn",
    ]


def test_there_and_back() -> None:
    one, other = template("two-tier"), template("hierarchical")
    there, back = diff(one, other), diff(other, one)
    swap = {"added": "removed", "removed": "added", "changed": "changed"}
    assert {(swap[c.kind], c.path) for c in there.changes} == {(c.kind, c.path) for c in back.changes}
    assert (there.lines_added, there.lines_removed) == (back.lines_removed, back.lines_added)
    assert there.lines_changed == back.lines_changed
    assert json.loads(json.dumps(there.to_dict()))["lines"]["changed"] == there.lines_changed
    assert "+ roles.top-aggregator" in str(there) and "lines changed" in str(there)


def test_a_replaced_line_counts_once() -> None:
    found = diff(template("two-tier"), template("two-tier", group="us"))
    assert found.lines_changed == found.lines_added == found.lines_removed == 3
