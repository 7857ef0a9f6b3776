"""What a coordinator says of a load, for tests."""

from __future__ import annotations

from loadtest.records.load_status import LoadStatus


def load_status(state: str = "steady", segment: int = 0) -> LoadStatus:
    """Return the status of a load of nine seconds that began a second ago."""
    return LoadStatus(
        run_id="r1",
        segment=segment,
        state=state,
        elapsed_s=1.0,
        total_s=9.0,
        rows=0,
        slice_number=0,
        slice_s=0.0,
        cells=(),
        workers=(),
        failures=(),
        error="",
    )
