"""Pages: a cell's requests by their name, with what failed and how; see ``page_names``."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from loadtest.analysis.cells import CellRows, codes_of
from loadtest.analysis.load import Run
from loadtest.analysis.page_names import OTHER_PAGES, page_of
from loadtest.analysis.page_summary import FailureCount, PageSummary
from loadtest.analysis.worth import describe_cell
from loadtest.records.failures import FailureExample
from loadtest.records.kinds import ERROR_DROPPED


def rows_by_name(
    run: Run, rows: NDArray[np.int32], names: tuple[str, ...]
) -> dict[str, NDArray[np.int32]]:
    """
    Return the rows of each name that occurs among some rows; those of other names under ``OTHER``.

    Args:
        run: The run.
        rows: Positions in its frame.
        names: Names with a page of their own; the result is in their order, ``OTHER`` last.
    """
    codes, words = codes_of(run.frame, "name")
    index = {name: at for at, name in enumerate((*names, OTHER_PAGES))}
    place = np.full(len(words) + 1, len(names), np.int64)
    # An arrival that was never sent belongs to no page.
    place[: len(words)] = [index[page_of(word, index)] if word else -1 for word in words]
    found = place[codes[rows]] if rows.size else np.empty(0, np.int64)
    pages = {name: rows[found == index] for index, name in enumerate((*names, OTHER_PAGES))}
    return {name: taken for name, taken in pages.items() if taken.size}


def cell_pages(run: Run, cell: CellRows, names: tuple[str, ...]) -> list[CellRows]:
    """Return a cell cut into its pages; see ``rows_by_name``."""
    return [
        replace(cell, rows=rows, name=name)
        for name, rows in rows_by_name(run, cell.rows, names).items()
    ]


def summarise_pages(
    run: Run, cell: CellRows, names: tuple[str, ...], measured_s: float
) -> tuple[PageSummary, ...]:
    """
    Return a page for each name that a cell asked for.

    Args:
        run: The run.
        cell: Its steady rows.
        names: Names with a page of their own, from ``page_names``.
        measured_s: Length of the steady stage.
    """
    sent = cell.rows[~_of_kind(run, cell.rows, ERROR_DROPPED)]
    examples = examples_of(run, cell)
    return tuple(
        _page(run, replace(cell, rows=rows, name=name), examples, measured_s)
        for name, rows in rows_by_name(run, sent, names).items()
    )


def _page(
    run: Run, page: CellRows, examples: dict[tuple[str, str], str], measured_s: float
) -> PageSummary:
    name, rows = page.name, page.rows
    failures = _failures(run, name, rows, examples)
    statuses = run.frame["status"].to_numpy()[rows]
    answered = rows[statuses > 0]
    found, counts = np.unique(statuses[statuses > 0], return_counts=True)
    ttfb, ttfb_with_failures = describe_cell(run.frame, page, "ttfb")
    size = run.frame["bytes"].to_numpy()[answered]
    return PageSummary(
        name=name,
        n=int(rows.size),
        errors=sum(failure.n for failure in failures),
        rate_per_s=rows.size / measured_s if measured_s else 0.0,
        bytes_mean=float(size.mean()) if size.size else None,
        statuses=dict(zip(found.tolist(), counts.tolist(), strict=True)),
        failures=failures,
        ttfb=ttfb,
        ttfb_with_failures=ttfb_with_failures,
    )


def _failures(
    run: Run, name: str, rows: NDArray[np.int32], examples: dict[tuple[str, str], str]
) -> tuple[FailureCount, ...]:
    """Return the kinds of failure among some rows, the most frequent first."""
    codes, kinds = codes_of(run.frame, "error")
    kind = codes[rows]
    statuses = run.frame["status"].to_numpy()[rows]
    counted = []
    for code in np.unique(kind).tolist():
        if not kinds[code]:
            continue
        found, counts = np.unique(statuses[kind == code], return_counts=True)
        example = examples.get((name, kinds[code]), "")
        counted += [
            FailureCount(kinds[code], status, n, example)
            for status, n in zip(found.tolist(), counts.tolist(), strict=True)
        ]
    return tuple(sorted(counted, key=lambda one: (-one.n, one.kind, one.status)))


def examples_of(run: Run, cell: CellRows) -> dict[tuple[str, str], str]:
    """Return what failures of a cell said: (request name, kind) -> the most frequent sentence."""
    told: dict[tuple[str, str], FailureExample] = {}
    for worker in run.workers:
        if worker.region != cell.region:
            continue
        for example in worker.failures:
            key = (example.name, example.kind)
            if (example.deployment, example.scenario) != (cell.deployment, cell.scenario):
                continue
            if key not in told or told[key].count < example.count:
                told[key] = example
    return {key: example.sentence for key, example in told.items()}


def _of_kind(run: Run, rows: NDArray[np.int32], kind: str) -> NDArray[np.bool_]:
    codes, kinds = codes_of(run.frame, "error")
    if kind not in kinds:
        return np.zeros(rows.size, bool)
    return np.asarray(codes[rows] == kinds.index(kind))
