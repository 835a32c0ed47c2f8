import re
from pathlib import Path

import markup
import pytest
import rundirs
from hypothesis import given
from hypothesis import strategies as st

from flame.lab import comparison, history, report, theme


def four(tmp_path: Path) -> list[Path]:
    names = {"fedavg": 0.7, "fedadam": 0.9, "fedyogi": 0.88, "fedadagrad": 0.8}
    return [
        rundirs.make(tmp_path / name, seed=at, sites=5, rounds=15, final=final, settings={"optimizer": {"sort": name}})
        for at, (name, final) in enumerate(names.items())
    ]


def test_runs_are_overlaid_and_measured_against_a_target(tmp_path):
    page = report.compare(four(tmp_path), tmp_path / "compare.html", ("test-accuracy", 0.75))
    reader = markup.read(page.read_text(encoding="utf-8"))
    words = " ".join(reader.text)
    assert "4 runs compared" in words and "rounds to 0.75" in words and "target 0.75" in words
    assert "never" in words  # fedavg ends at 0.7
    assert all(name in words for name in ("fedavg", "fedadam", "fedyogi", "fedadagrad", "optimizer.sort"))


def test_runs_are_told_apart_by_name_then_settings_then_id(tmp_path):
    same = [history.read(run) for run in four(tmp_path / "a")]
    assert comparison.labels(same) == ["fedavg", "fedadam", "fedyogi", "fedadagrad"]
    named = [history.read(rundirs.make(tmp_path / f"b{at}", name=f"run {at}", rounds=1)) for at in range(2)]
    assert comparison.labels(named) == ["run 0", "run 1"]
    seeds = [history.read(rundirs.make(tmp_path / f"c{at}", seed=at, rounds=1)) for at in range(2)]
    assert comparison.labels(seeds) == ["20250301-101500-0", "20250301-101500-1"]
    assert comparison.labels([seeds[0], seeds[0]]) == ["1: 20250301-101500-0", "2: 20250301-101500-0"]


def test_one_run_a_failed_run_an_empty_run_and_none_at_all(tmp_path):
    (tmp_path / "empty").mkdir()
    failed = rundirs.make(tmp_path / "failed", failed=True, rounds=2)
    for at, dirs in enumerate([[failed], [failed, tmp_path / "empty"], [tmp_path / "empty"], []]):
        page = report.compare(dirs, tmp_path / f"{at}.html", ("test-loss", 0.1))
        markup.read(page.read_text(encoding="utf-8"))
    assert "failed" in (tmp_path / "1.html").read_text(encoding="utf-8")


def long_runs(tmp_path: Path, *values: str) -> list[history.History]:
    return [
        history.read(rundirs.make(tmp_path / str(at), rounds=1, settings={"data": {"filter": value}}))
        for at, value in enumerate(values)
    ]


@pytest.mark.parametrize(
    "values",
    [
        ["a" * 200 + "1", "a" * 200 + "2"],
        ["x " * 100 + "north" + " y" * 100, "x " * 100 + "south" + " y" * 100],
        ["a" * 90 + "1" + "b" * 90, "a" * 90 + "2" + "b" * 90, "a" * 90 + "3" + "b" * 90],
        ["short", "long " * 60],
        ["site " * 50, "site " * 51, "site " * 52],
    ],
)
def test_labels_are_short_and_distinct_however_long_the_settings_are(tmp_path, values):
    found = comparison.labels(long_runs(tmp_path, *values))
    assert len(set(found)) == len(values) and all(len(label) <= 40 for label in found)


def test_a_long_label_keeps_what_differs(tmp_path):
    paths = [f"/data/{'deep/' * 20}{name}/{'more/' * 20}file.csv" for name in ("north", "south")]
    assert comparison.labels(long_runs(tmp_path, *paths)) == ["…north…", "…south…"]


def test_what_differs_is_shown_of_each_setting(tmp_path):
    settings = [
        {"data": {"filter": f"{'x' * 90}/{part}/{'y' * 90}"}, "optimizer": {"sort": sort}}
        for part, sort in (("north", "fedavg"), ("south", "fedadam"))
    ]
    dirs = [rundirs.make(tmp_path / str(at), rounds=2, settings=one) for at, one in enumerate(settings)]
    assert comparison.labels([history.read(one) for one in dirs]) == ["…north…, fedavg", "…south…, fedadam"]
    words = " ".join(markup.read(report.compare(dirs, tmp_path / "c.html").read_text(encoding="utf-8")).text)
    assert "…north…, fedavg …north… fedavg" in words.partition("What differs")[2]


def test_long_names_are_kept_apart_in_the_charts_too(tmp_path):
    names = [f"an experiment with a long name, number {at}, of the spring" for at in range(3)]
    dirs = [rundirs.make(tmp_path / str(at), rounds=3, name=name) for at, name in enumerate(names)]
    page = report.compare(dirs, tmp_path / "compare.html").read_text(encoding="utf-8")
    ends = set(re.findall(r'style="fill:var\(--c\d\);font-weight:600">([^<]+) [\d.]+</text>', page))
    assert len(ends) == 3 and all(len(end) <= 15 for end in ends)


def test_runs_of_jobs_without_rounds_are_compared_in_values(tmp_path):
    dirs = [rundirs.without_rounds(tmp_path / str(at)) for at in range(2)]
    page = report.compare(dirs, tmp_path / "compare.html").read_text(encoding="utf-8")
    words = " ".join(markup.read(page).text)
    assert "<svg" not in page and "metric 1: 20250301-101500-7 2: 20250301-101500-7 count 920 920" in words


@given(st.lists(st.text(max_size=90), max_size=9), st.integers(12, 50))
def test_shortened_texts_differ_where_the_texts_do(texts, width):
    short = theme.distinct(texts, width)
    assert all(len(text) <= width for text in short)
    assert len(set(zip(texts, short, strict=True))) == len(set(texts)) == len(set(short))
