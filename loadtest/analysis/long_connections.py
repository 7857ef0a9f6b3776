"""Long connections: what a message over an open WebSocket takes, and which writes are refused."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray

from loadtest.analysis.cells import CellRows
from loadtest.analysis.findings import Expected, Finding, median_of, share_of
from loadtest.analysis.hops import rtt_ms
from loadtest.analysis.load import Run
from loadtest.analysis.metrics import sample_of

Rows = NDArray[np.int32]

_NEAR: Final = 0.1
"""Part of a round trip by which whole ones may be missed."""
_WRITTEN, _REFUSED = re.compile(r"^write nearby"), re.compile(r"^write nearby, refused")
_FORM: Final = re.compile(r"^POST .*beside")


def long_connections(
    run: Run, cell: CellRows, pages: Iterable[tuple[str, Rows]]
) -> Iterator[Finding]:
    """
    Yield the median of what is asked over long connections, and the share of refused writes.

    Args:
        run: The stored run.
        cell: A cell of the scenario ``kitchen``.
        pages: Its rows by request name.
    """
    written = refused = forms = done = 0
    rtt = rtt_ms(run.plan, cell.region, run.plan.primary_region)
    for name, rows in pages:
        written += int(rows.size) if _WRITTEN.search(name) else 0
        refused += int(rows.size) if _REFUSED.search(name) else 0
        if _FORM.search(name):
            forms += int(rows.size)
            done += int((run.frame["status"].to_numpy()[rows] == 303).sum())
        values = sample_of(run.frame, rows, "wait").values
        found, expected = median_of(values), None
        if found is not None and rtt and cell.region != run.plan.primary_region:
            base_ms = run.plan.base_ms.get(cell.region, 0.0) if _FORM.search(name) else 0.0
            trips = max(0, round((found.value - base_ms) / rtt))
            why = f"{base_ms:g} ms + " * bool(base_ms) + (f"{trips} × {rtt:g} ms" if trips else "")
            expected = Expected(base_ms + trips * rtt, why or "no round trip", _NEAR * rtt)
        yield Finding(
            *(cell.deployment, cell.region, name, "ms", int(values.size), found), expected=expected
        )
    for what, hits, n in (
        ("writes over an open WebSocket nearby that are refused", refused, written),
        ("forms beside it that are taken", done, forms),
    ):
        if n:
            yield Finding(cell.deployment, cell.region, what, "share", n, share_of(hits, n))
