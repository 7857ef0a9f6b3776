"""Builds the view of a run: its sections in their order, and what stands above them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

from loadtest.gate.rules import BUDGET_KIND
from loadtest.report.base.context import Context
from loadtest.report.base.view import Callout, Report
from loadtest.report.base.words import LAYERS, count, share
from loadtest.report.sections.connections import section_connections, section_served
from loadtest.report.sections.cost import cost_words, section_cost
from loadtest.report.sections.distributions import section_distributions, section_time
from loadtest.report.sections.gate import section_gate
from loadtest.report.sections.headline import headline
from loadtest.report.sections.matrix import section_matrix
from loadtest.report.sections.pages import section_pages
from loadtest.report.sections.parts import section_parts
from loadtest.report.sections.patterns import sections_patterns
from loadtest.report.sections.published import section_published
from loadtest.report.sections.reproduce import schedule_words, section_reproduce
from loadtest.report.sections.tables import section_tables
from loadtest.report.sections.validity import section_validity

if TYPE_CHECKING:
    from loadtest.analysis.load import Run
    from loadtest.analysis.summary import Summary
    from loadtest.gate.results import Verdict


_NAMED: Final = 4


def build_report(run: Run, summary: Summary, verdict: Verdict, *, command: str = "") -> Report:
    """
    Return everything a report says, figures yet to be drawn.

    Args:
        run: The stored run.
        summary: What the analysis made of it.
        verdict: What the gate decided.
        command: The command line that repeats the run; empty leaves it out.
    """
    context = Context(run, summary, verdict, command)
    sections = (
        section_matrix(context),
        section_tables(context),
        *sections_patterns(context),
        section_pages(context),
        section_published(context),
        section_distributions(context),
        section_parts(context),
        section_connections(context),
        section_served(context),
        section_time(context),
        section_gate(context),
        section_validity(context),
        section_cost(context),
        section_reproduce(context),
    )
    sentence = headline(context)
    return Report(
        title=f"{summary.run.title or summary.run.plan}: {sentence}",
        headline=sentence,
        verdict=verdict.decision,
        reasons=_reasons(verdict),
        callouts=_callouts(summary, verdict),
        facts=_facts(context),
        sections=tuple(section for section in sections if section is not None),
        footer=_footer(context),
        subtitle=" · ".join(part for part in (summary.run.title, context.started) if part),
    )


def _reasons(verdict: Verdict) -> tuple[str, ...]:
    """Return the verdict's sentence, then what went against a pass, the broken rules first."""
    against = [
        rule.why
        for decision in ("fail", "inconclusive")
        for rule in verdict.rules
        if rule.decision == decision and rule.why not in verdict.sentence
    ]
    near = _nearest(verdict) if verdict.decision == "pass" else ""
    parts = (verdict.sentence, *against[:6], near, verdict.holds_for)
    return tuple(part for part in parts if part)


def _nearest(verdict: Verdict) -> str:
    """Return which of the rules that hold came nearest to its limit, and how near."""
    rooms = [
        (abs(rule.limit - end) / abs(rule.limit), rule)
        for rule in verdict.rules
        if rule.kind != BUDGET_KIND and rule.decision == "pass" and rule.limit
        for end in (rule.low, rule.high)
        if end is not None
    ]
    if not rooms:
        return ""
    rule = min(rooms, key=lambda pair: pair[0])[1]
    why = rule.why.removeprefix(f"{rule.cell}: ")
    return f"Nearest to its limit is {rule.cell}: {why} {rule.flip}".strip()


def _callouts(summary: Summary, verdict: Verdict) -> tuple[Callout, ...]:
    callouts = []
    if summary.run.partial:
        reason = summary.run.reason or "it was stopped before its planned end"
        callouts.append(
            Callout(
                "partial",
                f"The run measured {summary.run.measured_s:.0f} s: {reason}. Everything below is "
                "what was measured until then.",
            )
        )
    failed = [check for check in summary.validity.failed if check.why not in verdict.sentence]
    if failed:
        more = f" ({len(failed) - 1} more under Validity)" if len(failed) > 1 else ""
        callouts.append(Callout("invalid", f"{failed[0].why} {failed[0].advice}".strip() + more))
    return tuple(callouts)


def _facts(context: Context) -> tuple[tuple[str, str], ...]:
    facts = context.summary.run
    sent = sum(cell.n for cell in context.summary.cells)
    errors = sum(cell.errors for cell in context.summary.cells)
    link_layer = context.run.world.link_layer
    layer_words = LAYERS.get(str(link_layer), f"{link_layer} links")
    world = f"{facts.world}, {layer_words}" if link_layer else facts.world
    named = [
        ("Target", _listed(context.targets)),
        ("Client", "; ".join(context.client)),
        ("Pages", _listed(context.pages)),
        ("Revisions", "; ".join(context.revisions)),
        ("Machine", context.machine),
        ("Cost", cost_words(context)),
        ("Command", context.command),
    ]
    return (
        ("Requests", f"{count(sent)} in {len(context.summary.cells)} cells"),
        ("Errors", f"{count(errors)} ({share(errors / sent)})" if errors else "none"),
        ("Measured", f"{facts.measured_s:g} s in {count(facts.blocks)} blocks"),
        ("World", world),
        ("Load", schedule_words(context.plan).split(" after ")[0]),
        ("Round-trip times", context.plan.network.rtt if facts.world == "embedded" else "real"),
        ("First byte stamped by", _clocks(context)),
        ("Protocol", _protocol(context)),
        ("Seed", str(facts.seed)),
        *(pair for pair in named if pair[1]),
    )


def _listed(names: Sequence[str]) -> str:
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more} more" if more > 0 else "")


_TLS_WORDS: Final = {
    frozenset({True}): ", TLS",
    frozenset({False}): ", no TLS",
    frozenset({True, False}): ", TLS in some cells",
}


def _protocol(context: Context) -> str:
    """Return what was spoken, by deployment where they differ, with TLS or without."""
    spoken: dict[str, Counter[str]] = {}
    tls: dict[str, set[bool]] = {}
    for cell in context.summary.cells:
        spoken.setdefault(cell.deployment, Counter()).update(cell.protocols)
        if (value := cell.phases["tls"].value(50)) is not None:
            tls.setdefault(cell.deployment, set()).add(bool(value))
    said = {
        name: protocol_words(found) + _TLS_WORDS.get(frozenset(tls.get(name, ())), "")
        for name, found in spoken.items()
        if found
    }
    if len(set(said.values())) > 1:
        return "; ".join(f"{name}: {what}" for name, what in said.items())
    return next(iter(said.values()), "unknown")


def protocol_words(spoken: Mapping[str, int]) -> str:
    """Return versions of HTTP with their shares, where there are several."""
    every = sum(spoken.values())
    if len(spoken) == 1:
        return f"HTTP/{next(iter(spoken))}"
    return ", ".join(f"HTTP/{name} {share(n / every)}" for name, n in sorted(spoken.items()))


def _clocks(context: Context) -> str:
    totals: dict[str, int] = {}
    for cell in context.summary.cells:
        for clock, n in cell.clocks.items():
            totals[clock] = totals.get(clock, 0) + n
    totals.pop("", None)
    every = sum(totals.values())
    if not every:
        return "unknown"
    if len(totals) == 1:
        return f"{next(iter(totals))} clock"
    return ", ".join(f"{clock} {share(n / every)}" for clock, n in sorted(totals.items()))


def _footer(context: Context) -> str:
    version = context.run.engine.versions.get("loadtest", "") if context.run.engine else ""
    parts = ("loadtest", version, "· run", context.summary.run.run_id)
    return " ".join(part for part in parts if part)
