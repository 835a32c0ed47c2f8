from pathlib import Path

import markup
import rundirs

from flame.lab import comparison, history, report


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
