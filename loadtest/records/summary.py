"""A first look at rows while they come in, in Arrow alone; the judging is the analysis's."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa
import pyarrow.compute as pc

from loadtest.records.kinds import STAGE_STEADY

_GRAIN_US = 50  # waits are counted in steps of a twentieth of a millisecond


def live_cells(table: pa.Table) -> Iterator[tuple[str, str, int, int, dict[int, int]]]:
    """
    Yield (region, deployment, rows, errors, waits) of a table of records, steady stage only.

    ``waits`` counts the TTFB of the rows that are TTFB samples: microseconds -> how often.
    """
    steady = table.filter(pc.equal(table["stage"], STAGE_STEADY))
    for region in pc.unique(steady["region"]).to_pylist():
        of_region = steady.filter(pc.equal(steady["region"], region))
        for deployment in pc.unique(of_region["deployment"]).to_pylist():
            cell = of_region.filter(pc.equal(of_region["deployment"], deployment))
            fine = pc.equal(cell["error"], "")
            sample = pc.and_(pc.and_(fine, cell["reused"]), pc.equal(cell["attempts"], 1))
            waits = pc.divide(pc.filter(cell["wait_us"], sample), _GRAIN_US)
            counts = {
                entry["values"] * _GRAIN_US: entry["counts"]
                for entry in pc.value_counts(waits).to_pylist()
            }
            errors = cell.num_rows - (pc.sum(fine).as_py() or 0)
            yield region, deployment, cell.num_rows, errors, counts
