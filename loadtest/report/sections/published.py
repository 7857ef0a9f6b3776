"""The published tables beside ours, and what each number is made of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from loadtest.analysis.hops import rtt_ms
from loadtest.analysis.published_model import Mixture, mixture, self_predictions
from loadtest.analysis.reproduction import (
    CALIBRATION,
    Reproduced,
    Reproduction,
    reproduce,
    rtt_by_source,
)
from loadtest.report.base.variants import network_words, variant_blocks
from loadtest.report.base.view import Block, Callout, Figures, Key, Section, Table, Text
from loadtest.report.base.words import NOTHING, interval_ms, ms, share, signed_ms, signed_share

if TYPE_CHECKING:
    from loadtest.report.base.context import Context

_CAPTION: Final = (
    "Rings are published, filled marks are ours (medians; of variants that mix open and new "
    "connections the means, as no median shows a mixture). The pale bar is what the model gives "
    "over all public round-trip times of the pair: how much of a prediction the choice of source "
    "decides."
)
_MODEL: Final = (
    "The published tables fit TTFB = base + h × RTT to the primary region: h is 1 where the app is "
    "remote (single), 2 where only the database is (multi: two queries in sequence), 0 with a "
    "local replica."
)
_CALIBRATED: Final = (
    "The app's own time in each region is taken from the published replica table. The replica rows "
    "are therefore calibration, not a finding, and so is the primary region, where nothing else is "
    "left of the model; single and multi from afar are predictions."
)
_ASSUMED: Final = (
    "That an edge opens a connection across the ocean for a share of the requests is an "
    "assumption: Fly documents a pooled backhaul between its edges."
)


_EXPLAINED: Final = 0.2
"""A prediction of the tables by themselves that is off by more wants another explanation."""


def section_published(context: Context) -> Section | None:
    """Return the section about the reproduction; None when the plan does not ask for it."""
    found = reproduce(context.run, context.summary)
    if not found.rows:
        return None
    blocks: list[Block] = [Text(_MODEL)]
    if any(row.label == CALIBRATION for row in found.rows):
        blocks.append(Callout("note", _CALIBRATED))
    blocks += [
        Text(_result(found)),
        *([_figure(context, found)] if any(row.p50_ms is not None for row in found.rows) else []),
        published_table(found),
        *_by_themselves(context),
        _round_trips(context),
        _bases(context),
        *variant_blocks(found),
    ]
    return Section("published", "The published tables, measured again", "Published", tuple(blocks))


def published_table(found: Reproduction) -> Table:
    """Return published and measured values side by side, variants left to their own table."""
    rows = [row for row in found.rows if not row.variant]
    return Table(
        key="published",
        title="Published and measured",
        headers=(
            *("deployment", "region", "label", "published", "ours, p50", "difference"),
            *("base", "network", "at neutral RTT", "over other RTTs"),
        ),
        rows=tuple(_row(row) for row in rows),
        align="lllrrrrrrr",
        note=(
            "Base is the app's own time, network the round trips of the model at the plan's "
            "round-trip times. The set “published-era” was chosen with the answer known; what the "
            "model gives at the neutral one, which was not, and over all public ones is beside it. "
            "The article does not say whether it printed means or medians; the CSV file has both."
        ),
        csv_headers=(
            *("deployment", "variant_of", "region", "label", "published_ms", "p50_ms", "mean_ms"),
            *("n", "difference_ms", "difference_share", "base_ms", "network_ms", "round_trips"),
            *("rtt_ms", "model_low_ms", "model_high_ms", "sources", "model_neutral_ms"),
        ),
        csv_rows=tuple(_raw(row) for row in found.rows),
    )


def _row(row: Reproduced) -> tuple[str, ...]:
    return (
        row.deployment,
        row.region,
        row.label,
        ms(row.published_ms),
        ms(row.p50_ms),
        f"{signed_ms(row.difference_ms)} ({signed_share(row.difference_share)})",
        ms(row.base_ms),
        network_words(row),
        ms(row.neutral_ms),
        interval_ms(row.low_ms, row.high_ms) or NOTHING,
    )


def _raw(row: Reproduced) -> tuple[object, ...]:
    values = (
        *(row.deployment, row.of if row.variant else "", row.region, row.label),
        *(row.published_ms, row.p50_ms, row.mean_ms, row.n, row.difference_ms),
        *(row.difference_share, row.base_ms, row.network_ms, row.round_trips, row.rtt_ms),
        *(row.low_ms, row.high_ms, row.sources, row.neutral_ms),
    )
    return tuple("" if value is None else value for value in values)


def _result(found: Reproduction) -> str:
    """Return how near the predictions come, in a sentence of their own numbers."""
    rows = found.predictions
    near = [row for row in rows if abs(row.difference_share or 0.0) <= 0.10]
    far = [row for row in rows if row not in near]
    text = f"{len(near)} of {len(rows)} predicted cells come out within 10 %."
    if far:
        named = ", ".join(
            f"{row.deployment} from {row.region} ({signed_share(row.difference_share, 0)})"
            for row in far
        )
        text += f" Not within: {named}."
    return text


def _by_themselves(context: Context) -> list[Block]:
    """Return what the tables predict of themselves, and the mixture that Santiago asks for."""
    plan = context.plan
    told = [one for one in self_predictions(plan.primary_region) if one.region in plan.regions]
    if not told:
        return []
    blocks: list[Block] = [
        Table(
            key="published-by-themselves",
            title="The published tables by themselves: multi predicts single, without any RTT",
            headers=("region", "replica", "multi", "single from them", "single", "off by"),
            rows=tuple(
                (
                    one.region,
                    *map(ms, (one.replica_ms, one.multi_ms, one.predicted_ms, one.single_ms)),
                    signed_share(one.off_share),
                )
                for one in told
            ),
            align="lrrrrr",
            note="One trip where multi makes two: single = (replica + multi) / 2.",
        )
    ]
    for one in told:
        rtt = rtt_ms(plan, one.region, plan.primary_region)
        if abs(one.off_share) > _EXPLAINED and rtt is not None:
            blocks.append(Text(_mixture_words(mixture(one.region, rtt))))
    return blocks


def _mixture_words(found: Mixture | None) -> str:
    if found is None:
        return ""
    return (
        f"From {found.region} no distance explains both cells, but one share does: if "
        f"{share(found.share, 0)} of the requests find no open connection, neither at the edge "
        "(one round trip more) nor at the database (six more over TLS: TCP, asking for TLS, TLS, "
        f"start-up, two of SCRAM), the model gives {ms(found.single_ms)} and {ms(found.multi_ms)} "
        f"({signed_share(found.single_off_share)} and {signed_share(found.multi_off_share)}). "
        "That is an explanation and no prediction: the share was chosen with both cells known. "
        "These are means; a median would show one of the two modes, so if that is what happened, "
        f"the article printed means. {_ASSUMED}"
    )


def _figure(context: Context, found: Reproduction) -> Figures:
    return Figures(_CAPTION, lambda: _draw(context, found), _legend(context, found), wide=True)


def _draw(context: Context, found: Reproduction) -> list[str]:
    from loadtest.report.figures.published import Pair, draw_published

    return [
        draw_published(
            [
                Pair(
                    row.region,
                    row.deployment,
                    context.styles[row.deployment],
                    row.published_ms,
                    row.ours_ms,
                    (row.low_ms, row.high_ms)
                    if row.low_ms is not None and row.high_ms is not None
                    else None,
                )
                for row in found.rows
                if row.ours_ms is not None
            ]
        )
    ]


def _legend(context: Context, found: Reproduction) -> tuple[Key, ...]:
    names = {row.deployment for row in found.rows}
    return (
        Key("published", "published"),
        *(Key(n, style.role, patch=True) for n, style in context.styles.items() if n in names),
    )


def _round_trips(context: Context) -> Table:
    """Return where every round-trip time comes from, with what other sources say of the pair."""
    network = context.plan.network
    others = {pair: rtt_by_source().get(pair, {}) for pair in network.rtt_ms}
    return Table(
        key="round-trip-times",
        title=f"Round-trip times of this run: set “{network.rtt}”",
        headers=("pair", "used", "source", "other sources", "their values"),
        rows=tuple(
            (
                pair,
                ms(value),
                network.sources.get(pair, "the plan"),
                _range(list(others[pair].values())),
                ", ".join(f"{source} {v:g}" for source, v in sorted(others[pair].items()))
                or NOTHING,
            )
            for pair, value in sorted(network.rtt_ms.items())
        ),
        align="lrwrw",
    )


def _range(values: list[float]) -> str:
    return f"{min(values):g}–{max(values):g} ms ({len(values)})" if values else NOTHING


def _bases(context: Context) -> Table:
    plan = context.plan
    origin = {
        "published": "the published replica table",
        "0": "switched off",
    }.get(plan.base, plan.base)
    return Table(
        key="base-times",
        title="Base time of the app: it waits this long without burning CPU",
        headers=("region", "base", "source"),
        rows=tuple((region, ms(plan.base_ms.get(region, 0.0)), origin) for region in plan.regions),
        align="lrl",
    )
