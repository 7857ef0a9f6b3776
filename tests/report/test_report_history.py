"""The history page, and the small curves of its rows."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from loadtest.analysis.history import Series, change_points
from loadtest.report.base.view import Trend
from loadtest.report.pages.curve import HEIGHT, WIDTH, curve
from loadtest.report.pages.history import build_history, history_tables, render

LEVELS = [100.0 + i % 3 for i in range(8)] + [140.0 + i % 3 for i in range(8)]


def series(name: str = "", levels: list[float] | None = None) -> Series:
    points = [(f"run-{i:02}", value) for i, value in enumerate(levels or LEVELS)]
    return Series(
        "cdg",
        "multi",
        "browse",
        tuple(run for run, _ in points),
        tuple(value for _, value in points),
        change_points(points),
        name,
    )


def test_a_change_of_level_is_told_in_the_headline_and_marked_in_the_curve() -> None:
    page = render([series(), series("GET /<b>")], "reports")

    assert build_history([series()], "reports").headline == (
        "1 of 1 cells changed their level; most of all cdg / multi / browse, "
        "+39.6 % (slower) at run-08"
    )
    assert page.count('class="trend"') == page.count('class="mark"') == 2
    assert "<b>" not in page.split("<main")[1].replace("<b>loadtest</b>", "")
    assert 'aria-label="Median TTFB of cdg / multi / browse: 100.0 ms to 141.0 ms"' in page


def test_a_level_that_stays_is_said_to_stay() -> None:
    flat = [100.0 + i % 3 for i in range(9)]

    assert (
        build_history([series(levels=flat)], "x").headline == "No change of level found in 1 cell"
    )


def test_too_few_runs_are_not_called_a_level_that_stays() -> None:
    page = build_history([series(levels=[100.0, 140.0, 140.0])], "x")

    assert page.badge == "too few runs"
    assert page.headline == "Too few runs to see a change of level: 3, and it takes at least 6"


def test_tables_are_rectangular_and_pages_stand_apart() -> None:
    cells, pages = history_tables([series(), series("GET /")])

    for table in (cells, pages):
        assert {len(row) for row in table.rows} == {len(table.headers)} == {len(table.align)}
        assert {len(row) for row in table.csv_rows} == {len(table.csv_headers)}
        assert len(table.trends) == len(table.rows)
    assert pages.rows[0][0] == "cdg / multi / browse / GET /"


@given(st.lists(st.floats(0.01, 1e6), min_size=1, max_size=30))
def test_a_curve_stays_in_its_box_and_keeps_the_order(values: list[float]) -> None:
    drawn = curve(Trend(tuple(values), (len(values) // 2,)))
    points = [tuple(map(float, pair.split(","))) for pair in drawn.points.split(" ")]

    assert len(points) == len(values)
    assert all(0 <= x <= WIDTH and 0 <= y <= HEIGHT for x, y in points)
    assert [x for x, _ in points] == sorted({x for x, _ in points})
    highest = max(range(len(values)), key=values.__getitem__)
    assert points[highest][1] == min(y for _, y in points)
    assert re.fullmatch(r"[\d., -]+", drawn.points)
