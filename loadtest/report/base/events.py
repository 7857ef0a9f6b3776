"""What happened to a region while the run went on: to its load generator, and to its world."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from loadtest.report.base.words import ms, share
from loadtest.units import US_PER_MS, US_PER_S

if TYPE_CHECKING:
    from loadtest.analysis.load import Run
    from loadtest.plan.model import ValidityLimits
    from loadtest.records.facts import WorkerFacts
    from loadtest.report.base.context import Context

MOST_EVENTS: Final = 8
_TOGETHER_S: Final = 3.0
_LOST: Final = "lost"
_WORLD: Final = "world: "
_LOOK: Final = "look "


@dataclass(frozen=True, slots=True)
class TimelineEvent:
    """Something that happened to a region; ``label`` is a few words, for people."""

    t_s: float
    label: str
    kind: str = ""


def events_in(context: Context, region: str) -> list[TimelineEvent]:
    """
    Return the events of a region in the order of time, at most ``MOST_EVENTS``.

    An event is the loss of a worker, a moment of its health beyond the plan's limit, a fault that
    was asked for, a machine that ended, or a look of the gate that asked for more load; moments
    that follow each other closely are one event.
    """
    found: list[TimelineEvent] = []
    for worker in context.run.workers:
        if worker.region == region:
            found += _events_of(worker, context.plan.validity)
    found += [
        TimelineEvent(event.t_s, event.text, _WORLD + event.text)
        for event in context.summary.events
        if event.touches(region)
    ]
    found += _looks(context.run)
    found.sort(key=lambda event: event.t_s)
    kept: list[TimelineEvent] = []
    last_s: dict[str, float] = {}
    for event in found:
        if event.t_s - last_s.get(event.kind, -math.inf) > _TOGETHER_S:
            kept.append(event)
        last_s[event.kind] = event.t_s
    # Losses and what the world did are what a reader must not miss; others give way to them.
    lost = [event for event in kept if event.kind.startswith((_LOST, _WORLD, _LOOK))][:MOST_EVENTS]
    others = [event for event in kept if event not in lost][: MOST_EVENTS - len(lost)]
    return sorted([*others, *lost], key=lambda event: event.t_s)


def _looks(run: Run) -> Iterator[TimelineEvent]:
    """Yield where each further segment begins: its blocks count on from those before it."""
    block, intended_us = run.frame["block"].to_numpy(), run.frame["intended_us"].to_numpy()
    begun = 0
    for number, segment in enumerate(run.engine.segments[:-1] if run.engine else (), start=1):
        begun += segment.blocks
        later_us = intended_us[block >= begun]
        if later_us.size:
            text = f"look {number} left the gate undecided, and more load was sent"
            yield TimelineEvent(float(later_us.min()) / US_PER_S, text, f"{_LOOK}{number}")


def _events_of(worker: WorkerFacts, limits: ValidityLimits) -> Iterator[TimelineEvent]:
    for moment in worker.timeline:
        for value_us, limit_ms, words in (
            (moment.gc_pause_us, limits.gc_pause_ms, "garbage collection held the process for"),
            (moment.loop_lag_p99_us, limits.loop_lag_p99_ms, "event loop late by"),
            (moment.lateness_p99_us, limits.late_after_ms, "requests left late by"),
        ):
            value_ms = value_us / US_PER_MS
            if value_ms > limit_ms:
                yield TimelineEvent(moment.t_s, f"{words} {ms(value_ms)} ({worker.id})", words)
        steal = moment.steal_share or 0.0
        if steal > limits.steal_share:
            text = f"machine lost {share(steal)} of its CPU to others"
            yield TimelineEvent(moment.t_s, text, "steal")
    if worker.state == "lost":
        last_s = max((moment.t_s for moment in worker.timeline), default=0.0)
        yield TimelineEvent(last_s, f"worker {worker.id} was lost", _LOST)
