"""
The metrics: which rows are a sample of each, and what number each row gives.

A failed request is a row, and infinity in a percentile that counts failures.  It counts against
``ttfb`` when it was sent on a warm connection or never got one, against ``ttfb_cold`` when its
connection was new.  An arrival that was dropped for want of a free user is the generator's fault:
it counts against ``response_from_schedule`` alone, which a stall cannot hide from.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from loadtest.analysis.cells import codes_of
from loadtest.records.kinds import ERROR_CANCELLED, ERROR_DROPPED

PHASES = ("queue", "dns", "connect", "tls", "send", "wait", "receive")
CONNECTION_PHASES = ("dns", "connect", "tls")
REPORTED = ("db", "app")

_BEFORE_CONNECTION = ("dns", "connect-refused", "connect-timeout", "connect", "tls")
_COLD = ("dns_us", "connect_us", "tls_us", "send_us", "wait_us")
_RESPONSE = ("queue_us", *_COLD, "receive_us")


@dataclass(frozen=True, slots=True)
class MetricSample:
    """
    A metric of some rows: whole microseconds, counts, or 0 and 1 for shares.

    ``rows`` are the positions of ``values`` in the frame, ``failed`` those of the failures that
    count against the metric.
    """

    values: NDArray[Any]
    rows: NDArray[np.int32]
    failed: NDArray[np.int32]

    def with_failures(self) -> NDArray[Any]:
        """Return the values with every failure as infinity (whole numbers if there is none)."""
        if not self.failed.size:
            return self.values
        return np.concatenate([self.values, np.full(self.failed.size, np.inf)])


def is_time(metric: str) -> bool:
    """Tell whether a metric's values are microseconds, not counts or shares."""
    return metric not in ("errors", "replayed", "db_round_trips")


def sample_of(frame: pd.DataFrame, rows: NDArray[np.int32], metric: str) -> MetricSample:
    """
    Return a metric's sample among some rows of a frame.

    Args:
        frame: Records, as ``load_run`` reads them.
        rows: Positions in the frame: the steady rows of a cell.
        metric: A name of the threshold grammar: ttfb, ttfb_cold, response_from_schedule, a phase,
            db, app, db_round_trips, replayed or errors.

    Raises:
        KeyError: There is no such metric.
    """
    error, kinds = codes_of(frame, "error")
    kind = error[rows]
    good = kind == kinds.index("") if "" in kinds else np.zeros(rows.size, bool)
    if metric == "errors":
        sent = ~_any_of(kind, kinds, (ERROR_DROPPED, ERROR_CANCELLED))
        return MetricSample((~good[sent]).astype(np.int8), rows[sent], _none())
    if metric == "replayed":
        taken = rows[good]
        return MetricSample(frame["replayed"].to_numpy()[taken].astype(np.int8), taken, _none())
    if metric in (*REPORTED, "db_round_trips"):
        column = metric if metric == "db_round_trips" else f"{metric}_us"
        taken = rows[good]
        values = frame[column].to_numpy()[taken]
        return MetricSample(values[values >= 0], taken[values >= 0], _none())
    if metric == "response_from_schedule":
        failed = ~good & ~_any_of(kind, kinds, (ERROR_CANCELLED,))
        return MetricSample(_sum(frame, rows[good], _RESPONSE), rows[good], rows[failed])
    if metric in PHASES:
        fresh = metric in CONNECTION_PHASES
        taken = rows[good & ~frame["reused"].to_numpy()[rows]] if fresh else rows[good]
        return MetricSample(frame[f"{metric}_us"].to_numpy()[taken], taken, _none())
    failed = ~good & ~_any_of(kind, kinds, (ERROR_DROPPED, ERROR_CANCELLED))
    unmet = failed & _any_of(kind, kinds, _BEFORE_CONNECTION)
    return _first_byte_sample(frame, rows, metric, good, failed, unmet)


def _first_byte_sample(  # noqa: PLR0917 - the parts of one expression, cut for length alone
    frame: pd.DataFrame,
    rows: NDArray[np.int32],
    metric: str,
    good: NDArray[np.bool_],
    failed: NDArray[np.bool_],
    unmet: NDArray[np.bool_],
) -> MetricSample:
    """Return the sample of a metric that asks whether a new connection was asked for."""
    opened = ~frame["reused"].to_numpy()[rows]
    asked = opened & frame["cold"].to_numpy()[rows]
    if metric == "ttfb_cold":
        taken = rows[good & asked]
        return MetricSample(_sum(frame, taken, _COLD), taken, rows[failed & asked])
    if metric == "ttfb":
        # Nobody asked for a new connection, so opening it is a wait like any other.
        once = frame["attempts"].to_numpy()[rows] == 1
        warm, late = rows[good & ~opened & once], rows[good & opened & ~asked]
        values = [frame["wait_us"].to_numpy()[warm], _sum(frame, late, _COLD)]
        return MetricSample(
            np.concatenate(values), np.concatenate([warm, late]), rows[failed & ~asked | unmet]
        )
    raise KeyError(metric)


def _sum(
    frame: pd.DataFrame, rows: NDArray[np.int32], columns: tuple[str, ...]
) -> NDArray[np.int64]:
    total = np.zeros(rows.size, np.int64)
    for column in columns:
        total += frame[column].to_numpy()[rows]
    return total


def _any_of(kind: NDArray[Any], kinds: list[str], names: tuple[str, ...]) -> NDArray[np.bool_]:
    wanted = np.array([name in names for name in kinds], dtype=bool)
    return wanted[kind] if wanted.size else np.zeros(kind.size, bool)


def _none() -> NDArray[np.int32]:
    return np.empty(0, np.int32)
