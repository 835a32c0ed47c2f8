import json
import re
from pathlib import Path

import pytest
import rundirs

from flame.lab import history, report, theme, timeline
from flame.lab.history import Span, Total


def span(worker: str, alias: str, at: int, start: float, seconds: float, host: str = "0") -> Span:
    return Span(worker, worker.partition("/")[0], host, alias, at, start, seconds)


def test_a_round_begins_when_the_top_says_so_and_not_when_a_worker_waits_for_it(tmp_path):
    run = rundirs.make(tmp_path / "run", sites=2, rounds=3)
    table = json.loads((run / "timeline.json").read_text())
    waits = [rundirs.span("trainer/0", "trainer", 0, "fetch", at, 0.1, 5.0) for at in (2, 4)]
    middle = {"worker": "middle-aggregator/0", "round": 2, "start": 0.0, "seconds": 99.0}
    rundirs.dump(run / "timeline.json", table | {"spans": table["spans"] + waits, "rounds": [middle, *table["rounds"]]})
    read = history.read(rundirs.as_tree(run))
    starts = timeline.starts(read)
    assert list(starts) == [1, 2, 3]
    assert starts == {row["round"]: row["start"] for row in table["rounds"]}
    assert {row.worker for row in read.top_rounds} == {"top-aggregator/0"}


def test_without_an_aggregator_a_round_begins_with_its_first_span(tmp_path):
    rundirs.dump(tmp_path / "timeline.json", {"spans": [rundirs.span("peer/0", "peer", 0, "train", 1, 0.5, 1.0)]})
    assert timeline.starts(history.read(tmp_path)) == {1: 0.5}


def test_lanes_are_by_role_then_host_then_number():
    spans = [span(f"trainer/{at}", "train", 1, at / 10, 0.1, host=str(at % 2)) for at in range(12)]
    rows, _ = timeline.lanes([*spans, span("top/0", "aggregate", 1, 0.0, 2.0)], ["top", "trainer"], [1])
    assert rows[0] == "top/0"
    assert rows[1:] == [f"trainer/{at}" for at in (0, 2, 4, 6, 8, 10, 1, 3, 5, 7, 9, 11)]


def test_a_crowd_leaves_room_for_every_role():
    spans = [span(f"{role}/{at}", "work", 1, 0.0, 1.0) for role in ("top", "middle", "leaf") for at in range(500)]
    rows, bars = timeline.lanes(spans, ["top", "middle", "leaf"], [1])
    assert len(rows) <= 14 and {row.partition("/")[0] for row in rows} == {"top", "middle", "leaf"}
    assert {bar.worker for bar in bars} == set(rows)


def test_only_the_first_rounds_are_drawn():
    spans = [span("top/0", "aggregate", at, float(at), 1.0) for at in range(1, 50)]
    _, bars = timeline.lanes(spans, ["top"], list(range(1, 50)))
    assert [bar.round for bar in bars] == [1, 2, 3]


def test_who_joins_only_later_has_no_empty_lane():
    spans = [span(f"trainer/{at}", "train", at, float(at), 1.0) for at in range(1, 50)]
    assert timeline.lanes(spans, ["trainer"], list(range(1, 50)))[0] == ["trainer/1", "trainer/2", "trainer/3"]


def test_a_round_that_began_before_anything_was_measured_still_has_its_mark():
    bars = [span("top/0", "aggregate", 1, 9.0, 1.0), span("top/0", "aggregate", 2, 10.0, 1.0)]
    svg = timeline.gantt(["top/0"], bars, {}, {1: 0.0, 2: 10.0, 3: 11.0})
    assert re.findall(r">(round \d)<", svg) == ["round 1", "round 2"]


def test_tasklets_beyond_the_palette_share_one_entry_of_the_legend():
    totals = [Total("r", f"step {at}", 1, 100.0 - at) for at in range(20)]
    colours = timeline.hues(totals, [])
    assert len(set(colours.values())) == 9
    legend = timeline.legend(colours.keys(), colours)
    assert legend.count("<span>") == 9 and legend.endswith("other</span></p>")


def test_the_bars_of_a_round_are_what_a_worker_spends_on_the_mean():
    spans = [span("trainer/0", "train", 1, 0.0, 1.0), span("trainer/1", "train", 1, 0.0, 3.0)]
    spans += [span("trainer/0", "train", 2, 4.0, 0.5)]
    svg = timeline.stack("trainer", spans, timeline.hues([], spans))
    assert re.findall(r"<title>([^<]+)</title>", svg) == ["train, round 1: 2.0 s", "train, round 2: 500 ms"]


def test_hundreds_of_rounds_are_drawn_as_sixty_bars():
    spans = [span("trainer/0", "train", at, float(at), 1.0) for at in range(1, 601)]
    svg = timeline.stack("trainer", spans, timeline.hues([], spans))
    assert svg.count("<rect") == 60 and "train, rounds 591 to 600: 1.0 s" in svg


def page(run: Path) -> str:
    return report.write(run).read_text(encoding="utf-8")


def test_hosts_are_named_where_there_are_several(tmp_path):
    assert ">host 1</text>" in page(rundirs.make(tmp_path / "two", sites=4, rounds=2))
    assert ">host 0</text>" not in page(rundirs.make(tmp_path / "one", sites=1, rounds=2))


@pytest.mark.parametrize("last", [10.0, 0.1, 0.001])
def test_no_label_is_cut_off_or_runs_into_the_next_line(last):
    bars = [span("top/0", "aggregate", 1, 0.0, 100.0), span("top/0", "aggregate", 2, 100.0, last)]
    svg = timeline.gantt(["top/0"], bars, {}, {1: 0.0, 2: 100.0, 3: 100.0 + last - 1e-6})
    lines = [float(x) for x in re.findall(r'class="target" d="M([\d.]+)', svg)]
    assert len(lines) == 3
    for x, word in re.findall(r'class="strong" x="([\d.]+)"[^>]*>([^<]+)<', svg):
        ends = float(x) + theme.BOLD * len(word)
        assert ends <= 1120 and not any(float(x) < line < ends for line in lines)


def test_no_mark_of_the_axis_is_cut_off():
    svg = timeline.gantt(["top/0"], [span("top/0", "aggregate", 1, 0.0, 1000.0)], {}, {})
    marks = re.findall(r'<text x="([\d.]+)" y="[\d.]+" text-anchor="middle">([^<]+)<', svg)
    assert marks[-1][1] == "16.7 min"
    assert all(float(x) + theme.LETTER * len(word) / 2 <= 1120 + 0.1 for x, word in marks)
