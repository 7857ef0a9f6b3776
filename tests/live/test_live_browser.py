"""The live page in a real browser: what it shows changes as the run goes on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from browser import SCREENS, chromium, needs_chromium, visit
from live_board import TOKEN, glance, served, status

from loadtest.live.server import LiveServer

pytestmark = [pytest.mark.contract, needs_chromium]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as started:
        yield started


def address(server: LiveServer) -> str:
    return f"http://127.0.0.1:{server.server_port}/{TOKEN}/"


@pytest.mark.parametrize("screen", SCREENS)
def test_the_live_page_is_whole_quiet_and_open_to_all(screen: str, browser: Any) -> None:
    """Nothing overlaps, is cut or goes beyond the screen; no error, no request, no barrier."""
    with served() as (board, server):
        for number in range(1, 9):
            board.load(status(number), 20.0)
        board.world(glance())
        with visit(browser, address(server), screen) as seen:
            seen.page.get_by_text("machine 1").first.or_(
                seen.page.locator("#links td").first
            ).wait_for()
            assert seen.page.locator("figure", has_text="cdg").locator(".mark").count() == 3
            assert seen.page.locator("figure", has_text="syd").locator(".mark").count() == 1
            assert seen.crowded() == []
            assert seen.findings() == []
        board.close()
    assert seen.complaints == []


def test_the_live_page_stands_before_anything_is_measured(browser: Any) -> None:
    """While machines start there is a plan and no load; what the world sees may come before it."""
    from playwright.sync_api import expect

    with served() as (board, server), visit(browser, address(server)) as seen:
        expect(seen.page.locator("figure")).to_have_count(4)
        seen.page.keyboard.press("Tab")
        seen.page.keyboard.press("Tab")
        seen.page.keyboard.press("Enter")
        board.world(glance())
        expect(seen.page.locator("#links tr")).to_have_count(1)
        board.close()
    assert seen.complaints == []


def test_the_live_page_follows_the_run_to_its_end(browser: Any) -> None:
    from playwright.sync_api import expect

    with served() as (board, server), visit(browser, address(server)) as seen:
        page = seen.page
        board.load(status(1), 20.0)
        expect(page.locator("#rows")).to_have_text("10")
        expect(page.locator("#cells tr")).to_have_count(1)
        board.load(status(2, sentence="<b>HTTP 503</b>"), 18.0)
        expect(page.locator("#rows")).to_have_text("20")
        expect(page.locator("#failures")).to_contain_text("<b>HTTP 503</b>")
        board.end("fail", "Fail: so it is.", None)
        expect(page.locator("#end")).to_contain_text("Fail: so it is.")
        board.close()
    assert seen.complaints == []


def test_the_keyboard_hides_a_deployment_and_stops_the_updates(browser: Any) -> None:
    from playwright.sync_api import expect

    with served() as (board, server), visit(browser, address(server)) as seen:
        page = seen.page
        board.load(status(1), 20.0)
        expect(page.locator("#rows")).to_have_text("10")
        page.keyboard.press("Tab")
        expect(page.locator(":focus")).to_have_id("pause")
        page.keyboard.press("Tab")
        name = page.locator(":focus").inner_text()
        page.keyboard.press("Enter")
        shown = page.locator("#keys button", has_text=name).first
        expect(shown).to_have_attribute("aria-pressed", "false")
        page.locator("#pause").press("Enter")
        board.load(status(2), 18.0)
        page.locator("#pause").press("Enter")
        expect(page.locator("#rows")).to_have_text("20")
        board.close()
