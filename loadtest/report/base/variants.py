"""Variants beside the plain cells: what connections that are opened anew would explain."""

from __future__ import annotations

from loadtest.analysis.reproduction import Reproduced, Reproduction, published_ms
from loadtest.report.base.view import Block, Heading, Table, Text
from loadtest.report.base.words import NOTHING, listing, ms, share, signed_share

_NEAR = 0.10
_MIXED = (
    "No distance explains both cells. A mixture may: some requests find an open connection, the "
    "others pay for a new one, at the edge and at the database alike."
)


def network_words(row: Reproduced) -> str:
    """Return the model's network term: milliseconds and how many round trips they are."""
    if not row.round_trips or row.network_ms is None:
        return NOTHING
    return f"{ms(row.network_ms)} ({row.round_trips:g} RTT)"


def variant_blocks(found: Reproduction) -> list[Block]:
    """Return the variants beside the plain cells of the same region, and what they show."""
    blocks: list[Block] = []
    for region in dict.fromkeys(row.region for row in found.rows if row.variant):
        rows = [row for row in found.rows if row.region == region and row.of != "replica"]
        rows.sort(key=lambda row: (row.of, row.variant))
        blocks += [
            Heading(f"{region}: the plain cells and their variants"),
            *(Text(part) for part in _story(region, rows)),
            Table(
                key=f"variants-{region}",
                title=f"Published from {region}, and what connections opened anew would explain",
                headers=(
                    *("deployment", "new connections", "published", "ours, mean", "off by"),
                    *("ours, p50", "off by", "network, mean"),
                ),
                rows=tuple(
                    (
                        row.deployment,
                        share(row.new_share, 0) if row.new_share else "none",
                        ms(row.published_ms),
                        ms(row.mean_ms),
                        signed_share(row.mean_difference_share),
                        ms(row.p50_ms),
                        signed_share(row.difference_share),
                        network_words(row),
                    )
                    for row in rows
                ),
                align="lrrrrrrr",
                note="A mean shows a mixture of two modes; a median shows the one that most "
                "requests are in.",
            ),
        ]
    return blocks


def _story(region: str, rows: list[Reproduced]) -> list[str]:
    """Say what the variants show, from the published values and ours alone."""
    table = published_ms()
    replica, single, multi = (table.get((k, region)) for k in ("replica", "single", "multi"))
    parts = []
    if replica and single and multi and single > replica:
        ratio = (multi - replica) / (single - replica)
        alike = abs(ratio - 2) <= 0.3
        parts.append(
            f"Over the replica, the article's multi costs {ratio:.2f} times what its single does "
            f"from {region}; the model gives 2.00 whatever the distance. "
            + ("" if alike else _MIXED)
        )
    parts.append(_reading([row for row in rows if row.variant]))
    return [part for part in parts if part]


def _reading(variants: list[Reproduced]) -> str:
    """Return the conclusion that the numbers allow, and no more."""
    measured = [row for row in variants if row.mean_ms is not None and row.p50_ms is not None]
    if not measured:
        return ""
    by_mean = [row for row in measured if abs(row.mean_difference_share or 0.0) <= _NEAR]
    by_median = [row for row in measured if abs(row.difference_share or 0.0) <= _NEAR]
    names = listing([row.of for row in measured])
    shares = listing([share(one, 0) for one in sorted({row.new_share for row in measured})])
    told = f"With {shares} of the requests on new connections, "
    near = f"of {names} come within {share(_NEAR, 0)} of what was published"
    if len(by_mean) == len(by_median) == len(measured):
        return f"{told}means and medians {near}: which the article printed is not to be seen."
    if len(by_mean) == len(measured):
        return (
            f"{told}the means {near}{_medians(measured, by_median)}: if that is what happened, the "
            "article printed means. It is consistent with connections that were not reused, and no "
            "proof of it."
        )
    if len(by_median) == len(measured):
        return (
            f"{told}the medians {near}, and their means do not: if that is what happened, the "
            "article printed medians."
        )
    far = listing([row.of for row in measured if row not in by_mean])
    return f"{told}{far} is not explained: its mean is off by more than {share(_NEAR, 0)}."


def _medians(measured: list[Reproduced], by_median: list[Reproduced]) -> str:
    far = [row.of for row in measured if row not in by_median]
    return f", and the medians of {listing(far)} do not" if far else ""
