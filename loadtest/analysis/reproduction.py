"""
The published tables beside ours, with what each number is made of and how far to believe it.

The model behind it is TTFB = base + h x RTT: h is 1 for ``single``, 2 for ``multi``, 0 for
``replica``.  Where the base times were taken from the published replica table, that column is
calibration and no finding; so are single and multi in the primary region, where nothing but the
base is left of the model.  The others are predictions.  The range over the other public sources of
round-trip times says how much of a prediction the choice of source decides, and the neutral set
stands beside the one that was used.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import cache
from typing import Final, Literal

from loadtest.analysis.hops import kind_of, model_hops, rtt_ms
from loadtest.analysis.load import Run
from loadtest.analysis.summary import Summary
from loadtest.assets import data_file
from loadtest.errors import PlanError
from loadtest.plan.network import NEUTRAL, PUBLISHED, pair_key, round_trips

CALIBRATION: Final = "calibration"
PREDICTION: Final = "prediction"
Label = Literal["calibration", "prediction"]


@dataclass(frozen=True, slots=True)
class Reproduced:
    """
    One published cell beside ours; milliseconds.

    ``variant`` tells that the row is a variant of a published deployment, shown beside that one's
    value; ``new_share`` is its share of requests without an open connection.  ``base_ms`` and
    ``network_ms`` are what the model's two terms contribute, on average.  ``low_ms`` and
    ``high_ms`` are the model's range over all public round-trip times, ``sources`` how many there
    are, ``neutral_ms`` what it gives at the neutral set; the four are None and 0 where distance
    plays no part.
    """

    deployment: str
    of: str
    variant: bool
    new_share: float
    region: str
    label: Label
    published_ms: float
    p50_ms: float | None
    mean_ms: float | None
    n: int
    difference_ms: float | None
    difference_share: float | None
    mean_difference_share: float | None
    base_ms: float
    network_ms: float | None
    round_trips: float
    rtt_ms: float | None
    low_ms: float | None
    high_ms: float | None
    sources: int
    neutral_ms: float | None

    @property
    def ours_ms(self) -> float | None:
        """Return what is held against the published value: of a mixture its mean, else the p50."""
        return self.mean_ms if self.new_share else self.p50_ms


@dataclass(frozen=True, slots=True)
class Reproduction:
    """All published cells that the run measured; empty when the plan does not reproduce."""

    rows: tuple[Reproduced, ...]
    base: str
    rtt: str

    @property
    def predictions(self) -> tuple[Reproduced, ...]:
        """The rows that are predictions and were measured, variants left out."""
        return tuple(
            row
            for row in self.rows
            if not row.variant and row.label == PREDICTION and row.difference_share is not None
        )


def reproduce(run: Run, summary: Summary) -> Reproduction:
    """Return the published values beside the run's own."""
    plan = run.plan
    rows = []
    if plan.reproduce:
        for deployment in plan.deployments:
            hops = model_hops(kind_of(deployment), deployment.new_connection_share)
            if hops is None:
                continue
            for region in plan.clients_of(deployment):
                published = published_ms().get((kind_of(deployment), region))
                if published is not None:
                    rows.append(_row(run, summary, deployment.name, region, hops, published))
    return Reproduction(tuple(rows), plan.base, plan.network.rtt)


@cache
def published_ms() -> dict[tuple[str, str], float]:
    """Return the published tables: (deployment, region) -> milliseconds."""
    with data_file("published-ttfb.csv").open(encoding="utf-8", newline="") as file:
        return {
            (row["deployment"], row["region"]): float(row["ttfb_ms"])
            for row in csv.DictReader(file)
        }


@cache
def rtt_by_source() -> dict[str, dict[str, float]]:
    """Return every public value of each pair: pair -> source -> milliseconds."""
    found: dict[str, dict[str, float]] = {}
    with data_file("rtt-by-source.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            pair = pair_key(row["from"], row["to"])
            found.setdefault(pair, {})[row["set"]] = float(row["rtt_ms"])
    return found


def _row(  # noqa: PLR0917 - one row of one table
    run: Run, summary: Summary, name: str, region: str, hops: float, published: float
) -> Reproduced:
    plan = run.plan
    deployment = plan.deployment(name)
    cell = summary.cell(region, name)
    p50, mean = (cell.ttfb.value(50), cell.ttfb.mean) if cell else (None, None)
    base = plan.base_ms.get(region, 0.0)
    home = region == plan.primary_region
    rtt = None if home else rtt_ms(plan, region, plan.primary_region)
    network = 0.0 if home or not hops else (None if rtt is None else hops * rtt)
    known = () if home or not hops else _known_rtts(plan.primary_region, region)
    calibrated = plan.base == PUBLISHED and (kind_of(deployment) == "replica" or home)
    neutral = None if home or not hops else _neutral_rtt(plan.primary_region, region)
    return Reproduced(
        deployment=name,
        of=kind_of(deployment),
        variant=bool(deployment.of),
        new_share=deployment.new_connection_share,
        region=region,
        label=CALIBRATION if calibrated else PREDICTION,
        published_ms=published,
        p50_ms=p50,
        mean_ms=mean,
        n=cell.ttfb.n if cell else 0,
        difference_ms=None if p50 is None else p50 - published,
        difference_share=None if p50 is None else p50 / published - 1,
        mean_difference_share=None if mean is None else mean / published - 1,
        base_ms=base,
        network_ms=network,
        round_trips=0 if home else hops,
        rtt_ms=rtt,
        low_ms=base + hops * min(known) if known else None,
        high_ms=base + hops * max(known) if known else None,
        sources=len(known),
        neutral_ms=None if neutral is None else base + hops * neutral,
    )


@cache
def _neutral_rtt(a: str, b: str) -> float | None:
    try:
        return round_trips(NEUTRAL, (a, b), {}).rtt_ms[pair_key(a, b)]
    except PlanError:  # a region that the set does not have
        return None


def _known_rtts(a: str, b: str) -> tuple[float, ...]:
    return tuple(rtt_by_source().get(pair_key(a, b), {}).values())
