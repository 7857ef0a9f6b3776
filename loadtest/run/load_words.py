"""A load under way in words: how far it is, when the verdict comes, a row for each region."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from loadtest.records.load_status import CellStatus, LoadStatus
from loadtest.units import S_PER_HOUR, S_PER_MIN

BEFORE_LOAD_S: Final = 2.0
"""What getting ready takes from the moment that the workers are there."""

MOST_COLUMNS: Final = 4
"""More deployments than these do not stand beside each other on a terminal."""

MOST_BRIEF: Final = 6
"""Regions that a line tells of."""

_BEFORE: Final = ("waiting", "self-check")
_DRAIN_S: Final = 2.0
_JUDGE_S: Final = 4.0
_JUDGED_ROWS_PER_S: Final = 50_000.0
_NOTHING: Final = "-"


@dataclass(frozen=True, slots=True)
class Prospect:
    """
    What can be said of the verdict while there is load.

    Args:
        judged: Whether the plan has rules; without them the run ends with a report.
        looks_left: Segments that an undecided run may take after this one.
        judging_s: How long the look before took, seconds; 0 when there was none.
    """

    judged: bool = True
    looks_left: int = 0
    judging_s: float = 0.0


def verdict_in_s(status: LoadStatus, prospect: Prospect) -> float:
    """
    Estimate the seconds until the verdict, if the segment under way decides.

    What is left of the load, its last answers, and the analysis: as long as the look before, or
    what the rows to come are known to take.
    """
    before_s = BEFORE_LOAD_S if status.state in _BEFORE else 0.0
    done = status.elapsed_s / status.total_s if status.total_s else 0.0
    rows = status.rows / done if done > 0.05 else status.rows
    judging_s = prospect.judging_s or _JUDGE_S + rows / _JUDGED_ROWS_PER_S
    return before_s + status.left_s + _DRAIN_S + judging_s


def headline(status: LoadStatus, prospect: Prospect) -> str:
    """Return one line: state, time gone and left, requests, when the verdict is due."""
    ends = "verdict" if prospect.judged else "report"
    looks = prospect.looks_left if prospect.judged else 0
    more = f" unless undecided (up to {looks} more)" if looks else ""
    return (
        f"{status.state}: {span(status.elapsed_s)} of {span(status.total_s)}, "
        f"{span(status.left_s)} left; {status.rows:,} requests; "
        f"{ends} in about {span(verdict_in_s(status, prospect))}{more}"
    )


def span(seconds: float) -> str:
    """Return a time for a person: ``12 s``, ``3:05 min``, ``1:02:30 h``."""
    whole = round(max(0.0, seconds))
    if whole < 2 * S_PER_MIN:
        return f"{whole} s"
    minutes, rest = divmod(whole, S_PER_MIN)
    if whole < S_PER_HOUR:
        return f"{minutes}:{rest:02} min"
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02} h"


def region_table(status: LoadStatus) -> list[list[str]]:
    """
    Return a header, then one row a region: TTFB so far, the present rate, errors.

    TTFB is ``p50 / p95`` in milliseconds for each deployment; where there are more than fit beside
    each other, the fastest and the slowest of them.
    """
    arms = list(dict.fromkeys(cell.deployment for cell in status.cells))
    beside = len(arms) <= MOST_COLUMNS
    header = [f"{arm} p50 / p95" for arm in arms] if beside else ["fastest p50", "slowest p50"]
    rows = [["region", *header, "per s", "errors"]]
    for region in dict.fromkeys(cell.region for cell in status.cells):
        cells = [cell for cell in status.cells if cell.region == region]
        times = _by_arm(cells, arms) if beside else _extremes(cells)
        rate = sum(status.rate_of(cell) for cell in cells)
        errors = sum(cell.total.errors for cell in cells)
        rows.append([region, *times, f"{rate:.1f}", f"{errors:,}"])
    return rows if len(rows) > 1 else []


def brief(status: LoadStatus) -> str:
    """Return every region on one line; the first of many stand for all."""
    regions = list(dict.fromkeys(cell.region for cell in status.cells))
    told = []
    for region in regions[:MOST_BRIEF]:
        cells = [cell for cell in status.cells if cell.region == region]
        times = ", ".join(
            f"{cell.deployment} {_ms(cell.total.p50_ms)}/{_ms(cell.total.p95_ms)} ms"
            for cell in cells[:MOST_COLUMNS]
        )
        more = f" and {len(cells) - MOST_COLUMNS} more" if len(cells) > MOST_COLUMNS else ""
        rate = sum(status.rate_of(cell) for cell in cells)
        errors = sum(cell.total.errors for cell in cells)
        told.append(f"{region} {times}{more}, {rate:.1f}/s, {errors:,} errors")
    if len(regions) > MOST_BRIEF:
        told.append(f"{len(regions) - MOST_BRIEF} regions more")
    return "; ".join(told)


def _by_arm(cells: Sequence[CellStatus], arms: Sequence[str]) -> list[str]:
    found = {cell.deployment: cell for cell in cells}
    return [
        f"{_ms(found[arm].total.p50_ms)} / {_ms(found[arm].total.p95_ms)}"
        if arm in found
        else _NOTHING
        for arm in arms
    ]


def _extremes(cells: Sequence[CellStatus]) -> list[str]:
    ranked = sorted(
        (cell.total.p50_ms, cell.deployment) for cell in cells if cell.total.p50_ms is not None
    )
    if not ranked:
        return [_NOTHING, _NOTHING]
    return [f"{_ms(p50_ms)} {name}" for p50_ms, name in (ranked[0], ranked[-1])]


def _ms(value_ms: float | None) -> str:
    if value_ms is None:
        return _NOTHING
    return f"{value_ms:.{0 if value_ms >= 100 else 1}f}"
