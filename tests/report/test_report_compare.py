"""The comparison page, from two made-up runs of which one is slower by a known share."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest
from synth import Effects, make_plan, write_run

from loadtest.analysis.compare import CellComparison, Comparison, RunComparison, compare
from loadtest.analysis.fingerprint import Difference
from loadtest.analysis.load import load_run
from loadtest.report.pages.compare import (
    build_comparison,
    comparison_tables,
    render,
    render_markdown,
)


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> Comparison:
    root: Path = tmp_path_factory.mktemp("runs")
    slower = Effects(arm_factor={"multi": 1.3})
    before = load_run(write_run(root / "before", make_plan(), seconds=20, seed=1))
    after = load_run(write_run(root / "after", make_plan(), seconds=20, seed=2, effects=slower))
    return compare([before, after])


def test_the_headline_counts_cells_and_names_the_largest_move(compared: Comparison) -> None:
    headline = build_comparison(compared).headline

    assert headline.startswith("Of 12 cells 4 slower")
    assert re.search(r"; multi from \w+ moved most, \+.* at p50$", headline)


def test_movement_is_said_in_words_and_signs(compared: Comparison) -> None:
    page = render(compared)

    assert "▲ slower" in page
    assert page.count('class="figure"') == 12
    assert len(set(re.findall(r'\sid="([^"]+)"', page))) == len(re.findall(r'\sid="([^"]+)"', page))


def test_tables_are_rectangular(compared: Comparison) -> None:
    for table in comparison_tables(compared):
        assert {len(row) for row in table.rows} == {len(table.headers)} == {len(table.align)}
        assert {len(row) for row in table.csv_rows} == {len(table.csv_headers)}


def test_a_forced_comparison_says_what_differs(compared: Comparison) -> None:
    forced = dataclasses.replace(
        compared, differences=(Difference("machine.cpus", ("2", "<script>alert(8)</script>")),)
    )
    page = render(forced)

    assert "The comparison was forced" in page
    assert "<script>alert" not in page
    assert "machine.cpus: 2 /" in render_markdown(forced)


def test_cells_without_samples_have_a_row_and_no_panel() -> None:
    cell = CellComparison("cdg", "multi", "browse", 3, 4, 0.0, (), "unclear", "too few samples")
    page = render(Comparison("a", (RunComparison("b", (cell,)),), (), 1))

    assert "Of 1 cell 1 unclear" in page
    assert 'class="figure"' not in page


def test_every_cell_has_a_curve_from_run_to_run(compared: Comparison) -> None:
    (table,) = comparison_tables(compared)

    assert len(table.trends) == len(table.rows)
    assert all(len(trend.values) == 2 for trend in table.trends)
    multi = next(i for i, row in enumerate(table.rows) if "multi" in row[0])
    assert table.trends[multi].values[1] > 1.2 * table.trends[multi].values[0]
