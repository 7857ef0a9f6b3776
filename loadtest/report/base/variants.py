"""Variants beside the plain cells: what connections opened anew for each request would explain."""

from __future__ import annotations

from loadtest.analysis.reproduction import Reproduced, Reproduction, published_ms
from loadtest.report.base.view import Block, Heading, Table, Text
from loadtest.report.base.words import NOTHING, ms, signed_ms, signed_share


def network_words(row: Reproduced) -> str:
    """Return the model's network term: milliseconds and how many round trips they are."""
    if not row.round_trips or row.network_ms is None:
        return NOTHING
    return f"{ms(row.network_ms)} ({row.round_trips} RTT)"


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
                    "deployment",
                    "set-up",
                    "published",
                    "ours, p50",
                    "difference",
                    "in %",
                    "network",
                ),
                rows=tuple(
                    (
                        row.deployment,
                        "variant" if row.variant else "as published",
                        ms(row.published_ms),
                        ms(row.p50_ms),
                        signed_ms(row.difference_ms),
                        signed_share(row.difference_share),
                        network_words(row),
                    )
                    for row in rows
                ),
                align="llrrrrr",
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
        parts.append(
            f"Over the replica, the article's multi costs {ratio:.2f} times what its single does "
            f"from {region}; the model gives 2.00 whatever the distance, so no round-trip time "
            f"explains both cells{'' if abs(ratio - 2) > 0.3 else ' exactly'}."
        )
    for variant in (row for row in rows if row.variant):
        plain = next((r for r in rows if not r.variant and r.deployment == variant.of), None)
        if plain is None or plain.p50_ms is None or variant.p50_ms is None:
            continue
        parts.append(
            f"{variant.of.capitalize()}: published {ms(variant.published_ms)}, ours "
            f"{ms(plain.p50_ms)} with connections kept "
            f"({signed_share(plain.difference_share, 0)}) and "
            f"{ms(variant.p50_ms)} with a connection opened for every request "
            f"({signed_share(variant.difference_share, 0)})."
        )
    parts.append(_reading([row for row in rows if row.variant], rows))
    return [part for part in parts if part]


def _reading(variants: list[Reproduced], rows: list[Reproduced]) -> str:
    """Return the conclusion that the numbers allow, and no more."""
    measured = [row for row in variants if row.difference_share is not None]
    hit = [row for row in measured if abs(row.difference_share or 0.0) <= 0.10]
    between = [row for row in measured if row not in hit and _is_between(row, rows)]
    texts = []
    if hit:
        texts.append(
            f"Opening connections anew brings {_names(hit)} within 10 % of the published value: "
            "consistent with connections that were not reused, though not proof of it."
        )
    if between:
        texts.append(
            f"The published {_names(between)} lies between the kept and the fresh connection: it "
            "reads as if a part of the requests met a connection that was still open."
        )
    rest = [row for row in measured if row not in hit and row not in between]
    if rest:
        texts.append(f"{_names(rest).capitalize()} is not explained by it.")
    return " ".join(texts)


def _is_between(variant: Reproduced, rows: list[Reproduced]) -> bool:
    plain = next((r for r in rows if not r.variant and r.deployment == variant.of), None)
    if plain is None or plain.p50_ms is None or variant.p50_ms is None:
        return False
    return plain.p50_ms < variant.published_ms < variant.p50_ms


def _names(rows: list[Reproduced]) -> str:
    return " and ".join(row.of for row in rows)
