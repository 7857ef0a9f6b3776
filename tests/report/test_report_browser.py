"""The report in a real browser: sorting, narrow screens.  Skipped where there is no Chromium."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
import subprocess
from html import unescape
from pathlib import Path
from typing import Any

import pytest

from loadtest.report.base.view import (
    Matrix,
    MatrixCell,
    MatrixColumn,
    Report,
    Section,
    Table,
    Trend,
)
from loadtest.report.pages.html import render_view

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = [
    pytest.mark.contract,
    pytest.mark.skipif(CHROMIUM is None, reason="Debian's chromium is not installed"),
]


def seen(page: str, script: str, tmp_path: Path, *, width: int = 1280) -> Any:
    """Open a page, run a script that returns JSON-ready values, and return them."""
    told = f'<script>document.title = "told:" + JSON.stringify((() => {{ {script} }})());</script>'
    path = tmp_path / "page.html"
    path.write_text(page.replace("</body>", f"{told}</body>"), encoding="utf-8")
    assert CHROMIUM is not None
    flags = ("--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path}/profile")
    done = subprocess.run(
        [CHROMIUM, *flags, f"--window-size={width},2000", "--dump-dom", path.as_uri()],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    found = re.search(r"<title>told:(.*?)</title>", done.stdout, re.S)
    assert found is not None, done.stderr[-500:]
    result: Any = json.loads(unescape(found[1]))
    return result


def report(*blocks: Matrix | Table) -> str:
    section = Section("s", "S", "S", blocks)
    return render_view(Report("t", "h", "fail", (), (), (), (section,)))


def test_a_table_sorts_by_value_and_keeps_a_rows_reason_with_it(tmp_path: Path) -> None:
    table = Table(
        "t",
        "T",
        ("cell", "p50"),
        (("b", "1\u202f200.0 ms"), ("a", "90.0 ms"), ("c", "12.3 s"), ("d", "\u22125.00 ms")),
        "lr",
        details=("why b", "why a", "why c", "why d"),
        trends=tuple(Trend((1.0, 2.0)) for _ in range(4)),
    )
    script = """
      const table = document.getElementById("table-t");
      const heads = table.tHead.rows[0].cells;
      const texts = () => [...table.tBodies[0].rows].map(row => row.cells[0].textContent.trim());
      const before = texts();
      heads[2].querySelector("button").click();
      const up = texts(), sorted = heads[2].getAttribute("aria-sort");
      heads[2].querySelector("button").click();
      return [before, up, sorted, texts(), heads[2].getAttribute("aria-sort")];
    """
    before, up, ascending, down, descending = seen(report(table), script, tmp_path)

    assert before == ["b", "why b", "a", "why a", "c", "why c", "d", "why d"]
    assert up == ["d", "why d", "a", "why a", "b", "why b", "c", "why c"]
    assert down == ["c", "why c", "b", "why b", "a", "why a", "d", "why d"]
    assert (ascending, descending) == ("ascending", "descending")


def test_nothing_overlaps_on_a_narrow_screen(tmp_path: Path) -> None:
    cell = MatrixCell(
        "multi", "1347.6 ms", "[1, 2 ms]", "9 ms", "", "9", ("x",), "inconclusive", key="k"
    )
    columns = tuple(MatrixColumn(name, "title", "arm-1") for name in ("a", "b", "c"))
    cells = tuple(dataclasses.replace(cell, key=f"k{number}") for number in range(3))
    page = report(Matrix("m", "c", columns, (("cdg", "Paris", cells),), "n"))
    script = """
      document.querySelector(".page").style.maxWidth = "400px";
      const apart = (a, b) => a.right <= b.left + .5 || b.right <= a.left + .5
        || a.bottom <= b.top + .5 || b.bottom <= a.top + .5;
      return [...document.querySelectorAll(".cell .top")].map(top => {
        const boxes = [...top.children].map(child => child.getBoundingClientRect());
        const own = top.getBoundingClientRect();
        return boxes.every((a, i) => boxes.every((b, j) => i === j || apart(a, b)))
          && boxes.every(box => box.right <= own.right + .5);
      }).concat([document.documentElement.scrollWidth <= document.documentElement.clientWidth]);
    """

    assert seen(page, script, tmp_path, width=500) == [True] * 4
