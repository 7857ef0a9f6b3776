"""
What targets carry: a few seconds at the plan's rate, before the load that is judged.

An open schedule that asks for more than a target serves measures the queue in front of it, and
longer for every second.  Two signs tell it: answers come later and later, and less is done than is
asked for.  By Little's law a queue grows by what is asked beyond what is served, so the time in it
grows by ``asked / served - 1`` seconds per second (J. D. C. Little, Operations Research 9, 1961).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from loadtest.records.kinds import ERROR_DROPPED
from loadtest.records.reader import read_records
from loadtest.units import US_PER_MS

FEWEST = 6
"""Arrivals of a cell below which nothing is said of it."""

_GROWTH = 0.05  # seconds of queue per second: 5 % more is asked than is served
_LOST = 0.02
_UNANSWERED = (ERROR_DROPPED, "connect-timeout", "read-timeout")
_HEADROOM = 0.6  # of what is served: chance makes no queue then
_LEAST_PER_S = 0.1
_US_PER_S = 1_000_000
_STARTS = ("intended_us", "start_us")
_COLUMNS = (
    *("region", "deployment", "scenario", "arrival", "error", "intended_us", "start_us"),
    *("dns_us", "connect_us", "tls_us", "send_us", "wait_us", "receive_us"),
)


@dataclass(frozen=True, slots=True)
class PilotCell:
    """
    What one cell did in a pilot.

    Args:
        region: Client region.
        deployment: Arm.
        arrivals: How many there were.
        lost: Share of them that found no free user, or got no answer in time.
        growth: Seconds by which answers came later per second of the pilot.
        served_per_s: Arrivals that were done per second while there was work.
        ttfb_ms: Times to first byte of its answers, those on open connections if there are any.
    """

    region: str
    deployment: str
    arrivals: int
    lost: float
    growth: float
    served_per_s: float
    ttfb_ms: tuple[float, ...] = field(default=(), repr=False, compare=False)

    @property
    def key(self) -> tuple[str, str]:
        """Return what tells it from others."""
        return self.region, self.deployment

    @property
    def carries(self) -> bool:
        """Whether the target kept up."""
        return self.arrivals < FEWEST or (self.growth <= _GROWTH and self.lost <= _LOST)


def read_pilot(parts: Sequence[bytes]) -> tuple[PilotCell, ...]:
    """
    Return what every cell of a pilot did.

    Args:
        parts: Its records, as Parquet files.

    Raises:
        RecordsError: They cannot be read.
    """
    tables = [read_records(part, _COLUMNS).to_pandas() for part in parts]
    if not tables:
        return ()
    return pilot_cells(pd.concat(tables, ignore_index=True))


def pilot_cells(rows: pd.DataFrame) -> tuple[PilotCell, ...]:
    """Return what every cell did, from rows with the columns of records."""
    return tuple(
        _cell(str(region), str(deployment), group)
        for (region, deployment), group in rows.groupby(["region", "deployment"], observed=True)
    )


def fitting_rate(served_per_s: float, rate: float) -> float:
    """
    Return the rate that a target carries with room to spare.

    Args:
        served_per_s: The most that it served.
        rate: What was asked for, both per second in each cell.
    """
    return float(f"{max(_HEADROOM * min(served_per_s, rate), min(_LEAST_PER_S, rate)):.2g}")


def _cell(region: str, deployment: str, rows: pd.DataFrame) -> PilotCell:
    phases = [name for name in _COLUMNS if name.endswith("_us") and name not in _STARTS]
    ended = rows["start_us"] + rows[phases].sum(axis=1)
    lost = rows["error"].isin(_UNANSWERED)
    arrivals = (
        pd.DataFrame(
            {
                "arrival": rows["arrival"],
                "intended": rows["intended_us"],
                "ended": ended.where(~lost, np.nan),
                "lost": lost,
            }
        )
        .groupby("arrival", sort=False)
        .agg(
            intended=("intended", "min"),
            ended=("ended", "max"),
            lost=("lost", "any"),
        )
        .sort_values("intended")
    )
    done = arrivals[~arrivals["lost"]]
    return PilotCell(
        region,
        deployment,
        arrivals=len(arrivals),
        lost=float(arrivals["lost"].mean()),
        growth=_growth(done),
        served_per_s=_served(done, float(arrivals["intended"].iloc[0])),
        ttfb_ms=_waits(rows),
    )


def _waits(rows: pd.DataFrame) -> tuple[float, ...]:
    answered = rows[rows["error"] == ""]
    warm = answered[answered["connect_us"] == 0]
    waits = (warm if len(warm) else answered)["wait_us"]
    return tuple((waits / US_PER_MS).tolist())


def _growth(done: pd.DataFrame) -> float:
    """Return how much later answers came, from the first third to the last, per second."""
    third = len(done) // 3
    if third == 0:
        return 0.0
    took = (done["ended"] - done["intended"]).to_numpy()
    middle = done["intended"].to_numpy()
    later = np.median(took[-third:]) - np.median(took[:third])
    between = np.median(middle[-third:]) - np.median(middle[:third])
    return float(later / between) if between > 0 else 0.0


def _served(done: pd.DataFrame, began_us: float) -> float:
    """Return how many arrivals were done per second, from the first that came to the last done."""
    if done.empty:
        return 0.0
    span_s = (float(done["ended"].max()) - began_us) / _US_PER_S
    return len(done) / span_s if span_s > 0 else 0.0
