"""
The coordinator's numbers for Prometheus: ``GET /metrics`` while it runs.

Counters and the histogram are of the steady stage and count over the segments of a run.  They are
for dashboards: the analysis reads the records and nothing else.

| metric | type | labels | meaning |
|---|---|---|---|
| loadtest_run_info | gauge | run_id, plan, state | 1 for the latest run |
| loadtest_segment | gauge | | segment under way, from 0 |
| loadtest_elapsed_seconds | gauge | | since the segment's start |
| loadtest_planned_seconds | gauge | | length of the segment |
| loadtest_requests_total | counter | region, deployment | requests |
| loadtest_errors_total | counter | region, deployment | requests that failed, dropped ones too |
| loadtest_ttfb_seconds | histogram | region, deployment | TTFB of requests that are samples of it |
| loadtest_worker_up | gauge | region, worker | 0 for a worker that was lost |
| loadtest_worker_loop_lag_seconds | gauge | region, worker | event loop late, p99 of a second |
| loadtest_worker_lateness_seconds | gauge | region, worker | requests left late, p99 of a second |
| loadtest_worker_cpu_ratio | gauge | region, worker | CPU of the process, 1 is a core |
| loadtest_worker_steal_ratio | gauge | region, worker | CPU that the host took from the machine |
| loadtest_worker_in_flight | gauge | region, worker | requests under way |

Source: Prometheus text exposition format, version 0.0.4.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final

from loadtest.engine.coordinator.conductor import SegmentConductor
from loadtest.engine.coordinator.live_cells import CellFigures
from loadtest.engine.coordinator.run_workers import Member
from loadtest.records.facts import MomentFacts
from loadtest.units import MS_PER_S, US_PER_MS, US_PER_S

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"

BOUNDS_MS: Final = (
    *(1, 2, 5, 10, 15, 20, 30, 40, 50, 60, 75, 100, 125, 150, 200, 250, 300, 400, 500),
    *(750, 1_000, 1_500, 2_000, 3_000, 5_000, 10_000, 30_000),
)
"""Upper bounds of the histogram's buckets."""

_HEALTH: Final[tuple[tuple[str, Callable[[MomentFacts], float | None], float, str], ...]] = (
    (
        "loop_lag_seconds",
        lambda m: m.loop_lag_p99_us,
        US_PER_S,
        "Event loop late, p99 of a second.",
    ),
    (
        "lateness_seconds",
        lambda m: m.lateness_p99_us,
        US_PER_S,
        "Requests left late, p99 of a second.",
    ),
    ("cpu_ratio", lambda m: m.cpu_share, 1, "CPU of the process; 1 is a core."),
    ("steal_ratio", lambda m: m.steal_share, 1, "CPU that the host took from the machine."),
    ("in_flight", lambda m: m.in_flight, 1, "Requests under way."),
)

Labels = Mapping[str, str]
Sample = tuple[str, Labels, float]


def metrics_text(run: SegmentConductor | None) -> str:
    """Return the metrics of the latest run; of none before the first."""
    if run is None:
        return ""
    return "".join(line + "\n" for line in [*_run(run), *_cells(run), *_workers(run)])


def _run(run: SegmentConductor) -> Iterator[str]:
    info = {"run_id": run.run_id, "plan": run.order.plan.name, "state": run.state}
    for name, words, labels, value in (
        ("run_info", "The latest run.", info, 1.0),
        ("segment", "Segment under way, from 0.", {}, run.order.segment),
        ("elapsed_seconds", "Since the segment's start.", {}, run.elapsed_s),
        ("planned_seconds", "Length of the segment.", {}, run.total_s),
    ):
        yield from family(f"loadtest_{name}", "gauge", words, [("", labels, value)])


def _cells(run: SegmentConductor) -> Iterator[str]:
    cells = [
        ({"region": region, "deployment": deployment}, figures)
        for (region, deployment), figures in sorted(run.collector.live.totals.items())
    ]
    counts = [("", labels, figures.n) for labels, figures in cells]
    errors = [("", labels, figures.errors) for labels, figures in cells]
    times = [sample for labels, figures in cells for sample in _buckets(labels, figures)]
    yield from family("loadtest_requests_total", "counter", "Requests, steady stage.", counts)
    yield from family("loadtest_errors_total", "counter", "Requests that failed.", errors)
    yield from family("loadtest_ttfb_seconds", "histogram", "Time to first byte.", times)


def _buckets(labels: Labels, figures: CellFigures) -> Iterator[Sample]:
    waits = figures.waits
    bounds_us = [bound_ms * US_PER_MS for bound_ms in BOUNDS_MS]
    for bound_ms, count in zip(BOUNDS_MS, waits.counts_within(bounds_us), strict=True):
        yield "_bucket", {**labels, "le": f"{bound_ms / MS_PER_S:g}"}, count
    yield "_bucket", {**labels, "le": "+Inf"}, waits.total
    yield "_sum", labels, waits.sum / US_PER_S
    yield "_count", labels, waits.total


def _workers(run: SegmentConductor) -> Iterator[str]:
    members = list(run.workers.members.values())
    up = [("", _labels(member), float(member.state != "lost")) for member in members]
    yield from family("loadtest_worker_up", "gauge", "0 for a worker that was lost.", up)
    for name, read_value, divisor, words in _HEALTH:
        told = [
            ("", _labels(member), value / divisor)
            for member in members
            if member.timeline and (value := read_value(member.timeline[-1])) is not None
        ]
        yield from family(f"loadtest_worker_{name}", "gauge", words, told)


def _labels(member: Member) -> dict[str, str]:
    return {"region": member.entry.region, "worker": member.entry.name}


def family(name: str, kind: str, words: str, samples: Iterable[Sample]) -> Iterator[str]:
    """
    Yield the lines of one metric.

    Args:
        name: Its name.
        kind: ``counter``, ``gauge`` or ``histogram``.
        words: What it means, on one line.
        samples: What follows the name, labels, value.
    """
    yield f"# HELP {name} {words}"
    yield f"# TYPE {name} {kind}"
    for suffix, labels, value in samples:
        told = ",".join(f'{key}="{_escaped(text)}"' for key, text in labels.items())
        shown = f"{value:d}" if isinstance(value, int) else f"{value:.6g}"
        yield f"{name}{suffix}{{{told}}} {shown}" if told else f"{name}{suffix} {shown}"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
