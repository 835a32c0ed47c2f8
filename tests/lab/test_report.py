import json
import math
import re
import shutil
from pathlib import Path

import markup
import pytest
import rundirs

from flame.errors import ConfigError
from flame.lab import report

HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(1)>\"'&\x00\u202e"


def text(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def shown(path: Path) -> str:
    return " ".join(" ".join(markup.read(text(path)).text).split())


def test_the_page_tells_the_story_of_a_run(tmp_path):
    page = report.write(rundirs.make(tmp_path / "run"))
    assert page == tmp_path / "run" / "report.html"
    words = shown(page)
    for expected in (
        "medmnist",
        "completed",
        "seed 7",
        "best 0.8",
        "first round after 1.4 s",
        "on 2 hosts",
        "top-aggregator",
        "site_009.npz",
        "hyperparameters.batchSize",
        "flame run examples/medmnist --hosts 2 --seed 7",
        "Topology",
        "Where the time went",
    ):
        assert expected in words, expected
    assert not list(page.parent.glob("*.part"))


def test_the_page_can_fetch_and_run_nothing_but_its_own_lines(tmp_path):
    page = text(report.write(rundirs.make(tmp_path / "run")))
    assert "default-src 'none'" in page and "script-src 'sha256-" in page
    assert markup.read(page).tags["script"] == 1


@pytest.mark.parametrize(
    ("shape", "limit_kb"),
    [
        ({"sites": 1, "rounds": 1}, 30),
        ({"sites": 1, "rounds": 300}, 400),
        ({"sites": 4, "rounds": 8}, 100),
        ({"sites": 100, "rounds": 30}, 600),
        ({"sites": 1000, "per_round": 50, "rounds": 20}, 400),
        ({"sites": 10_000, "per_round": 2_000, "rounds": 3}, 400),
    ],
)
def test_any_shape_of_run_makes_a_small_sound_page(tmp_path, shape, limit_kb):
    page = text(report.write(rundirs.make(tmp_path / "run", **shape)))
    markup.read(page)
    assert len(page.encode()) < limit_kb * 1000


def test_a_crowd_of_sites_is_told_by_its_extremes(tmp_path):
    page = report.write(rundirs.make(tmp_path / "run", sites=1000, rounds=2))
    assert "The 400 sites lowest and highest in test-accuracy, of 1,000" in shown(page)
    assert markup.read(text(page)).tags["tr"] < 460


def test_a_failed_run_shows_who_raised_and_the_traceback(tmp_path):
    words = shown(report.write(rundirs.make(tmp_path / "run", failed=True, rounds=2)))
    assert "trainer/3 (role trainer) raised" in words
    assert 'ValueError: labels <0> are out of range & "odd"' in words
    assert 'File "trainer/main.py", line 31, in criterion' in words


@pytest.mark.parametrize(
    "gone", ["metrics.json", "timeline.json", "tag.json", "run.json", "configs.jsonl", "metrics.csv"]
)
@pytest.mark.parametrize("emptied", [True, False])
def test_a_missing_or_empty_file_leaves_its_section_out(tmp_path, gone, emptied):
    run = rundirs.make(tmp_path / "run", sites=3, rounds=2)
    (run / gone).unlink()
    if emptied:
        (run / gone).touch()
    markup.read(text(report.write(run)))


def test_an_empty_directory_still_gives_a_page(tmp_path):
    words = shown(report.write(tmp_path))
    assert "unfinished" in words and "No worker reported a metric." in words


def test_what_is_no_run_directory_or_is_damaged_is_refused_by_name(tmp_path):
    with pytest.raises(ConfigError, match="is not a run directory"):
        report.write(tmp_path / "nowhere")
    run = rundirs.make(tmp_path / "run", sites=2, rounds=1)
    (run / "metrics.json").write_text('{"records": [')
    with pytest.raises(ConfigError, match=r"metrics\.json: is damaged"):
        report.write(run)
    assert not (run / "report.html").exists()


def test_values_that_are_not_finite_are_shown_as_such(tmp_path):
    run = rundirs.make(tmp_path / "run", sites=3, rounds=3)
    table = json.loads((run / "metrics.json").read_text())
    for record, value in zip(table["records"], [math.nan, math.inf, -math.inf, None, "x", 10**400] * 2, strict=True):
        record["values"] = dict.fromkeys(record["values"], value)
    rundirs.dump(run / "metrics.json", table)
    assert "NaN" in shown(report.write(run))


def test_hostile_names_are_only_text(tmp_path):
    run = rundirs.make(tmp_path / "run", sites=3, rounds=2, name=HOSTILE, settings={HOSTILE: HOSTILE})
    for file in ("metrics.json", "timeline.json"):
        content = (run / file).read_text()
        for word in ("trainer/", "test-accuracy", "fetch", "file:data"):
            content = content.replace(word, json.dumps(HOSTILE)[1:-1] + word)
        (run / file).write_text(content)
    rundirs.change(
        run,
        id=HOSTILE,
        status=HOSTILE,
        started=HOSTILE,
        seed=HOSTILE,
        command=HOSTILE,
        roles={HOSTILE: 1},
        error={"worker": HOSTILE, "role": HOSTILE, "traceback": HOSTILE},
    )
    page = text(report.write(run))
    reader = markup.read(page)
    assert reader.tags["script"] == 1 and "img" not in reader.tags
    assert "\x00" not in page and "\u202e" not in page


def test_a_hundred_metrics_do_not_make_a_hundred_charts(tmp_path):
    run = rundirs.make(tmp_path / "run", sites=100, rounds=60)
    table = json.loads((run / "metrics.json").read_text())
    for record in table["records"]:
        record["values"] |= {f"metric-{at}": at + record["round"] / 7 for at in range(98)}
    rundirs.dump(run / "metrics.json", table)
    page = text(report.write(run))
    assert "more metrics in metrics.csv" in " ".join(markup.read(page).text)
    assert len(page.encode()) < 2_000_000


def test_writing_again_replaces_the_page(tmp_path):
    run = rundirs.make(tmp_path / "run", sites=2, rounds=2)
    before = text(report.write(run))
    assert text(report.write(run)) == before
    shutil.rmtree(run)


def test_a_tree_is_drawn_by_its_roles_and_by_its_workers(tmp_path):
    star, tree = rundirs.make(tmp_path / "star"), rundirs.as_tree(rundirs.make(tmp_path / "tree"))
    assert text(report.write(star)).count('<div class="drawing">') == 1
    page = text(report.write(tree))
    assert page.count('<div class="drawing">') == 2
    markup.read(page)


def test_damaged_configs_are_refused_by_name(tmp_path):
    run = rundirs.make(tmp_path / "run", sites=1, rounds=1)
    (run / "configs.jsonl").write_text('{"role": "trainer"}\n{"role"\n')
    with pytest.raises(ConfigError, match=r"configs\.jsonl: is damaged"):
        report.write(run)


def test_the_page_shows_the_resolved_settings_under_the_changed_ones(tmp_path):
    run = rundirs.make(tmp_path / "run", sites=1, rounds=1, settings={"hyperparameters.rounds": 3})
    config = rundirs.config(0, 1) | {"hyperparameters": {"rounds": 10, "epochs": 2}, "optimizer": {"sort": "fedyogi"}}
    (run / "configs.jsonl").write_text(json.dumps(config) + "\n")
    words = shown(report.write(run))
    assert "hyperparameters.epochs 2 optimizer.sort fedyogi" in words
    assert "hyperparameters.rounds 3" in words and "hyperparameters.rounds 10" not in words


def test_memory_and_unreached_rounds_are_told(tmp_path):
    run = rundirs.make(tmp_path / "run", sites=1, rounds=2)
    error = {"worker": "", "role": "", "traceback": "host 1 was killed"}
    rundirs.change(run, status="failed", rounds_asked=9, peak_bytes={"0": 3e8, "1": 2e8}, error=error)
    words = shown(report.write(run))
    assert "of 9 asked" in words and "500 MB" in words and "largest host 300 MB" in words
    assert "The run stopped: host 1 was killed" in words


def test_a_job_without_rounds_is_told_in_values(tmp_path):
    page = report.write(rundirs.without_rounds(tmp_path / "run"))
    words = shown(page)
    assert not re.search(r"(?<!:)\brounds?\b", words.partition("Run it again")[0])  # a style may say `:round`
    assert "metric top-aggregator count 920 mean 53.51 quantile-0.5 54 Topology" in words
    assert "4 workers; a bar is one tasklet." not in words and "5 workers; a bar is one tasklet." in words
    assert text(page).count("<svg") == 2  # the TAG and the timeline


def test_what_was_measured_in_one_round_is_a_table_and_what_in_several_a_curve(tmp_path):
    single = report.write(rundirs.make(tmp_path / "one", sites=9, rounds=1))
    words = shown(single)
    assert "metric top-aggregator mean lowest site highest site test-accuracy" in words
    assert 'class="line"' not in text(single) and "of 1 asked" not in words
    run = rundirs.make(tmp_path / "both", sites=9, rounds=3)
    table = json.loads((run / "metrics.json").read_text())
    table["records"][-1]["values"]["final-score"] = 0.625
    rundirs.dump(run / "metrics.json", table)
    both = report.write(run)
    assert "metric top-aggregator final-score 0.6250" in shown(both)
    assert text(both).count('aria-label="test-accuracy"') == 1 and 'aria-label="final-score"' not in text(both)


def test_a_run_that_was_cut_short_before_its_first_round_says_how_many_were_asked(tmp_path):
    run = rundirs.without_rounds(tmp_path / "run")
    rundirs.change(run, status="failed", rounds_asked=12)
    words = shown(report.write(run))
    assert "rounds 0 of 12 asked" in words and "first round after" not in words


def test_a_single_thing_is_not_counted_as_several(tmp_path):
    run = rundirs.make(tmp_path / "run", sites=1, rounds=2)
    timeline = json.loads((run / "timeline.json").read_text())
    extra = [{"role": "trainer", "alias": f"step {at}", "count": 1, "seconds": 9.0} for at in range(2)]
    rundirs.dump(run / "timeline.json", timeline | {"totals": timeline["totals"] + extra})
    rundirs.change(run, messages=1, hosts=1, rounds=1, workers=1)
    words = shown(report.write(run))
    assert "in 1 message " in words and "on 1 host " in words and "1 shorter one " in words
    for wrong in ("1 messages", "1 hosts", "1 rounds", "1 workers", "1 shorter ones"):
        assert wrong not in words
