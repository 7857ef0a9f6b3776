"""Pages: counts by name add up to the cell, rare names share a row, failures have their reason."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from string import ascii_letters

import pytest

from loadtest.analysis.load import Run
from loadtest.analysis.page_names import (
    MAX_PAGES,
    OTHER_PAGES,
    forms_of,
    names_sharing,
    page_names,
)
from loadtest.analysis.page_summary import FailureCount, answers_phrase
from loadtest.analysis.summary import summarise
from loadtest.records.failures import FailureExample

MakeRun = Callable[..., Run]
PAGES = ("GET /", "GET /recipes", "POST /login")


def with_failures(run: Run, *examples: FailureExample, region: str) -> Run:
    assert run.engine is not None
    workers = tuple(
        replace(worker, failures=examples) if worker.region == region else worker
        for worker in run.workers
    )
    return replace(run, engine=replace(run.engine, workers=workers))


def test_pages_add_up_to_their_cell(make_run: MakeRun) -> None:
    run = make_run(names=PAGES, error_share={"multi": 0.2}, timeout_share=0.05, dropped_share=0.02)

    for cell in summarise(run).cells:
        assert [page.name for page in cell.pages] == list(PAGES)
        assert sum(page.n for page in cell.pages) == cell.n
        assert sum(page.errors for page in cell.pages) == cell.errors
        assert sum(failure.n for failure in cell.failures) == cell.errors
        assert sum(page.ttfb.n for page in cell.pages) == cell.ttfb.n
        assert sum(page.rate_per_s for page in cell.pages) == pytest.approx(cell.rate_per_s)
        assert sum(cell.statuses.values()) == cell.n - cell.error_kinds.get("read-timeout", 0)
        assert cell.statuses.get(500, 0) == cell.error_kinds.get("status", 0)
        assert all(page.bytes_mean == 4_096 for page in cell.pages)


def test_a_slow_page_is_seen_in_its_row_alone(make_run: MakeRun) -> None:
    summary = summarise(make_run(names=PAGES, page_shift_ms={("multi", "GET /"): 100.0}))
    slow, *others = [page.ttfb.value(50) for page in summary.cell("cdg", "multi").pages]  # type: ignore[union-attr]

    assert slow == pytest.approx(176, abs=15)
    assert all(value == pytest.approx(76, abs=10) for value in others)


def test_many_names_share_a_row(make_run: MakeRun) -> None:
    names = tuple(f"GET /recipes/{letter}" for letter in ascii_letters[: MAX_PAGES + 15])
    run = make_run(names=names)

    for cell in summarise(run).cells:
        assert len(cell.pages) == MAX_PAGES + 1
        assert cell.pages[-1].name == OTHER_PAGES
        assert sum(page.n for page in cell.pages) == cell.n
    assert len(page_names(run)) == MAX_PAGES


def test_names_that_differ_in_an_id_share_a_page_when_there_are_many(make_run: MakeRun) -> None:
    few = tuple(f"GET /recipes/{number}" for number in range(MAX_PAGES))
    assert page_names(make_run(names=few)) == tuple(sorted(few))

    many = ("GET /", *few, "GET /v1/cooks/7", "GET /search?q=tea", "GET /search?q=salt")
    run = make_run(names=many)
    pages = page_names(run)
    assert pages == tuple(sorted({*many[-3:], "GET /", "GET /recipes/{id}"}))
    assert names_sharing(run, pages) == {"GET /recipes/{id}": MAX_PAGES}
    for cell in summarise(run).cells:
        assert [page.name for page in cell.pages] == list(pages)
        assert sum(page.n for page in cell.pages) == cell.n


def test_names_that_differ_in_a_value_share_a_page_when_ids_do_not_suffice(
    make_run: MakeRun,
) -> None:
    names = ("GET /", *(f"GET /search?q={letter}&page=1" for letter in ascii_letters[:MAX_PAGES]))
    assert page_names(make_run(names=names)) == ("GET /", "GET /search?q={q}&page={page}")


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("GET /recipes/17", "GET /recipes/{id}"),
        ("/recipes/17/edit", "/recipes/{id}/edit"),
        ("/a/9f86d081-884c-4d7d-9a2f-0a2b6c1d5e3f", "/a/{id}"),
        ("/2026-11-28/news-4.html", "/{id}/{id}"),
        ("GET /api/v1/users/me", "GET /api/v1/users/me"),
        ("GET /api/v2.1/users/u17", "GET /api/v2.1/users/{id}"),
        ("http://10.0.0.1:3000/x/1?y=2#3", "http://10.0.0.1:3000/x/{id}?y=2#3"),
        ("log in 3 times", "log in 3 times"),
        ("/7 (redirected)", "/{id} (redirected)"),
    ],
)
def test_an_id_is_a_part_of_a_path_with_a_digit(name: str, kind: str) -> None:
    assert forms_of(name)[:2] == (name, kind)


def test_the_values_of_a_query_are_named_by_their_keys() -> None:
    assert forms_of("GET /s?q=tea&page=2&bare")[2] == "GET /s?q={q}&page={page}&bare"


def test_a_failure_has_the_example_of_its_own_place(make_run: MakeRun) -> None:
    run = with_failures(
        make_run(timeout_share=0.3),
        FailureExample("read-timeout", "multi", "browse", "GET /recipes", "rare", 1),
        FailureExample("read-timeout", "multi", "browse", "GET /recipes", "no byte in 10 s", 9),
        FailureExample("read-timeout", "multi", "browse", "GET /other", "elsewhere", 99),
        FailureExample("tls", "multi", "browse", "GET /recipes", "another kind", 99),
        region="syd",
    )
    summary = summarise(run)

    (failure,) = summary.cell("syd", "multi").failures  # type: ignore[union-attr]
    assert failure.sentence == "no answer in time (no byte in 10 s)"
    for region, deployment in (("syd", "replica"), ("cdg", "multi")):
        (failure,) = summary.cell(region, deployment).failures  # type: ignore[union-attr]
        assert failure.sentence == "no answer in time"


def test_a_status_is_its_own_reason() -> None:
    assert FailureCount("status", 401, 3).sentence == "HTTP 401"
    own = "HTTP 502 of the proxy (PA02: replayed in a circle)"
    assert FailureCount("status", 502, 3, own).sentence == own
    assert FailureCount("status", 500, 3, own).sentence == "HTTP 500"
    assert FailureCount("check", 200, 3, "wrong page").sentence == (
        "the scenario's check failed (wrong page)"
    )


@pytest.mark.parametrize(
    ("statuses", "n", "phrase"),
    [
        ({200: 5}, 5, "200"),
        ({200: 5, 500: 2}, 7, "5 × 200, 2 × 500"),
        ({200: 5}, 6, "5 × 200, 1 × none"),
        ({}, 3, "none"),
        ({}, 0, ""),
    ],
)
def test_answers_in_a_phrase(statuses: dict[int, int], n: int, phrase: str) -> None:
    assert answers_phrase(statuses, n) == phrase
