"""
Change points in a history of runs: where did the level of a number move, and stay?

Stored runs differ in weather, so a history never fails a gate; it shows trends.  A change point is
where cutting the series makes the two sides least alike by the energy statistic; it is kept when
hardly any random order of the series could be cut so well.  Cutting goes on within the parts.  A
series or part with too few runs for that is looked through for jumps far outside its noise.

Sources: Matteson and James, "A Nonparametric Approach for Multiple Change Point Analysis of
Multivariate Data", JASA 2014 (E-divisive); Daly et al., ICPE 2020 (its use on benchmarks).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from loadtest.analysis.jumps import find_jumps
from loadtest.analysis.summary import SCHEMA_VERSION
from loadtest.errors import RecordsError

MIN_PART: Final = 3
"""Runs on either side of a change point at least: one run is weather."""
MIN_RUNS: Final = 2 * MIN_PART
"""Runs of the shortest history that can show a change."""
MIN_ORDERED: Final = 15
"""Runs from which random orders decide: with fewer, three runs at an end are never rare enough."""
PERMUTATIONS: Final = 999
SIGNIFICANCE: Final = 0.01
DEFAULT_SEED: Final = 1


@dataclass(frozen=True, slots=True)
class ChangePoint:
    """
    A change of level: the first run of the new one, and the medians before and after.

    ``p_value`` is the probability that a series without a change could be cut at least as well.
    """

    index: int
    run_id: str
    before_ms: float
    after_ms: float
    p_value: float

    @property
    def change_share(self) -> float:
        """The change as a share of the level before it."""
        return self.after_ms / self.before_ms - 1 if self.before_ms else 0.0


Key = tuple[str, str, str, str]
"""Region, deployment, scenario, and the name of a page or nothing."""


@dataclass(frozen=True, slots=True, order=True)
class StoredSummary:
    """
    What a stored summary.json tells a history: when the run was, which, one value of each cell.

    ``values`` are those of valid cells; ``invalid`` of ``cells`` cells are left out.
    """

    started_wall_ns: int
    id: str
    values: tuple[tuple[Key, float], ...]
    cells: int
    invalid: int


@dataclass(frozen=True, slots=True)
class Series:
    """
    The median TTFB of one cell over a history of runs, with its change points.

    ``name`` is that of the requests where the series is of one page of the cell.
    """

    region: str
    deployment: str
    scenario: str
    run_ids: tuple[str, ...]
    values_ms: tuple[float, ...]
    changes: tuple[ChangePoint, ...]
    name: str = ""

    @property
    def label(self) -> str:
        """The cell's name for people."""
        return " / ".join(
            part for part in (self.region, self.deployment, self.scenario, self.name) if part
        )


def history(summaries: Sequence[StoredSummary], *, seed: int = DEFAULT_SEED) -> tuple[Series, ...]:
    """
    Return the series of every cell, oldest run first, each with its change points.

    Args:
        summaries: Of the runs, in any order.
        seed: Of the permutations.
    """
    found: dict[Key, list[tuple[str, float]]] = {}
    for run in sorted(summaries):
        for key, value in run.values:
            found.setdefault(key, []).append((run.id, value))
    return tuple(
        Series(
            *key[:3],
            name=key[3],
            run_ids=tuple(run_id for run_id, _ in points),
            values_ms=tuple(value for _, value in points),
            changes=change_points(points, seed=seed),
        )
        for key, points in sorted(found.items(), key=lambda item: bool(item[0][3]))
    )


def invalid_runs(summaries: Sequence[StoredSummary]) -> list[str]:
    """Return a sentence for each run of which cells are left out because they are invalid."""
    return [
        f"left out as invalid: {run.invalid} of {run.cells} cells of {run.id}"
        for run in summaries
        if run.invalid
    ]


def read_summary(content: Mapping[str, object], percentile: str = "p50") -> StoredSummary:
    """
    Read the content of a summary.json; whatever does not fit is refused as a whole.

    Args:
        content: Of the file.
        percentile: Which percentile of TTFB is the value of a cell.

    Raises:
        RecordsError: It is of another schema, or not as such a summary is.
    """
    told: Any = content  # whatever it is not shows below
    try:
        run_id, schema = str(told["run"]["id"]), told.get("schema")
        if schema == SCHEMA_VERSION:
            cells = told["cells"]
            values = tuple(_values_of(cells, percentile))
            invalid = sum(cell["valid"] is not True for cell in cells)
            began_ns = int(told["run"]["started_wall_ns"])
            return StoredSummary(began_ns, run_id, values, len(cells), invalid)
    except (AttributeError, KeyError, OverflowError, TypeError, ValueError) as error:
        raise RecordsError(
            f"a summary.json is not as this version writes it ({error!r:.80}); run "
            "`loadtest analyze` on its run"
        ) from error
    raise RecordsError(
        f"{run_id}: summary of schema {schema!r:.80}, this version reads {SCHEMA_VERSION}; run "
        "`loadtest analyze` on it"
    )


def _values_of(cells: Iterable[dict[str, Any]], percentile: str) -> Iterator[tuple[Key, float]]:
    """Yield the percentile of every valid cell, and of its pages where it has several."""
    for cell in cells:
        if cell["valid"] is not True:
            continue
        pages = cell.get("pages") or ()  # summaries of earlier versions have none
        parts = [("", cell), *((page["name"], page) for page in pages if len(pages) > 1)]
        for name, part in parts:
            value = part["ttfb_ms"].get(percentile)
            if value is None:
                continue
            if isinstance(value, bool) or not 0 <= value < math.inf:
                raise ValueError(f"{percentile}: {value!r}")
            key = (cell["region"], cell["deployment"], cell["scenario"], name)
            if not all(isinstance(word, str) for word in key):
                raise TypeError(f"cell {key!r}")
            yield key, float(value)


def change_points(
    points: Sequence[tuple[str, float]], *, seed: int = DEFAULT_SEED
) -> tuple[ChangePoint, ...]:
    """
    Return the change points of a series, in order.

    Args:
        points: Run id and value, oldest first.
        seed: Of the permutations; each part of the series draws from its own stream.
    """
    values = np.array([value for _, value in points], dtype=np.float64)
    cuts: dict[int, float] = {}
    open_parts = [(0, values.size)]
    while open_parts:
        start, stop = open_parts.pop()
        generator = np.random.Generator(np.random.PCG64([seed, start, stop]))
        found = _cut(values[start:stop], generator)
        if found is not None:
            places = [start + cut for cut in found[0]]
            cuts.update(dict.fromkeys(places, found[1]))
            open_parts += pairwise([start, *places, stop])
    edges = [0, *sorted(cuts), values.size]
    return tuple(
        ChangePoint(
            index=cut,
            run_id=points[cut][0],
            before_ms=float(np.median(values[edges[i] : cut])),
            after_ms=float(np.median(values[cut : edges[i + 2]])),
            p_value=cuts[cut],
        )
        for i, cut in enumerate(edges[1:-1])
    )


def _cut(
    values: NDArray[np.float64], generator: np.random.Generator
) -> tuple[tuple[int, ...], float] | None:
    """Return the best cuts of a part and their p-value, or None where there are none."""
    if values.size < MIN_ORDERED:
        return find_jumps(values, MIN_PART)
    distances = np.abs(values[:, None] - values[None, :])
    statistic, cut = _best(distances)
    if statistic <= 0:
        return None
    as_good = 1
    for _ in range(PERMUTATIONS):
        order = generator.permutation(values.size)
        as_good += _best(distances[np.ix_(order, order)])[0] >= statistic
    p_value = as_good / (PERMUTATIONS + 1)
    return ((cut,), p_value) if p_value <= SIGNIFICANCE else None


def _best(distances: NDArray[np.float64]) -> tuple[float, int]:
    """Return the largest energy statistic over all cuts, and its cut."""
    n = distances.shape[0]
    corner = np.cumsum(np.cumsum(distances, axis=0), axis=1)
    cuts = np.arange(MIN_PART, n - MIN_PART + 1)
    left, total = corner[cuts - 1, cuts - 1], corner[-1, -1]
    cross = corner[cuts - 1, -1] - left
    right = total - left - 2 * cross
    m, k = cuts.astype(np.float64), (n - cuts).astype(np.float64)
    # Sums over ordered pairs; within-sample means leave the zero diagonal out.
    energy = 2 * cross / (m * k) - left / (m * (m - 1)) - right / (k * (k - 1))
    scaled = energy * m * k / (m + k)
    best = int(scaled.argmax())
    return float(scaled[best]), int(cuts[best])
