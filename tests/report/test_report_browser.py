"""Report, history and comparison in a real browser: screens, keyboard, clicks, screen readers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from browser import SCREENS, chromium, needs_chromium, visit
from synth import Effects, make_plan, write_run

from loadtest.analysis.compare import compare
from loadtest.analysis.history import Series, change_points
from loadtest.analysis.load import load_run
from loadtest.report.base.view import Report, Section, Table, Trend
from loadtest.report.pages import compare as compare_page
from loadtest.report.pages import history as history_page
from loadtest.report.pages.html import render_view
from loadtest.run.judge import judge_folder

pytestmark = [pytest.mark.contract, needs_chromium]

PAGES = ("report", "history", "compare")
LEVELS = [100.0 + i % 3 for i in range(8)] + [140.0 + i % 3 for i in range(8)]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as started:
        yield started


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Write one page of each kind; return their addresses."""
    root: Path = tmp_path_factory.mktemp("pages")
    slower = Effects(
        arm_factor={"multi": 1.3},
        lost_worker="syd",
        error_share={"single": 0.02},
        names=("GET /", "GET /recipes?city=Paris&sort=newest&tags=vegan,quick"),
    )
    before = write_run(root / "before", make_plan(), seconds=12, seed=1)
    after = write_run(root / "after", make_plan(), seconds=12, seed=2, effects=slower)
    report = judge_folder(after).report
    points = [(f"run-{i:02}", value) for i, value in enumerate(LEVELS)]
    series = Series(
        *("cdg", "multi", "browse"),
        tuple(run for run, _ in points),
        tuple(value for _, value in points),
        change_points(points),
    )
    history, comparison = root / "history.html", root / "compare.html"
    history.write_text(history_page.render([series], "reports"), encoding="utf-8")
    runs = [load_run(before), load_run(after)]
    comparison.write_text(compare_page.render(compare(runs, force=True)), encoding="utf-8")
    files = dict(zip(PAGES, (report, history, comparison), strict=True))
    return {name: path.resolve().as_uri() for name, path in files.items()}


@pytest.mark.parametrize("screen", SCREENS)
@pytest.mark.parametrize("page", PAGES)
def test_a_page_is_whole_quiet_and_open_to_all(
    page: str, screen: str, pages: dict[str, str], browser: Any
) -> None:
    """Nothing overlaps, is cut or goes beyond the screen; no error, no request, no barrier."""
    with visit(browser, pages[page], screen) as seen:
        assert seen.crowded() == []
        assert seen.findings() == []
    assert seen.complaints == []


@pytest.mark.parametrize("page", PAGES)
def test_a_page_can_be_read_without_script(page: str, pages: dict[str, str], browser: Any) -> None:
    with visit(browser, pages[page], script=False) as seen:
        sections = seen.page.locator("main section")
        assert sections.count() >= 1
        assert all(one.is_visible() for one in sections.all())
        assert seen.page.locator("thead button").count() == 0
        assert not seen.page.locator("#theme").is_visible()


def test_the_keyboard_reaches_everything_in_the_order_of_the_page(
    pages: dict[str, str], browser: Any
) -> None:
    with visit(browser, pages["report"]) as seen:
        focused = seen.page.locator(":focus")
        seen.page.keyboard.press("Tab")
        assert focused.inner_text() == "Skip to the results"
        seen.page.keyboard.press("Tab")
        assert focused.get_attribute("id") == "theme"
        seen.page.keyboard.press("Enter")
        assert focused.inner_text() == "Theme: light"
        seen.page.keyboard.press("Tab")
        seen.page.keyboard.press("Enter")
        assert seen.page.locator("details.more dl").is_visible()
        seen.page.keyboard.press("Tab")
        assert focused.get_attribute("href") == "#matrix"
        tops = seen.page.evaluate(
            "() => [...document.querySelectorAll('main a, main button, main summary')]"
            ".map(one => one.getBoundingClientRect().top)"
        )
        assert seen.page.locator("[tabindex]:not([tabindex='0'])").count() == 0
        assert len(tops) > 20


def test_a_link_to_a_cell_leads_to_it(pages: dict[str, str], browser: Any) -> None:
    with visit(browser, pages["report"]) as seen:
        link = seen.page.locator(".matrix a.here").last
        name = link.get_attribute("href")
        link.click()
        assert seen.page.url.endswith(name)
    with visit(browser, pages["report"] + name) as seen:
        assert seen.page.locator(":target").get_attribute("id") == name.removeprefix("#")
        top = seen.page.evaluate(
            "() => document.querySelector(':target').getBoundingClientRect().top"
        )
        assert 0 <= top < 900


def test_on_a_narrow_screen_every_deployment_of_a_region_is_in_sight(
    pages: dict[str, str], browser: Any
) -> None:
    with visit(browser, pages["report"], "narrow") as seen:
        first = seen.page.locator(".matrix tbody tr").first
        assert first.get_by_role("cell").count() == 3
        for name in ("single", "multi", "replica"):
            box = first.locator(".arm", has_text=name).bounding_box()
            assert box is not None
            assert box["x"] + box["width"] <= 400


def test_paper_shows_what_the_screen_folds_away(pages: dict[str, str], browser: Any) -> None:
    with visit(browser, pages["report"]) as seen:
        seen.page.emulate_media(media="print")
        seen.page.evaluate("() => window.dispatchEvent(new Event('beforeprint'))")
        assert seen.page.locator("details.more dl").is_visible()
        assert not seen.page.locator("#theme").is_visible()
        assert not seen.page.locator(".tablehead a").first.is_visible()


def test_a_table_sorts_by_value_and_keeps_a_rows_reason_with_it(
    browser: Any, tmp_path: Path
) -> None:
    table = Table(
        "t",
        "T",
        ("cell", "p50"),
        (("b", "1\u202f200.0 ms"), ("a", "90.0 ms"), ("c", "12.3 s"), ("d", "\u22125.00 ms")),
        "lr",
        details=("why b", "why a", "why c", "why d"),
        trends=tuple(Trend((1.0, 2.0)) for _ in range(4)),
    )
    view = Report("t", "h", "fail", (), (), (), (Section("s", "S", "S", (table,)),))
    path = tmp_path / "page.html"
    path.write_text(render_view(view), encoding="utf-8")
    with visit(browser, path.as_uri()) as seen:
        head = seen.page.locator("#table-t thead th").nth(2)
        firsts = seen.page.locator("#table-t tbody tr > :first-child")
        assert firsts.all_inner_texts() == ["b", "why b", "a", "why a", "c", "why c", "d", "why d"]
        head.get_by_role("button").click()
        assert firsts.all_inner_texts() == ["d", "why d", "a", "why a", "b", "why b", "c", "why c"]
        assert head.get_attribute("aria-sort") == "ascending"
        seen.page.keyboard.press("Enter")
        assert firsts.all_inner_texts() == ["c", "why c", "b", "why b", "a", "why a", "d", "why d"]
        assert head.get_attribute("aria-sort") == "descending"
