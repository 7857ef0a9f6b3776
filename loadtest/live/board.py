"""
What a live page shows: the run so far, kept for pages that come later, told to those that listen.

Every number here is provisional; the verdict comes from the analysis at the end.  Written by the
run's thread, read by a thread for each page.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from loadtest.frozen import to_json
from loadtest.live.marks import LoadTimeLine
from loadtest.plan.model import Plan
from loadtest.records.load_status import CellStatus, LiveFigures, LoadStatus, WorkerStatus
from loadtest.records.watch import WorldGlance
from loadtest.run.progress import Progress
from loadtest.text import one_line
from loadtest.units import US_PER_MS

MOST_POINTS: Final = 300
"""Points of a curve that are kept; beyond them every second one goes, and new ones come half as
often."""

_HEALTH: Final = ("loop_lag_p99_us", "lateness_p99_us", "cpu_share", "steal_share", "in_flight")


class LiveBoard:
    """The state of one run for its live pages; also the progress that fills it, see ``beside``."""

    def __init__(self) -> None:
        self.version = 0
        """Counts changes; a page that has seen this one has seen all."""
        self.report: Path | None = None
        """The HTML report once the run has ended with one."""
        self.watches_world = False
        """Whether anybody may see what the world sees of itself: it costs the world a question."""
        self.when_begun: Callable[[], None] = lambda: None
        """Called when the load begins."""
        self._changed = threading.Condition()
        self._closed = False
        # A page may come at any time, so that each list is there before the first of it is known.
        self._content: dict[str, Any] = {
            "step": "",
            "plan": None,
            "load": None,
            "cells": [],
            "workers": [],
            "failures": [],
            "world": None,
            "notes": [],
            "end": None,
        }
        self._points: list[dict[str, object]] = []
        self._slices, self._every = 0, 1
        self._time = LoadTimeLine()
        self._metrics: Callable[[], bytes] | None = None

    # What the run tells.

    def begin(self, plan: Plan, run_id: str, metrics: Callable[[], bytes]) -> None:
        """Take what is about to be measured, see ``run.viewing.Watcher``."""
        self._metrics = metrics
        self._time = LoadTimeLine(plan.primary_region)
        facts = {
            "run_id": run_id,
            "name": one_line(plan.title or plan.name),
            "world": plan.world,
            "regions": list(plan.regions),
            "deployments": [d.name for d in plan.deployments],
            "thresholds": [one_line(rule) for rule in plan.thresholds],
            "looks": plan.gate.max_looks,
        }
        self._tell(plan=facts)
        self.when_begun()

    def load(self, status: LoadStatus, verdict_s: float) -> None:
        """Take how far the load is."""
        self._time.load(status)
        if status.slice_number != self._slices:
            self._slices = status.slice_number
            if self._slices % self._every == 0:
                self._keep_point(status)
        self._tell(
            step=f"load: {status.state}",
            load={
                "state": status.state,
                "segment": status.segment,
                "elapsed_s": round(status.elapsed_s, 1),
                "total_s": round(status.total_s, 1),
                "left_s": round(status.left_s, 1),
                "verdict_s": round(verdict_s, 1),
                "rows": status.rows,
            },
            cells=[_cell(cell, status) for cell in status.cells],
            workers=[_worker(worker) for worker in status.workers],
            failures=[
                {
                    "where": f"{failure.region} / {failure.deployment}",
                    "what": one_line(f"{failure.name}: {failure.sentence or failure.kind}"),
                    "count": failure.count,
                }
                for failure in status.failures
            ],
        )

    def world(self, glance: WorldGlance) -> None:
        """Take what the world sees of itself."""
        self._time.world(glance)
        late_us = glance.late_p99_us
        self._tell(
            world={
                "late_ms": None if late_us is None else late_us / US_PER_MS,
                "links": [
                    {
                        "pair": f"{link.from_}-{link.to}",
                        "set_ms": link.configured_rtt_ms,
                        "p50_ms": link.rtt_p50_ms,
                        "sent": link.sent,
                        "lost": link.lost,
                    }
                    for link in glance.links
                ],
            }
        )

    def step(self, text: str) -> None:
        """Take the sentence of what begins."""
        self._tell(step=one_line(text))

    def note(self, text: str) -> None:
        """Take a sentence that a person should read."""
        self._tell(notes=[*self._content["notes"], one_line(text)][-20:])

    def end(self, decision: str, sentence: str, report: Path | None) -> None:
        """
        Take how the run ended.

        Args:
            decision: Of the gate; ``failed`` where there is no verdict.
            sentence: The verdict's, or the reason.
            report: The HTML report, if there is one.
        """
        self.report = report
        end = {"decision": decision, "sentence": one_line(sentence), "report": str(report or "")}
        self._tell(end=end, step="the run has ended")

    def close(self) -> None:
        """Let every listener go."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    # What pages ask.

    def snapshot(self) -> tuple[int, dict[str, object]]:
        """Return the version, and everything there is, curves included."""
        with self._changed:
            return self.version, {**self._content, "points": list(self._points)}

    def wait(self, seen: int, timeout_s: float) -> tuple[int, dict[str, object]] | None:
        """
        Wait for news; return the version and the state without curves but for their latest point.

        Args:
            seen: Version that the page has.
            timeout_s: How long to wait.

        Returns:
            None when the board is closed and all was told; the same version when nothing came.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self.version != seen, timeout_s)
            if self._closed and self.version == seen:
                return None
            return self.version, {**self._content, "points": self._points[-1:]}

    def metrics(self) -> bytes:
        """
        Return the coordinator's metrics; nothing before there is a coordinator.

        Raises:
            EngineError: It does not answer any more.
        """
        return self._metrics() if self._metrics is not None else b""

    def _keep_point(self, status: LoadStatus) -> None:
        cells = {
            f"{cell.region}/{cell.deployment}": [
                cell.recent.p50_ms,
                cell.recent.p95_ms,
                round(status.rate_of(cell), 2),
                cell.recent.errors,
            ]
            for cell in status.cells
        }
        with self._changed:
            self._points.append(
                {"n": status.slice_number, "t_s": round(self._time.now_s, 1), "cells": cells}
            )
            if len(self._points) > MOST_POINTS:
                self._points, self._every = self._points[::2], 2 * self._every

    def _tell(self, **news: Any) -> None:
        with self._changed:
            marks = [to_json(mark) for mark in self._time.marks]
            self._content = {**self._content, "marks": marks, **news}
            self.version += 1
            self._changed.notify_all()


class BoardProgress:
    """
    Passes a run's news on to a live board, and to whoever hears them besides.

    Args:
        board: The board.
        other: The terminal.
    """

    def __init__(self, board: LiveBoard, other: Progress) -> None:
        self._board = board
        self._other = other

    def step(self, text: str) -> None:
        """Pass on the sentence of a step that begins."""
        self._board.step(text)
        self._other.step(text)

    def done(self, text: str) -> None:
        """Pass on the sentence of a step that ended well."""
        self._board.step(text)
        self._other.done(text)

    def warn(self, text: str) -> None:
        """Pass on a sentence that a person should read."""
        self._board.note(text)
        self._other.warn(text)

    def load(self, state: str, headline: str, table: Sequence[Sequence[str]], brief: str) -> None:
        """Pass it on in words; the board gets the figures themselves."""
        self._other.load(state, headline, table, brief)


def _cell(cell: CellStatus, status: LoadStatus) -> dict[str, object]:
    return {
        "region": cell.region,
        "deployment": cell.deployment,
        "rate": round(status.rate_of(cell), 1),
        "total": _figures(cell.total),
        "recent": _figures(cell.recent),
    }


def _figures(figures: LiveFigures) -> dict[str, object]:
    return {
        "n": figures.n,
        "errors": figures.errors,
        "p50_ms": figures.p50_ms,
        "p95_ms": figures.p95_ms,
    }


def _worker(worker: WorkerStatus) -> dict[str, object]:
    health = to_json(worker.health) if worker.health is not None else {}
    return {
        "name": one_line(worker.name),
        "region": worker.region,
        "state": worker.state,
        "sent": worker.sent,
        **{key: health.get(key) for key in _HEALTH},
    }
