"""Patterns of apps in several regions: what each costs, and where they break down."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from loadtest.analysis.findings import natural_order
from loadtest.analysis.outages import find_outages
from loadtest.analysis.patterns import Pattern, find_patterns
from loadtest.analysis.replicas import replica_findings
from loadtest.report.base.view import Section, Table, Text
from loadtest.report.base.words import (
    NOT_ENOUGH,
    NOTHING,
    count,
    interval_ms,
    ms,
    share,
    signed_ms,
)
from loadtest.report.sections.outages import breakdown_rows, section_outages

if TYPE_CHECKING:
    from loadtest.analysis.findings import Finding
    from loadtest.analysis.outages import Outage
    from loadtest.report.base.context import Context


@dataclass(frozen=True, slots=True)
class PatternWords:
    """
    What a report says of a pattern: its title, what is claimed of it, what to do.

    ``worst`` begins the findings that are told in one line; empty for the pattern's times.
    """

    title: str
    claim: str
    advice: str
    worst: str = ""


WORDS: Final[dict[str, PatternWords]] = {
    "n-plus-one": PatternWords(
        "N+1 queries",
        "Every query of a page crosses the network to wherever the data is.",
        "Read what stands in the region; where the database is far, join or batch: a page of ten "
        "queries pays ten round trips.",
    ),
    "caches": PatternWords(
        "Caches",
        "A cache in the visitor's region saves the way to the data; one far away is asked at the "
        "price of a round trip a look.",
        "Give every region a cache of its own. A far one costs a miss two round trips, and a "
        "session two with every page.",
    ),
    "staleness": PatternWords(
        "How stale",
        "A replica shows a write the one-way time after its commit, and a moment to apply it.",
        "Read your own writes elsewhere for longer than that: the window of the cookie has to be "
        "longer than the slowest way and a stalled replica together.",
    ),
    "stale-shows": PatternWords(
        "Stale pages after a write",
        "Who creates something and is sent to it may not find it yet in the own region.",
        "Keep the cookie that leads reads after a write to the primary region; without it a page "
        "is late only where the answer overtakes the change.",
        worst="stale pages",
    ),
    "writes": PatternWords(
        "What a write costs",
        "A replayed request pays one way there and back and no more; a block on the primary's own "
        "connection pays a round trip a statement.",
        "Replay what writes more than once. Move a write that a page does by the way, such as "
        "last_seen, into a job.",
    ),
    "double": PatternWords(
        "Effects that happen twice",
        "What a request did before its write was refused is done again where it is replayed.",
        "Write first, then count, mail and log; or make the effect idempotent.",
    ),
    "jobs": PatternWords(
        "Jobs",
        "A job enqueued far away costs its page a round trip; workers beside the database do it.",
        "Enqueue several in one round trip, or hand them to the process. A full queue has to "
        "refuse (noeviction), loudly.",
    ),
    "uploads": PatternWords(
        "Large uploads",
        "A replayed upload travels twice: to the region nearby, then on. More than a megabyte "
        "cannot be replayed at all.",
        "Send forms with files to the primary region from the start (fly-prefer-region), or "
        "straight to the storage.",
    ),
    "long": PatternWords(
        "Long connections",
        "A message over an open WebSocket cannot be replayed: a write in a secondary region is "
        "refused there.",
        "Read over a WebSocket nearby and send writes as forms beside it; or open it in the "
        "primary region where most messages write.",
        worst="writes over",
    ),
    "visits": PatternWords(
        "Visits with writes",
        "Most visitors only read, and never leave their region.",
        "A read-mostly app belongs near its readers; the share that feels the primary region is "
        "that of the writers and of their window.",
    ),
    "peers": PatternWords(
        "Caches that take each other's writes",
        "A write in one region's cache is in all others one way later; writes made at once end "
        "alike, the last one wins.",
        "Let the last write win, by stamp: applied as they arrive, values set at once stay "
        "different for good. Count with INCR, never by reading and setting.",
    ),
}


_STALE: Final = "staleness"


def sections_patterns(context: Context) -> tuple[Section, ...]:
    """Return a section for each pattern and for the faults, and what follows; else none."""
    patterns = find_patterns(context.run, context.summary)
    outages = find_outages(context.run, context.summary)
    told = _with_replicas(patterns, replica_findings(context.run))
    sections = tuple(
        Section(
            pattern.key,
            WORDS[pattern.key].title,
            WORDS[pattern.key].title,
            (Text(WORDS[pattern.key].claim), _table(pattern), Text(WORDS[pattern.key].advice)),
        )
        for pattern in told
    )
    if not patterns and not outages:
        return sections
    broken = (section_outages(outages),) if outages else ()
    return (*sections, *broken, _breakdown(patterns, outages))


def _with_replicas(
    patterns: tuple[Pattern, ...], replicas: tuple[Finding, ...]
) -> tuple[Pattern, ...]:
    """Return the patterns with what the world saw of its replicas under "How stale"."""
    if not replicas:
        return patterns
    others = {pattern.key: pattern for pattern in patterns}
    known = others[_STALE].findings if _STALE in others else ()
    others[_STALE] = Pattern(_STALE, (*known, *replicas))
    return tuple(others[key] for key in WORDS if key in others)


def _table(pattern: Pattern) -> Table:
    predicted = any(finding.expected is not None for finding in pattern.findings)
    headers = ("what", "deployment", "region", "n", "measured", "95 % interval")
    theory = ("theory", "difference", "as theory says") if predicted else ()
    return Table(
        key=f"pattern-{pattern.key}",
        title=WORDS[pattern.key].title,
        headers=(*headers, *theory),
        rows=tuple(
            (*_measured(finding), *(_predicted(finding) if predicted else ()))
            for finding in sorted(pattern.findings, key=lambda f: natural_order(f.what))
        ),
        align="nllrrr" + ("nrl" if predicted else ""),
        csv_headers=(
            *("what", "deployment", "region", "unit", "n", "value", "low", "high"),
            *("theory", "why", "tolerance", "holds"),
        ),
        csv_rows=tuple(map(_raw, pattern.findings)),
    )


def _measured(finding: Finding) -> tuple[str, ...]:
    found = finding.measured
    name = (finding.what, finding.deployment, finding.region, count(finding.n))
    if found is None:
        return (*name, NOT_ENOUGH, "")
    match finding.unit:
        case "share":
            return (*name, share(found.value), f"[{share(found.low)}, {share(found.high)}]")
        case "us":
            return (*name, f"{found.value:.0f} µs", f"[{found.low:.0f}, {found.high:.0f} µs]")
        case "round trips":
            return (*name, f"{found.value:.2f} times", f"[{found.low:.2f}, {found.high:.2f}]")
        case _:
            return (*name, ms(found.value), interval_ms(found.low, found.high))


def _predicted(finding: Finding) -> tuple[str, ...]:
    if finding.expected is None:
        return (NOTHING, NOTHING, NOTHING)
    if finding.measured is None:
        return (finding.expected.why, NOTHING, NOTHING)
    off = finding.measured.value - finding.expected.value
    words = {True: "yes", False: "no", None: "not valid"}
    told = f"{off:+.2f}".replace("-", "−") if finding.unit == "round trips" else signed_ms(off)
    return (finding.expected.why, told, words[finding.holds])


def _raw(finding: Finding) -> tuple[object, ...]:
    found, expected = finding.measured, finding.expected
    return (
        *(finding.what, finding.deployment, finding.region, finding.unit, finding.n),
        *(("", "", "") if found is None else (found.value, found.low, found.high)),
        *(
            ("", "", "", "")
            if expected is None
            else (expected.value, expected.why, expected.tolerance, finding.holds)
        ),
    )


def _breakdown(patterns: tuple[Pattern, ...], outages: tuple[Outage, ...]) -> Section:
    """Return the table of claims, what was measured at worst, and advice."""
    rows = tuple(
        (WORDS[p.key].title, WORDS[p.key].claim, _worst(p), _agreement(p), WORDS[p.key].advice)
        for p in patterns
    ) + breakdown_rows(outages)
    table = Table(
        key="breakdown",
        title="Where it breaks down",
        headers=("pattern or fault", "claim", "measured, at worst", "as theory says", "advice"),
        rows=rows,
        align="nwnrw",
    )
    return Section("breakdown", "Where it breaks down", "Where it breaks down", (table,))


def _worst(pattern: Pattern) -> str:
    """Return the largest number of a pattern: shares among themselves, else times."""
    told = WORDS[pattern.key].worst
    found = [
        f
        for f in pattern.findings
        if f.measured is not None and f.valid and f.what.startswith(told)
    ]
    if not found:
        return NOT_ENOUGH
    times = [f for f in found if f.unit in ("ms", "ms a query")]
    unit = times[0].unit if times else found[0].unit
    worst = max(
        (f for f in found if f.unit == unit), key=lambda f: f.measured.value if f.measured else 0.0
    )
    assert worst.measured is not None
    value = worst.measured.value
    number = share(value) if unit == "share" else ms(value)
    return f"{number}: {worst.what}, {worst.deployment}, {worst.region} (n = {count(worst.n)})"


def _agreement(pattern: Pattern) -> str:
    told = [finding.holds for finding in pattern.findings if finding.holds is not None]
    return f"{sum(told)} of {len(told)}" if told else NOTHING
