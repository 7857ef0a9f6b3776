"""A stored run for people: `loadtest.open_run(folder)`, in a notebook or a script."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from loadtest.records.reader import read_records
from loadtest.units import US_PER_MS

if TYPE_CHECKING:
    import pandas as pd

    from loadtest.analysis.load import Run
    from loadtest.analysis.summary import Summary
    from loadtest.gate.results import Verdict
    from loadtest.plan.model import Plan

_PERCENTILES = (50.0, 95.0, 99.0)
_NOT_A_TIME = ("intended_us", "start_us")


@dataclass(frozen=True)
class StoredRun:
    """
    A run as it was stored and is judged now; nothing is written.

    Attributes:
        folder: Its run folder.
    """

    folder: Path
    _run: Run
    _summary: Summary
    _judged: Verdict

    @property
    def plan(self) -> Plan:
        """The plan that was measured."""
        return self._run.plan

    @cached_property
    def records(self) -> pd.DataFrame:
        """
        One row for each request, warm-up included.

        The columns are those of the records, but for times: phases end in ``_ms`` and are
        milliseconds, NaN where the app did not tell; ``ttfb_ms`` is the wait phase of a successful
        request on a warm connection and NaN for every other; ``intended_s`` and ``start_s`` are
        seconds since the run's first request was due, ``start_s`` NaN where none was sent.
        """
        rows: pd.DataFrame = read_records(self.folder / "records.parquet").to_pandas()
        for name in [n for n in rows.columns if n.endswith("_us") and n not in _NOT_A_TIME]:
            told = rows[name] >= 0  # -1 is what the app did not tell
            rows[name.removesuffix("_us") + "_ms"] = (rows.pop(name) / US_PER_MS).where(told)
        dropped = rows["start_us"] < 0
        for name in _NOT_A_TIME:
            rows[name.removesuffix("_us") + "_s"] = rows.pop(name) / (1_000 * US_PER_MS)
        rows.loc[dropped, "start_s"] = float("nan")
        sample = (rows["error"] == "") & ~rows["cold"] & (rows["attempts"] == 1)
        rows["ttfb_ms"] = rows["wait_ms"].where(sample)
        return rows

    @cached_property
    def cells(self) -> pd.DataFrame:
        """
        One row for each region x deployment x scenario, of the steady stage.

        ``ttfb_p50_ms`` and its kin have ``_low_ms`` and ``_high_ms`` beside them, the ends of the
        95 % interval; NaN is a percentile that the sample cannot carry.
        """
        import pandas as pd

        rows = []
        for cell in self._summary.cells:
            row: dict[str, object] = {
                "region": cell.region,
                "deployment": cell.deployment,
                "scenario": cell.scenario,
                "n": cell.n,
                "errors": cell.errors,
                "dropped": cell.dropped,
                "rate_per_s": cell.rate_per_s,
                "valid": cell.valid,
                "db_round_trips": cell.db_round_trips,
            }
            for p in _PERCENTILES:
                found = cell.ttfb.get(p)
                for end in ("value", "low", "high"):
                    key = f"ttfb_p{p:g}_{end}_ms".replace("_value", "")
                    row[key] = float("nan") if found is None else getattr(found, end)
            rows.append(row)
        return pd.DataFrame(rows)

    @property
    def verdict(self) -> str:
        """``pass``, ``fail``, ``inconclusive``, ``invalid``, or ``none`` without rules."""
        return self._judged.decision

    @property
    def why(self) -> str:
        """The verdict's sentence."""
        return self._judged.sentence

    @cached_property
    def rules(self) -> pd.DataFrame:
        """One row for each rule and cell: observed value, interval, limit, decision, reason."""
        import pandas as pd

        return pd.DataFrame([rule.to_json() for rule in self._judged.rules])

    def __repr__(self) -> str:
        """Return what a notebook shows of it."""
        return f"<run {self._run.run_id}: {len(self._run.frame)} requests, {self.verdict}>"


def open_stored(folder: Path | None) -> StoredRun:
    """
    Open a run folder.

    Args:
        folder: None takes the latest run below ``reports``.

    Raises:
        RecordsError: There is none, or it cannot be read or trusted.
    """
    from loadtest.run.judge import find_folder, judge_stored

    found = find_folder(folder)
    run, summary, verdict = judge_stored(found)
    return StoredRun(found.path, run, summary, verdict)
