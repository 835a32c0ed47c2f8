"""`flame tag` as a user types it: output, findings on standard error, and exit status 0 or 2."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from good_tags import GOOD

from flame import cli
from flame.tag import dumps, read, template, templates

DATA = [{"role": "trainer", "datasetGroups": {"eu": ["a", "b"], "na": ["c"]}, "//": "three sites"}]


@pytest.fixture
def files(tmp_path: Path) -> Iterator[Path]:
    contents = {
        "good.json": GOOD["hier_mnist"],
        "star.json": GOOD["parallel_experiment"],
        "data.json": DATA,
        "bad.json": {**GOOD["mnist"], "rolse": 1},
    }
    for name, content in contents.items():
        (tmp_path / name).write_text(json.dumps(content))
    with contextlib.chdir(tmp_path):
        yield tmp_path


def flame(capsys: pytest.CaptureFixture[str], command: str) -> tuple[int, str, str]:
    status = cli.main(["tag", *command.split()])
    return status, *capsys.readouterr()


def test_check(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = flame(capsys, "check good.json star.json")
    assert (status, err) == (0, "")
    assert out.splitlines() == ["good.json: sound: 3 roles, 2 channels", "star.json: sound: 2 roles, 1 channel"]
    status, out, err = flame(capsys, "check good.json bad.json")
    assert status == 2 and out.startswith("good.json: sound")
    assert "bad.json: 1 problem" in err and "rolse: is not a key of a TAG (did you mean 'roles'?)" in err


def test_check_as_json(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = flame(capsys, "check --json good.json bad.json")
    good, bad = json.loads(out)["files"]
    assert status == 2 and "rolse" in err
    assert good == {"file": "good.json", "sound": True, "findings": []}
    assert bad["findings"][0]["path"] == "rolse" and bad["findings"][0]["invariant"] == "unknown-key"


def test_check_with_code_and_data(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for role in ("trainer", "middle-aggregator"):
        (files / "code" / role).mkdir(parents=True)
        (files / "code" / role / "main.py").touch()
    status, _, err = flame(capsys, "check good.json --code code --data data.json")
    assert status == 2 and "no code for role 'top-aggregator'" in err
    (files / "code" / "top-aggregator").mkdir()
    assert flame(capsys, "check good.json --code code")[0] == 2
    (files / "code" / "top-aggregator" / "main.py").touch()
    assert flame(capsys, "check good.json --code code --data data.json")[0] == 0
    assert "is not a folder" in flame(capsys, "check good.json --code nowhere")[2]
    assert "no association of role 'trainer' names" in flame(capsys, "check star.json --data data.json")[2]


def test_expand(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = flame(capsys, "expand good.json --data data.json --job-id j")
    rows = [row.split("\t") for row in out.splitlines()]
    assert status == 0 and [row[1] for row in rows] == ["middle-aggregator"] * 2 + ["top-aggregator"] + ["trainer"] * 3
    assert rows[-1][2:] == ["param-channel=na", "c"]
    status, out, _ = flame(capsys, "expand good.json --data data.json --job-id j --json")
    workers = json.loads(out)["files"][0]["workers"]
    assert [one["taskid"] for one in workers] == [row[0] for row in rows]
    assert set(workers[0]) == {"taskid", "role", "groupAssociation", "dataset", "computeId"}
    status, out, err = flame(capsys, "expand star.json --data data.json")
    assert (status, out) == (2, "") and "data.trainer.na" in err


OLD_AND_WRONG = {
    '{"fromSystem": {"0": ["a"]}}': "old form, {fromSystem: …}",
    '{"trainer": {"asia": ["a"]}}': "old form, {role by role: …}",
    '"text"': "is not a list",
    "[5]": "[0]: is not an object",
    '[{"role": 5, "datasetGroups": {}}]': "[0].role: is not the name",
    '[{"role": "trainer"}]': "[0].datasetGroups: is not an object",
    '[{"role": "trainer", "datasetGroups": {"eu": "a"}}]': "[0].datasetGroups.eu: is not a list",
    '[{"role": "trainer", "datasetGroups": {"eu": ["a", 5]}}]': "[0].datasetGroups.eu[1]: is not the name",
    '[{"role": "trainer", "datasetGroup": {}}]': "did you mean 'datasetGroups'?",
    '[{"role": "t", "datasetGroups": {}}, {"role": "t", "datasetGroups": {}}]': "[1].role: 't' has an entry",
    '[{"role": "trainer", "datasetGroups": {}},]': "data.json:1:",
}


@pytest.mark.parametrize("text", OLD_AND_WRONG)
def test_a_wrong_data_spec_is_refused_by_name(text: str, files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (files / "data.json").write_text(text)
    status, out, err = flame(capsys, "expand good.json --data data.json")
    assert (status, out) == (2, "")
    assert OLD_AND_WRONG[text] in err and "data.json" in err


def test_draw(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "global-channel (default)" in flame(capsys, "draw good.json")[1]
    assert "trainer \N{MULTIPLICATION SIGN}2" in flame(capsys, "draw good.json --data data.json")[1]
    assert flame(capsys, "draw good.json --form svg")[1].startswith("<svg ")
    assert "flowchart TB" in json.loads(flame(capsys, "draw good.json --form mermaid --json")[1])["files"][0]["drawing"]


def test_diff(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = flame(capsys, "diff star.json good.json")
    assert status == 0 and "+ roles.top-aggregator" in out
    assert json.loads(flame(capsys, "diff --json star.json good.json")[1])["lines"]["changed"] > 0
    assert "no difference" in flame(capsys, "diff good.json good.json")[1]


@pytest.mark.parametrize("columns", [80, 200])
def test_templates_are_listed_as_wide_as_the_terminal(
    columns: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    status, out, _ = flame(capsys, "template")
    words = " ".join(out.split())
    assert status == 0 and all(f"{name} {told} options: " in words for name, told in templates().items())
    assert max(map(len, out.splitlines())) <= columns


def test_template(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert set(json.loads(flame(capsys, "template --json")[1])) == set(templates())
    out = flame(capsys, "template hierarchical --set regions=a,b --set depth=4 --set replica=2")[1]
    assert out == dumps(template("hierarchical", regions=("a", "b"), depth=4, replica=2))
    assert read(json.loads(flame(capsys, "template two-tier --json --set group=us")[1])) == template(
        "two-tier", group="us"
    )
    for wrong in ("nothing", "two-tier --set grup=us", "two-tier --set group", "hierarchical --set depth=many"):
        status, out, err = flame(capsys, f"template {wrong}")
        assert (status, out) == (2, "") and err.startswith("flame: ")


def test_schema(capsys: pytest.CaptureFixture[str]) -> None:
    assert json.loads(flame(capsys, "schema")[1])["title"] == "Flame TAG"


@pytest.mark.parametrize("command", ["check {}", "expand {} --data data.json", "draw {}", "diff good.json {}"])
@pytest.mark.parametrize("text", [None, "{,", "[]", "null"])
def test_a_file_that_cannot_be_read_is_one_error(
    command: str, text: str | None, files: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if text is not None:
        (files / "x.json").write_text(text)
    status, out, err = flame(capsys, command.format("x.json"))
    assert (status, out) == (2, "")
    assert len(err.splitlines()) == 2 and "x.json" in err and "Traceback" not in err


def test_the_command_itself_survives_a_closed_pipe(files: Path) -> None:
    (files / "data.json").write_text(json.dumps([{"role": "trainer", "datasetGroups": {"eu": ["x"] * 20_000}}]))
    (files / "one.json").write_text(dumps(template("hierarchical", regions=["eu"])))
    run = "import sys; from flame.cli import main; sys.exit(main(sys.argv[1:]))"
    command = [sys.executable, "-c", run, "tag", "expand", "one.json", "--data", "data.json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait() == 0
