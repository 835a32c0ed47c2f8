import math
import re
from itertools import pairwise

import markup
from hypothesis import given, settings
from hypothesis import strategies as st

from flame.lab.axes import ticks
from flame.lab.curves import MAX_LINES, Chart, Series, document, draw

values = st.floats(allow_nan=True, allow_infinity=True)
curve = st.lists(st.tuples(st.integers(1, 10_000), values), max_size=30).map(sorted)
band = st.lists(st.tuples(st.integers(1, 10_000), values, values), max_size=5).map(sorted)
series = st.lists(st.builds(Series, st.text(max_size=40), curve, band), max_size=9)


def line(name: str, *ys: float) -> Series:
    return Series(name, [(at, y) for at, y in enumerate(ys, start=1)])


@settings(max_examples=150, deadline=None)
@given(series, series, st.none() | st.floats(-1e6, 1e6), st.text(max_size=80))
def test_any_numbers_under_any_names_make_a_well_formed_chart(bold, quiet, target, title):
    markup.drawing(draw(Chart(title, bold, quiet, target=target)))
    markup.drawing(document([Chart(title, bold, quiet)] * 2))


@given(st.floats(-1e12, 1e12), st.floats(1e-9, 1e12), st.integers(2, 12))
def test_ticks_cover_the_range_in_equal_round_steps(low, span, count):
    marks = ticks(low, low + span, count)
    slack = 1e-6 * span + 1e-12 * abs(low)
    assert marks[0] <= low + slack and marks[-1] >= low + span - slack
    assert len(marks) <= 2 * count + 2
    step = marks[1] - marks[0]
    assert all(math.isclose(b - a, step, rel_tol=1e-3, abs_tol=abs(low) * 1e-9) for a, b in pairwise(marks))


def test_a_flat_line_still_has_an_axis():
    assert ticks(3, 3)[0] < 3 < ticks(3, 3)[-1]
    assert ticks(0, 0)[0] < 0 < ticks(0, 0)[-1]


def test_a_hundred_sites_are_lines_and_more_are_a_band():
    sites = [line(f"trainer/{at}", 0.1, at / 200) for at in range(MAX_LINES + 1)]
    few, many = draw(Chart("a", [], sites[:-1])), draw(Chart("a", [], sites))
    assert few.count('class="site" d="M') == MAX_LINES + 1  # and one in the legend
    assert 'class="wide"' not in few
    assert many.count('class="site" d="M') == 0
    assert 'class="wide" d="M' in many and "101 sites" in many


def test_an_interval_around_a_line_is_an_area_that_the_axis_has_room_for():
    plain = line("a", 0.4, 0.5, 0.6)
    rows = [(1, 0.3, 0.5), (2, -2.0, math.nan), (3, 0.5, 0.9)]
    drawn = draw(Chart("t", [Series("a", plain.points, rows)]))
    corners = re.search(r'class="band" d="M([^Z]*)Z"', drawn).group(1).split("L")
    xs, ys = zip(*(map(float, corner.split()) for corner in corners), strict=True)
    assert len(corners) == 4 and xs[0] == xs[3] < xs[1] == xs[2]  # the row that is not finite is left out
    assert ys[0] - ys[3] < ys[1] - ys[2] and min(ys) > 54  # 0.2 and 0.4 wide, both inside
    assert 'class="band"' not in draw(Chart("t", [plain]))


def test_the_size_of_a_chart_is_bounded():
    long = [(at, math.sin(at)) for at in range(20_000)]
    chart = Chart("a", [Series(f"run {at}", long) for at in range(4)], [Series(str(at), long) for at in range(100)])
    assert len(draw(chart)) < 250_000
    crowd = [Series(str(at), long[:40]) for at in range(3_000)]
    assert len(draw(Chart("a", [], crowd))) < 20_000


def test_end_labels_never_overlap_and_stay_inside():
    for ends in ((0.5, 0.5001, 0.5002, 0.5003), (0.0, 0.0, 0.0, 1.0), (1.0, 1.0, 1.0, 0.0)):
        svg = draw(Chart("a", [line(f"run {at}", 0.2, end) for at, end in enumerate(ends)]), height=300)
        ys = sorted(float(y) for y in re.findall(r'y="([\d.]+)" style="fill:var\(--c', svg))
        assert len(ys) == 4
        assert all(b - a >= 14.9 for a, b in pairwise(ys))
        assert ys[0] > 40 and ys[-1] <= 300 - 38 + 5


def test_many_highlights_get_a_legend_instead_of_labels():
    svg = draw(Chart("a", [line(f"run {at}", at, at + 1) for at in range(9)]))
    assert "run 0" in svg and 'style="fill:var(--c0)' not in svg


def test_a_line_breaks_where_a_value_is_not_finite_and_says_so():
    svg = draw(Chart("loss", [line("top", 1.0, math.nan, 0.5, 0.4)]))
    path = re.search(r'class="line"[^>]* d="([^"]+)"', svg)
    assert path is not None and path[1].count("M") == 2
    assert "1 value not finite" in svg
    assert "no finite value" in draw(Chart("loss", [line("top", math.nan, math.inf)]))


def test_values_over_decades_are_drawn_by_their_logarithm():
    assert ">1e6<" in draw(Chart("loss", [line("top", 1e6, 1e3, 1.0)]))
    assert ">1e6<" not in draw(Chart("loss", [line("top", 1e6, 0.0, 1.0)]))


def test_every_point_of_a_highlight_tells_its_value():
    svg = draw(Chart("acc", [line("top", 0.25, 0.5)], [line("trainer/1", 0.1, 0.2)]))
    assert "<title>top, round 2: 0.5000</title>" in svg
    assert "<title>trainer/1: 0.2000</title>" in svg
