"""What visitors saw of each fault that was asked for, and for how long."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, Final

from loadtest.analysis.outages import STALLED_MS
from loadtest.report.base.view import Section, Table, Text
from loadtest.report.base.words import NOTHING, count, interval_ms, listing, ms, share
from loadtest.units import MS_PER_S

if TYPE_CHECKING:
    from loadtest.analysis.findings import Measured
    from loadtest.analysis.outages import Outage

_NEVER: Final = "not any more"
_DATABASE: Final = (
    "Who asks a database that stops is refused until it is back; who has one nearby is not.",
    "Keep what reads need in the region, let the pool connect anew by itself, and answer a write "
    "with 503 and Retry-After while the primary is away.",
)
_APP: Final = (
    "A machine that dies takes its region's visitors with it until it is back, or the edge sends "
    "them elsewhere.",
    "Run two machines in a region that matters, and let the health check be quick.",
)
_LINK: Final = (
    "A region that is cut off serves what stands in it; everything else waits, and comes after the "
    "end with the sender's next try.",
    "Give queries and replayed requests a deadline that a visitor would wait for: without one they "
    "stand still for as long as the cut lasts.",
)


def section_outages(outages: tuple[Outage, ...]) -> Section:
    """
    Return the section about faults.

    Args:
        outages: At least one.
    """
    lost = sum(not outage.valid for outage in outages)
    return Section(
        "failures",
        "What visitors saw of each failure",
        "Failures",
        (
            Text(
                "Faults that were asked for are events, and no reason to doubt the numbers. A "
                "request met one that failed, or took a second longer than its page's median. "
                "Back after: seconds from the fault until the first good answer behind the last "
                "request that met it; its interval begins where that request was sent."
            ),
            _table(outages),
            *(
                [Text(f"{lost} of {len(outages)} rows are of cells that are not valid.")]
                * bool(lost)
            ),
            *(Text(told) for told in _unharmed(outages)),
        ),
    )


def breakdown_rows(outages: tuple[Outage, ...]) -> tuple[tuple[str, ...], ...]:
    """Return title, claim, what was measured at worst, agreement and advice for each fault."""
    return tuple(
        (fault, *_words(fault)[:1], _worst(tuple(found)), NOTHING, *_words(fault)[1:])
        for fault, found in _by_fault(outages)
    )


def _by_fault(outages: tuple[Outage, ...]) -> list[tuple[str, list[Outage]]]:
    groups = groupby(outages, key=lambda outage: (outage.began_s, outage.fault))
    return [(fault, list(found)) for (_, fault), found in groups]


def _words(fault: str) -> tuple[str, str]:
    verb, _, rest = fault.partition(" ")
    if verb in {"kill", "restart"}:
        return _DATABASE if rest.startswith("database") else _APP
    return _LINK


def _table(outages: tuple[Outage, ...]) -> Table:
    return Table(
        key="failures",
        title="What visitors saw",
        headers=(
            *("fault", "at", "deployment", "region", "page", "n", "failed", "stalled"),
            *("share that met it", "95 % interval", "back after", "between"),
        ),
        rows=tuple(_row(outage) for outage in outages if outage.touched),
        align="nrlnnrnrrrrr",
        note=f"Stalled: answered well, {ms(STALLED_MS)} or more above the page's median.",
        csv_headers=(
            *("fault", "began_s", "lasted_s", "deployment", "region", "scenario", "page", "n"),
            *("failed", "kinds", "stalled", "met_share", "met_low", "met_high"),
            *("back_s", "back_low_s", "back_high_s", "valid"),
        ),
        csv_rows=tuple(map(_raw, outages)),
    )


def _row(outage: Outage) -> tuple[str, ...]:
    kinds = ", ".join(f"{n} {kind}" for kind, n in sorted(outage.kinds.items()))
    return (
        outage.fault,
        ms(outage.began_s * MS_PER_S),
        outage.deployment,
        outage.region,
        outage.page,
        count(outage.met.n),
        kinds or "0",
        count(outage.stalled),
        share(outage.met.value),
        f"[{share(outage.met.low)}, {share(outage.met.high)}]",
        *_back(outage.back_s),
    )


def _back(found: Measured | None) -> tuple[str, str]:
    if found is None:
        return (_NEVER, "")
    return (ms(found.value * MS_PER_S), interval_ms(found.low * MS_PER_S, found.high * MS_PER_S))


def _raw(outage: Outage) -> tuple[object, ...]:
    back = outage.back_s
    return (
        *(outage.fault, outage.began_s, "" if outage.lasted_s is None else outage.lasted_s),
        *(outage.deployment, outage.region, outage.scenario, outage.page, outage.met.n),
        *(outage.failed, " ".join(f"{kind}={n}" for kind, n in sorted(outage.kinds.items()))),
        *(outage.stalled, outage.met.value, outage.met.low, outage.met.high),
        *(("", "", "") if back is None else (back.value, back.low, back.high)),
        outage.valid,
    )


def _unharmed(outages: tuple[Outage, ...]) -> list[str]:
    """Return a sentence for each fault about those who saw nothing of it."""
    told = []
    for fault, found in _by_fault(outages):
        calm = [outage for outage in found if not outage.touched]
        arms = dict.fromkeys(outage.deployment for outage in calm)
        places = [f"{arm} ({', '.join(_calm_places(arm, found))})" for arm in arms]
        if places:
            n = sum(outage.met.n for outage in calm)
            told.append(f"Nothing of {fault} was seen by {listing(places)}: 0 of {count(n)}.")
    return told


def _calm_places(arm: str, found: list[Outage]) -> list[str]:
    """Return the regions that saw nothing, and the pages where only some of a region did not."""
    places = []
    own = [outage for outage in found if outage.deployment == arm]
    for region in dict.fromkeys(outage.region for outage in own):
        here = [outage for outage in own if outage.region == region]
        calm = [outage.page for outage in here if not outage.touched]
        whole = len(calm) == len(here)
        places += [region] if whole else [f"{page} from {region}" for page in calm]
    return places


def _worst(outages: tuple[Outage, ...]) -> str:
    """Return who waited longest for service to be back."""
    valid = [outage for outage in outages if outage.valid]
    if not valid:
        return "not valid"
    met = [outage for outage in valid if outage.touched]
    if not met:
        return f"nobody noticed (0 of {count(sum(outage.met.n for outage in valid))})"
    worst = max(met, key=lambda o: o.back_s.value if o.back_s else float("inf"))
    back = worst.back_s
    after = _NEVER if back is None else ms(back.value * MS_PER_S)
    return (
        f"back after {after}: {worst.page}, {worst.deployment}, {worst.region}; {worst.failed} "
        f"failed and {worst.stalled} stalled of {count(worst.met.n)}"
    )
