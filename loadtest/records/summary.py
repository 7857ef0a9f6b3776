"""A first look at rows while they come in, in Arrow alone; the judging is the analysis's."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa
import pyarrow.compute as pc

from loadtest.records.batch import text_array
from loadtest.records.kinds import STAGE_STEADY

_STEADY = text_array([STAGE_STEADY])[0]
_NO_ERROR = text_array([""])[0]
_FIRST_ATTEMPT = pa.Array.from_buffers(pa.int8(), 1, [None, pa.py_buffer(b"\x01")])[0]
# scalars are taken from arrays: made of Python values they would import pandas (see text_array)


def live_cells(table: pa.Table) -> Iterator[tuple[str, str, int, int, dict[int, int]]]:
    """
    Yield (region, deployment, rows, errors, waits) of a table of records, steady stage only.

    ``waits`` counts the TTFB of the rows that are TTFB samples: microseconds -> how often.
    """
    steady = table.filter(pc.equal(table["stage"], _STEADY))
    for region in pc.unique(steady["region"]):
        of_region = steady.filter(pc.equal(steady["region"], region))
        for deployment in pc.unique(of_region["deployment"]):
            cell = of_region.filter(pc.equal(of_region["deployment"], deployment))
            fine = pc.equal(cell["error"], _NO_ERROR)
            sample = pc.and_(fine, cell["reused"])
            sample = pc.and_(sample, pc.equal(cell["attempts"], _FIRST_ATTEMPT))
            counts = {
                entry["values"]: entry["counts"]
                for entry in pc.value_counts(pc.filter(cell["wait_us"], sample)).to_pylist()
            }
            errors = cell.num_rows - (pc.sum(fine).as_py() or 0)
            yield region.as_py(), deployment.as_py(), cell.num_rows, errors, counts
