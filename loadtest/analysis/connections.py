"""Connections that requests opened: who asked for them, and whether they mix two kinds of wait."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from loadtest.analysis.cells import CellRows, codes_of
from loadtest.analysis.checks import ValidityCheck
from loadtest.analysis.connection_counts import ConnectionCounts
from loadtest.analysis.load import Run
from loadtest.plan.threshold_checks import arms_of, parse_thresholds
from loadtest.records.kinds import ERROR_CANCELLED, ERROR_DROPPED

EACH_TIME: Final = 0.99
"""A target that keeps no connection open: every request waits for one, so all are of a kind."""
_CHANCE: Final = 4.0
"""Standard errors, as for what arms leave out."""


def count_connections(frame: pd.DataFrame, rows: NDArray[np.int32]) -> ConnectionCounts:
    """
    Count how requests came by their connections.

    Args:
        frame: Records, as ``load_run`` reads them.
        rows: Positions in it.
    """
    error, kinds = codes_of(frame, "error")
    unsent = [kinds.index(kind) for kind in (ERROR_DROPPED, ERROR_CANCELLED) if kind in kinds]
    sent = rows[~np.isin(error[rows], unsent)]
    return ConnectionCounts(
        sent=int(sent.size),
        asked=int(frame["cold"].to_numpy()[sent].sum()),
        unasked=int(opened_unasked(frame, sent).sum()),
        resent=int((frame["attempts"].to_numpy()[sent] > 1).sum()),
    )


def opened_unasked(frame: pd.DataFrame, rows: NDArray[np.int32]) -> NDArray[np.bool_]:
    """Return which of some rows opened a connection that neither plan nor scenario asked for."""
    met = frame["connect_us"].to_numpy()[rows] > 0  # a connection that failed has no such time
    kept = frame["reused"].to_numpy()[rows] | frame["cold"].to_numpy()[rows]
    return np.asarray(met & ~kept.astype(bool))


def connection_checks(run: Run, cells: tuple[CellRows, ...]) -> Iterator[ValidityCheck]:
    """Yield failed checks of cells that mix waits on open connections with others."""
    limits = run.plan.validity
    for cell in cells:
        found = count_connections(run.frame, cell.rows)
        if found.sent:
            yield from _resent(cell, found, limits.resent_share)
            if run.plan.load.model != "closed":  # a user who begins has no connection yet
                yield from _mixed(cell, found, limits.unasked_share)


def judged_against(run: Run) -> frozenset[str]:
    """Return the arms that a rule of the plan holds others against."""
    return frozenset(base for _, base in compared_arms(run))


def compared_arms(run: Run) -> frozenset[tuple[str, str]]:
    """Return the arms that a rule of the plan compares: candidate and base."""
    rules = (rule for rule in parse_thresholds(run.plan) if rule.kind == "baseline")
    return frozenset(arms_of(rule, run.plan) for rule in rules)


def _allowed(limit: float, n: int) -> float:
    """Return how large a share of n may be by chance where the true one is at its limit."""
    return limit + _CHANCE * math.sqrt(limit * (1 - limit) / n)


def _resent(cell: CellRows, found: ConnectionCounts, limit: float) -> Iterator[ValidityCheck]:
    share, allowed = found.resent / found.sent, _allowed(limit, found.sent)
    if share <= allowed or found.resent < 2:
        return
    yield ValidityCheck(
        name="resent",
        scope="cell",
        observed=share,
        limit=allowed,
        unit="share",
        ok=False,
        why=f"{cell.region}: {share:.2%} of {cell.deployment}'s requests were sent a second time "
        f"on a new connection (limit {allowed:.2%}).",
        advice="The target closes idle connections too early: raise its keep-alive time-out.",
        region=cell.region,
        deployment=cell.deployment,
        scenario=cell.scenario,
    )


def _mixed(cell: CellRows, found: ConnectionCounts, limit: float) -> Iterator[ValidityCheck]:
    share, allowed = found.unasked / found.sent, _allowed(limit, found.sent)
    if share <= allowed or share >= EACH_TIME:
        return
    yield ValidityCheck(
        name="connections",
        scope="cell",
        observed=share,
        limit=allowed,
        unit="share",
        ok=False,
        why=f"{cell.region}: {share:.1%} of {cell.deployment}'s requests opened a connection that "
        f"nobody asked for (limit {allowed:.1%}): its TTFB is that of two kinds of request.",
        advice="The target closes connections, or stalls so that waiting users hold all of them. "
        "Raise its keep-alive time-out, measure cold TTFB (load.new_connections = 1), or allow "
        "the mixture (validity.unasked_share).",
        region=cell.region,
        deployment=cell.deployment,
        scenario=cell.scenario,
    )
