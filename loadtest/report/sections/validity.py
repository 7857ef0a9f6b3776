"""How far the numbers can be trusted: every check, the generator's health, the links, the A/A."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from loadtest.report.base.view import Block, Callout, Section, Table, Text
from loadtest.report.base.words import NOTHING, count, decision, listing, ms, number, share
from loadtest.report.sections.world import world_blocks
from loadtest.units import US_PER_MS

if TYPE_CHECKING:
    from loadtest.analysis.checks import SplitTest, Validity, ValidityCheck
    from loadtest.records.facts import WorkerFacts
    from loadtest.records.world_facts import LinkFacts
    from loadtest.report.base.context import Context

_CSV: Final = (
    *("name", "scope", "region", "deployment", "scenario", "worker", "observed", "limit"),
    *("unit", "ok", "why", "advice"),
)


def section_validity(context: Context) -> Section:
    """Return the section about validity."""
    validity = context.summary.validity
    workers = context.run.workers
    links = context.run.world.links
    failed = [Callout("invalid", f"{c.why} {c.advice}".strip()) for c in validity.failed]
    blocks: list[Block] = [
        *failed,
        checks_table(validity),
        Text(_split_words(validity.aa)),
        *([_bookkeeping(workers), _health(workers)] if workers else []),
        *([_links(links)] if links else []),
        *world_blocks(context),
    ]
    return Section("validity", "How far to trust these numbers", "Validity", tuple(blocks))


def checks_table(validity: Validity) -> Table:
    """Return one row per kind of check, with the worst place it was seen at; CSV has them all."""
    groups: dict[str, list[ValidityCheck]] = {}
    for check in validity.checks:
        groups.setdefault(check.name, []).append(check)
    worst = [max(checks, key=_badness) for checks in groups.values()]
    words = tuple("pass" if check.ok else "invalid" for check in worst)
    return Table(
        key="checks",
        title="Checks of the measurement itself",
        headers=("check", "state", "worst observed", "limit", "where", "places"),
        rows=tuple(
            (
                check.name,
                decision(word),
                _measure(check.observed, check.unit),
                _measure(check.limit, check.unit),
                _where(check),
                f"{sum(c.ok for c in groups[check.name])} of {len(groups[check.name])} ok",
            )
            for check, word in zip(worst, words, strict=True)
        ),
        align="llrrll",
        details=tuple(check.why for check in worst),
        note="The CSV file has every check at every place.",
        marks=words,
        csv_headers=_CSV,
        csv_rows=tuple(
            tuple("" if getattr(c, key) is None else getattr(c, key) for key in _CSV)
            for c in validity.checks
        ),
    )


def _badness(check: ValidityCheck) -> tuple[bool, float]:
    if check.observed is None:
        return (not check.ok, 0.0)
    return (not check.ok, abs(check.observed) / check.limit if check.limit else check.observed)


def _where(check: ValidityCheck) -> str:
    named = [check.region, check.deployment, check.scenario, check.worker]
    return " / ".join(part for part in named if part) or "whole run"


def _measure(value: float | None, unit: str) -> str:
    if value is None:
        return NOTHING
    if unit == "ms":
        return ms(value)
    if unit in {"share", "%"}:
        return share(value if unit == "share" else value / 100, digits=2)
    return f"{number(value)} {unit}".strip()


def _split_words(aa: SplitTest) -> str:
    if not aa.trials:
        return "A/A: the run is too short to be split in two halves and compared with itself."
    return (
        f"A/A: each arm was split at random into two halves and the halves judged as if they were "
        f"two arms. Of {count(aa.trials)} such comparisons {count(aa.raw_fires)} had a 95 % "
        f"interval without zero ({share(aa.raw_fires / aa.trials)}; 5 % is nominal) and "
        f"{count(aa.gate_fires)} would have failed the gate: a false alarm."
    )


def _bookkeeping(workers: Sequence[WorkerFacts]) -> Table:
    rows = []
    for worker in workers:
        told = worker.rows
        counts = (told.scheduled, told.sent, told.received, told.merged, told.missing)
        rows.append((worker.id, worker.region, worker.state, *map(count, counts)))
    return Table(
        key="reconciliation",
        title="Reconciliation: every row that was sent has to arrive",
        headers=("worker", "region", "state", "scheduled", "sent", "received", "merged", "missing"),
        rows=tuple(rows),
        align="lllrrrrr",
    )


_TOLD_OF_ID: Final = 4
_HEALTH: Final = (
    *("self-check bias p50", "bias p99", "clock offset", "± uncertainty", "loop lag p99"),
    *("lateness p99", "late", "dropped", "CPU mean", "CPU max", "steal max", "GC max", "resends"),
    "retransmits",
)


def _health_row(worker: WorkerFacts) -> tuple[str, ...]:
    """Return a worker's numbers in the order of ``_HEALTH``; a dash for what it never told."""
    check, clock, health = worker.self_check, worker.clock, worker.health
    name = f"{worker.region} {worker.id[-_TOLD_OF_ID:]}"
    first = (
        (NOTHING, NOTHING) if check is None else (_us(check.bias_p50_us), _us(check.bias_p99_us))
    )
    second = (
        (NOTHING, NOTHING) if clock is None else (_us(clock.offset_us), _us(clock.uncertainty_us))
    )
    if health is None:
        return name, *first, *second, *[NOTHING] * (len(_HEALTH) - 4)
    return (
        name,
        *first,
        *second,
        _us(health.loop_lag_p99_us),
        _us(health.lateness_p99_us),
        count(health.late),
        count(health.dropped),
        share(health.cpu_share_mean),
        share(health.cpu_share_max),
        NOTHING if health.steal_share_max is None else share(health.steal_share_max),
        _us(health.gc_pause_max_us),
        count(health.resends),
        NOTHING if health.retransmits is None else count(health.retransmits),
    )


def _us(value: float) -> str:
    return ms(value / US_PER_MS)


def _health(workers: Sequence[WorkerFacts]) -> Table:
    return Table(
        key="health",
        title="The load generator while it measured",
        headers=("worker", *_HEALTH),
        rows=tuple(map(_health_row, workers)),
        align="l" + "r" * len(_HEALTH),
        note=(
            "Self-check: before load every worker measures a built-in server of known delay "
            "through the very same client; the bias is how far off it read. Loop lag is how late "
            "the event loop came round, lateness how far after its intended start a request left."
        ),
    )


def _links(links: Sequence[LinkFacts]) -> Table:
    words = tuple("pass" if link.ok else "invalid" for link in links)
    bad = [link.pair for link in links if not link.ok]
    return Table(
        key="links",
        title="Links: configured and measured round-trip time",
        headers=("link", "configured", "measured p50", "measured p95", "off by", "n", "state"),
        rows=tuple(
            (
                link.pair,
                ms(link.configured_rtt_ms),
                _measure(link.measured_rtt_p50_ms, "ms"),
                _measure(link.measured_rtt_p95_ms, "ms"),
                _measure(_off_by(link), "ms"),
                count(link.n),
                decision(word),
            )
            for link, word in zip(links, words, strict=True)
        ),
        align="lrrrrrl",
        note=f"Out of tolerance: {listing(bad)}." if bad else "Measured before the load started.",
        marks=words,
    )


def _off_by(link: LinkFacts) -> float | None:
    p50_ms = link.measured_rtt_p50_ms
    return None if p50_ms is None else p50_ms - link.configured_rtt_ms
