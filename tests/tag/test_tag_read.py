"""Good files are read as they are; unreadable ones give one finding with its place."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from good_tags import GOOD
from jsonschema import Draft202012Validator

from flame.errors import TagError
from flame.tag import GroupBy, Tag, check, diff, draw, dumps, json_schema, read
from flame.tag.load import parse_text


@pytest.mark.parametrize("name", GOOD)
def test_a_good_tag_has_no_findings(name: str) -> None:
    assert check(read(GOOD[name])) == []


@pytest.mark.parametrize("name", GOOD)
def test_a_tag_written_and_read_again_is_equal(name: str, tmp_path: Path) -> None:
    tag = read(GOOD[name])
    assert read(tag.to_dict()) == tag
    for file, text in {"a.json": dumps(tag), "b.yaml": yaml.safe_dump(tag.to_dict(), sort_keys=False)}.items():
        (tmp_path / file).write_text(text)
        assert read(tmp_path / file) == tag


@pytest.mark.parametrize("name", GOOD)
def test_the_published_json_schema_accepts_good_tags(name: str) -> None:
    schema = json_schema()
    Draft202012Validator.check_schema(schema)
    validator = Draft202012Validator(schema)
    validator.validate(GOOD[name])
    validator.validate(read(GOOD[name]).to_dict())
    assert not validator.is_valid({**GOOD[name], "roels": []})


def test_comments_are_skipped_at_every_level() -> None:
    content = json.loads(json.dumps(GOOD["hybrid"]))
    content["//"] = "a comment"
    content["roles"][0]["//"] = ["another"]
    content["roles"][0]["groupAssociation"][0]["//"] = "a third"
    content["channels"][0]["//"] = {"a": "fourth"}
    content["channels"][0]["groupBy"]["//"] = 5
    content["channels"][0]["funcTags"]["//"] = "a sixth"
    assert read(content) == read(GOOD["hybrid"])


def test_null_is_as_good_as_absent() -> None:
    content = json.loads(json.dumps(GOOD["mnist"]))
    content["channels"][0] |= {"backend": None, "brokerHost": None, "isUnidirectional": None}
    content["roles"][0]["replica"] = None
    assert read(content) == read(GOOD["mnist"])


@pytest.mark.parametrize("group_by", [{}, {"type": "", "value": []}, {"type": "tag", "value": []}, None])
def test_no_groups_means_the_default_group(group_by: object) -> None:
    content = json.loads(json.dumps(GOOD["without_group_by"]))
    content["channels"][0]["groupBy"] = group_by
    assert read(content).channels[0].group_by == GroupBy("tag", ("default",))


@pytest.mark.parametrize(("key", "value"), [("isUnidirectional", True), ("isBidirectional", False)])
def test_both_spellings_of_direction_are_read(key: str, value: bool) -> None:
    content = json.loads(json.dumps(GOOD["mnist"]))
    content["channels"][0][key] = value
    assert read(content).channels[0].is_unidirectional


def test_a_tag_answers_who_meets_whom() -> None:
    tag = read(GOOD["hier_mnist"])
    down, up = tag.channels_of("middle-aggregator")
    assert down.other("trainer") == "middle-aggregator"
    assert down.group_of({"param-channel": "eu"}) == "eu"
    assert down.group_of({"param-channel": "uk"}) == down.group_of({}) == "default"
    assert up.tag_owner("fetch") == ("middle-aggregator",)
    assert up.tags_of("trainer") == ()
    assert tag.role("trainer").is_data_consumer
    assert tag.channel("param-channel") is down
    loop = read(GOOD["distributed_training"]).channels[0]
    assert loop.is_self_loop and loop.other("trainer") == "trainer"
    with pytest.raises(TagError, match="did you mean 'trainer'"):
        tag.role("trainr")
    with pytest.raises(TagError, match="did you mean 'param-channel'"):
        tag.channel("parm-channel")
    with pytest.raises(ValueError, match="not 'top-aggregator'"):
        down.other("top-aggregator")


UNREADABLE = {
    "trailing comma.json": ('{"name": "x",\n "roles": [],}', ":2:14"),
    "empty.json": ("", ":1:1"),
    "two values.json": ("{} {}", ":1:4"),
    "deep.json": ("[" * 100_000, ""),
    "deep.yaml": ("[" * 5_000, ""),
    "huge number.json": ('{"revision": ' + "9" * 5_000 + "}", ""),
    "tab.yaml": ("name: x\n\troles: []", ":2:1"),
    "tagged.yaml": ("name: !!python/object/apply:os.getcwd []", ":1:7"),
    "list as key.yaml": ("? [a]\n: b", ":1:3"),
    "two documents.yaml": ("a: 1\n---\nb: 2", ":2:1"),
}


@pytest.mark.parametrize("name", UNREADABLE)
def test_an_unreadable_file_is_one_finding_with_its_place(name: str, tmp_path: Path) -> None:
    text, place = UNREADABLE[name]
    (tmp_path / name).write_text(text)
    with pytest.raises(TagError) as caught:
        read(tmp_path / name)
    [finding] = caught.value.findings
    assert finding.invariant == "unreadable"
    assert finding.path == f"{tmp_path / name}{place}"


def test_a_file_that_is_not_there_or_not_text(tmp_path: Path) -> None:
    (tmp_path / "latin.json").write_bytes(b'{"name": "caf\xe9"}')
    for name, reason in {"none.json": "No such file", "latin.json": "not UTF-8", ".": "directory"}.items():
        with pytest.raises(TagError, match=reason):
            read(tmp_path / name)


def test_yaml_that_refers_to_itself_ends() -> None:
    laughs = "a: &a [x, x]\n" + "".join(
        f"{chr(98 + i)}: &{chr(98 + i)} [{', '.join([f'*{chr(97 + i)}'] * 9)}]\n" for i in range(20)
    )
    with pytest.raises(TagError) as caught:
        read(parse_text(laughs, is_yaml=True))
    assert {finding.invariant for finding in caught.value.findings} == {"unknown-key", "missing-key"}


def test_records_are_values() -> None:
    assert isinstance(read(GOOD["mnist"]), Tag)
    assert read(GOOD["mnist"]) == read(json.loads(json.dumps(GOOD["mnist"]))) != read(GOOD["hier_mnist"])


@pytest.mark.parametrize(
    ("choice", "plain"),
    [
        ("int8", "int8"),
        ({"sort": "int8"}, "int8"),
        ({"sort": "int8", "kwargs": {}, "//": "small"}, "int8"),
        ({"sort": "topk", "kwargs": {"keep": 0.5, "//": "half"}}, {"sort": "topk", "kwargs": {"keep": 0.5}}),
        (None, None),
        ("", None),
    ],
)
def test_a_channel_may_compress(choice: object, plain: object) -> None:
    """By a name, or a name with settings; it is written as short as it can be, drawn, and told apart."""
    content = json.loads(json.dumps(GOOD["mnist"]))
    content["channels"][0]["compression"] = choice
    if choice is not None:  # null is read, but is not what an editor should propose
        Draft202012Validator(json_schema()).validate(content)
    tag = read(content)
    assert tag.channels[0].to_dict().get("compression") == plain
    assert read(tag.to_dict()) == tag
    assert ("as " + str(tag.channels[0].compression) in draw(tag, "text")) == (plain is not None)
    changes = [str(change) for change in diff(read(GOOD["mnist"]), tag).changes]
    told = [] if plain is None else [f"~ channels.param-channel.compression: null → {json.dumps(plain)}"]
    assert changes == told
