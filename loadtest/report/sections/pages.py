"""Pages: what each request name took and answered, and why requests failed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from loadtest.analysis.page_names import MAX_PAGES, OTHER_PAGES, names_sharing
from loadtest.analysis.page_summary import answers_phrase
from loadtest.report.base.scales import log_limits
from loadtest.report.base.view import Block, Figures, Section, Table, Text
from loadtest.report.base.words import (
    NOT_ENOUGH,
    NOTHING,
    clip,
    count,
    interval_ms,
    ms,
    number,
    share,
    slug,
)
from loadtest.report.sections.matrix import page_matrix

if TYPE_CHECKING:
    from loadtest.analysis.cells import CellSummary
    from loadtest.analysis.page_summary import PageSummary
    from loadtest.report.base.context import Context

_HEADERS: Final = (
    *("page", "region", "n", "per second", "p50", "95 % interval", "p95", "95 % interval"),
    *("errors", "answers", "bytes"),
)
_TAIL: Final = (_HEADERS.index("p95"), _HEADERS.index("p95") + 1)
_CSV: Final = (
    *("name", "region", "deployment", "scenario", "n", "rate_per_s", "p50_ms", "p50_low_ms"),
    *("p50_high_ms", "p95_ms", "p95_low_ms", "p95_high_ms", "errors", "statuses", "bytes_mean"),
)
_FAILED_CSV: Final = (
    *("name", "region", "deployment", "scenario", "n", "failed", "kind", "status", "example"),
)


MOST_PANELS: Final = 12
"""Pages times regions that are drawn; the most frequent pages, and all are in the tables."""
_CURVES: Final = (
    "Share of requests of a page whose first byte had come within a time, as in the distributions "
    f"of all pages together; of the most frequent pages, {MOST_PANELS} panels at most."
)


def section_pages(context: Context) -> Section | None:
    """Return the section about pages; None where each cell has one page and none failed."""
    blocks: list[Block] = []
    if context.verdict.failures:
        blocks.append(failures_table(context))
    several = any(len(cell.pages) > 1 for cell in context.summary.cells)
    if several:
        blocks.append(
            Text(
                "A page is a request name. Times are TTFB as in the tables above, failed requests "
                f"as infinitely slow.{_hidden(context)}"
            )
        )
        shown = _most_frequent(context)
        blocks += [page_matrix(context, shown), *pages_tables(context)]
        blocks.append(Figures(_CURVES, lambda: _draw_curves(context, shown), context.legend()))
    if not blocks:
        return None
    title = "Pages, and why requests failed" if context.verdict.failures else "Pages"
    return Section("pages", title, "Pages", tuple(blocks))


def failures_table(context: Context) -> Table:
    """Return every page with failures: how many, and one example of each kind."""
    pages = context.verdict.failures
    rows = [(page, failure) for page in pages for failure in page.failures]
    return Table(
        key="failures",
        title="Why requests failed",
        headers=("cell", "page", "failed", "of", "why, with one example"),
        rows=tuple(
            (page.cell, page.name, count(failure.n), count(page.n), failure.sentence)
            for page, failure in rows
        ),
        align="lwrrw",
        csv_headers=_FAILED_CSV,
        csv_rows=tuple(
            (
                *(page.name, page.region, page.deployment, page.scenario, page.n),
                *(failure.n, failure.kind, failure.status, failure.example),
            )
            for page, failure in rows
        ),
    )


def pages_tables(context: Context) -> list[Table]:
    """Return the table of each deployment's pages; none where each cell has one page."""
    if not any(len(cell.pages) > 1 for cell in context.summary.cells):
        return []
    return [_pages_table(context, name) for name in context.arms]


def _most_frequent(context: Context) -> tuple[str, ...]:
    """Return the pages that there is room for, in the order of their names."""
    asked: dict[str, int] = {}
    for cell in context.summary.cells:
        for page in cell.pages:
            asked[page.name] = asked.get(page.name, 0) + page.n
    room = max(1, MOST_PANELS // max(1, len(context.regions)))
    ranked = sorted((name for name in asked if name != OTHER_PAGES), key=lambda n: (-asked[n], n))
    return tuple(sorted(ranked[:room]))


def _draw_curves(context: Context, pages: tuple[str, ...]) -> list[str]:
    from loadtest.report.base.numbers import page_curves
    from loadtest.report.figures.distribution import Curve, draw_distribution

    data = page_curves(context.run, context.pages)
    shown = {key: curve for key, curve in data.items() if key[3] in pages and curve[0]}
    limits = log_limits([end for found in shown.values() for end in (found[0][0], found[0][-1])])
    panels = []
    for page in pages:
        for region in context.regions:
            curves = [
                Curve(context.arm_label(cell), context.styles[cell.deployment], *shown[key])
                for cell in context.cells_in(region)
                if (key := (*cell.key, page)) in shown
            ]
            if curves:
                name, title = f"{region}-{slug(page)}", f"{region}  {clip(page, 34)}"
                panels.append(draw_distribution(name, title, curves, limits, 0.0))
    return panels


def _hidden(context: Context) -> str:
    """Tell that names share a row, where they do."""
    shared = names_sharing(context.run, set(context.pages))
    rest = shared.pop(OTHER_PAGES, 0) or OTHER_PAGES in context.pages
    told = ""
    if shared:
        most = max(shared, key=lambda page: (shared[page], page))
        told = (
            f" There are more than {MAX_PAGES} names, so those that differ in an id or a value "
            f"share a row, as {count(shared[most])} names do under {most}."
        )
    if rest:
        told += (
            f" The {MAX_PAGES} most frequent have rows of their own; all others stand under "
            f"{OTHER_PAGES}. Give requests of one kind one name, such as /recipes/{{id}}."
        )
    return told


def _pages_table(context: Context, deployment: str) -> Table:
    found = [
        (page, cell)
        for region in context.regions
        for cell in context.cells_in(region)
        if cell.deployment == deployment
        for page in cell.pages
    ]
    found.sort(key=lambda pair: pair[0].name)  # stable: regions stay in plan order
    far = any(page.ttfb_with_failures.get(95) for page, _ in found)
    kept = [at for at, name in enumerate(_HEADERS) if far or at not in _TAIL]
    return Table(
        key=f"pages-{deployment}",
        title=f"{deployment}: pages",
        headers=tuple(_HEADERS[at] for at in kept),
        rows=tuple(
            tuple(row[at] for at in kept)
            for row in (_row(context, page, cell) for page, cell in found)
        ),
        align="".join("wnrrrrrrrnr"[at] for at in kept),
        csv_headers=_CSV,
        csv_rows=tuple(_raw(page, cell) for page, cell in found),
    )


def _row(context: Context, page: PageSummary, cell: CellSummary) -> tuple[str, ...]:
    region = f"{cell.region} · {cell.scenario}" if len(context.scenarios) > 1 else cell.region
    quantiles: list[str] = []
    for p in (50, 95):
        quantile = page.ttfb_with_failures.get(p)
        quantiles += (
            (ms(quantile.value), interval_ms(quantile.low, quantile.high))
            if quantile
            else (NOT_ENOUGH, "")
        )
    return (
        page.name,
        region,
        count(page.n),
        number(page.rate_per_s),
        *quantiles,
        f"{count(page.errors)} ({share(page.errors / page.n)})" if page.errors else "0",
        answers_phrase(page.statuses, page.n) or NOTHING,
        NOTHING if page.bytes_mean is None else count(round(page.bytes_mean)),
    )


def _raw(page: PageSummary, cell: CellSummary) -> tuple[object, ...]:
    quantiles: list[object] = []
    for p in (50, 95):
        quantile = page.ttfb_with_failures.get(p)
        quantiles += (quantile.value, quantile.low, quantile.high) if quantile else ("", "", "")
    return (
        *(page.name, *cell.key, page.n, page.rate_per_s, *quantiles, page.errors),
        " ".join(f"{status}:{n}" for status, n in page.statuses.items()),
        "" if page.bytes_mean is None else page.bytes_mean,
    )
