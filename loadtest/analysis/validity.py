"""
Validity: may these numbers be believed at all?  Asked before any verdict.

Each check compares one fact with a limit of the plan's ``[validity]`` and says in a sentence what
was found, what it means and what to do.  What only one region's workers suffered is held against
that region's cells; what concerns the links or the whole engine, against the run.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Final

from loadtest.analysis.aa import TOLERATED_RAW, most_fires, split_test
from loadtest.analysis.account_checks import account_checks
from loadtest.analysis.arm_checks import arm_checks
from loadtest.analysis.asked_checks import asked_checks
from loadtest.analysis.cells import CellRows, by_region, cell_rows
from loadtest.analysis.checks import SplitTest, Validity, ValidityCheck
from loadtest.analysis.connections import connection_checks
from loadtest.analysis.load import Run
from loadtest.analysis.record_checks import cell_checks, record_checks, schedule_checks
from loadtest.analysis.worker_checks import worker_checks
from loadtest.analysis.world_checks import world_checks
from loadtest.records.world_facts import EMBEDDED, LinkFacts

_SAME_MS: Final = 1e-6
"""Set and wanted round trips differ by less than this only in how they are written."""


def check(run: Run) -> Validity:
    """Return every validity check of a run."""
    return check_cells(run, cell_rows(run))


def check_cells(run: Run, cells: tuple[CellRows, ...]) -> Validity:
    """Return every validity check of a run whose cells are at hand already."""
    aa = split_test(run, cells)
    checks = [
        *_completeness(run),
        *_links(run),
        *world_checks(run),
        *worker_checks(run),
        *account_checks(run),
        *schedule_checks(run),
    ]
    for region, rows in by_region(cells):
        checks += record_checks(run, region, rows)
    checks += cell_checks(cells)
    checks += connection_checks(run, cells)
    checks += arm_checks(run, cells)
    checks += asked_checks(run, cells)
    checks.append(_split_check(aa))
    return Validity(tuple(checks), aa)


def _completeness(run: Run) -> Iterator[ValidityCheck]:
    if run.engine is None:
        yield ValidityCheck(
            name="complete",
            scope="run",
            observed=0,
            limit=1,
            unit="",
            ok=False,
            why="The engine left no account of the run (engine.json is missing).",
            advice="The run broke off; what was measured until then is shown. Measure again.",
        )
        return
    if not run.sealed:
        yield ValidityCheck(
            name="sealed",
            scope="run",
            observed=0,
            limit=1,
            unit="",
            ok=False,
            why="The run was never sealed (manifest.json is missing): it broke off before its end, "
            "or was moved in part.",
            advice="Measure again, or vouch for it with `loadtest seal`.",
        )
    elif run.sealed == "by hand" or run.rules_changed:
        by_hand = run.sealed == "by hand"
        rules = f" Its rules are not those it was measured for: {', '.join(run.rules_changed)}."
        yield ValidityCheck(
            name="sealed",
            scope="run",
            observed=float(by_hand),
            limit=1,
            unit="",
            ok=by_hand,
            why=("The run's files were sealed again by hand after they had been changed." * by_hand)
            + rules * bool(run.rules_changed),
            advice="" if by_hand else "Measure again, or vouch for it with `loadtest seal`.",
        )
    state, reason = run.engine.state, run.engine.reason
    ok = state == "done"
    yield ValidityCheck(
        name="complete",
        scope="run",
        observed=float(ok),
        limit=1,
        unit="",
        ok=ok,
        why="The run came to its planned end."
        if ok
        else f"The run did not come to its planned end: {state}{f' ({reason})' if reason else ''}.",
        advice="" if ok else "Numbers of a part of a run are shown, not judged. Measure again.",
    )


def _links(run: Run) -> Iterator[ValidityCheck]:
    """
    The world's own measurement of its links, held against the plan; what the world says of its own
    being in order is not asked.  A world without emulated links (Fly's own) has none.
    """
    if run.world.kind != EMBEDDED:
        return
    links = [link for link in run.world.links if link.n > 0]
    told = {frozenset((link.from_, link.to)) for link in links}
    wanted = [(a, b) for i, a in enumerate(run.plan.regions) for b in run.plan.regions[i + 1 :]]
    missing = [f"{a}-{b}" for a, b in wanted if frozenset((a, b)) not in told]
    if missing:
        yield ValidityCheck(
            name="links",
            scope="run",
            observed=float(len(missing)),
            limit=0.0,
            unit="links",
            ok=False,
            why=f"{len(missing)} links of the plan were not measured: {', '.join(missing[:5])}.",
            advice="Without a measurement nobody knows which network this was. Measure again.",
        )
    if not links:
        return
    network = run.plan.network
    for link in links:
        yield from _contradiction(run, link)
    worst = max(links, key=lambda link: _off_ms(run, link) / _allowed_ms(run, link))
    ok = _off_ms(run, worst) <= _allowed_ms(run, worst)
    yield ValidityCheck(
        name="links",
        scope="run",
        observed=_off_ms(run, worst),
        limit=_allowed_ms(run, worst),
        unit="ms",
        ok=ok,
        why=(
            f"{len(links)} links measured; the worst, {worst.pair}, is off by "
            f"{_off_ms(run, worst):.2f} ms of {_wanted_ms(run, worst):g} ms "
            f"(allowed: {network.tolerance_ms:g} ms or {network.tolerance_share:.1%})."
        ),
        advice=""
        if ok
        else "The emulated network was not the planned one. Give the machine less other work.",
    )


def _contradiction(run: Run, link: LinkFacts) -> Iterator[ValidityCheck]:
    """Yield a failed check where a link was set to something else, or says it is not in order."""
    set_ms, wanted_ms = link.configured_rtt_ms, _wanted_ms(run, link)
    if abs(set_ms - wanted_ms) <= _SAME_MS and link.ok:
        return
    found = f"was set to {set_ms:g} ms" if link.ok else "says itself that it is not in order"
    yield ValidityCheck(
        name="links",
        scope="run",
        observed=set_ms,
        limit=wanted_ms,
        unit="ms",
        ok=False,
        why=f"The link {link.pair} {found}; the plan wants {wanted_ms:g} ms.",
        advice="The emulated network was not the planned one. Measure again.",
    )


def _wanted_ms(run: Run, link: LinkFacts) -> float:
    """Return the round trip that the plan wants; a world may have more regions than the plan."""
    known = link.from_ in run.plan.regions and link.to in run.plan.regions
    return run.plan.rtt_between_ms(link.from_, link.to) if known else link.configured_rtt_ms


def _off_ms(run: Run, link: LinkFacts) -> float:
    """Return by how much the median of a link is off; without end for one that has none."""
    p50_ms = link.measured_rtt_p50_ms
    return math.inf if p50_ms is None else abs(p50_ms - _wanted_ms(run, link))


def _allowed_ms(run: Run, link: LinkFacts) -> float:
    network = run.plan.network
    return max(network.tolerance_ms, network.tolerance_share * _wanted_ms(run, link))


def _split_check(aa: SplitTest) -> ValidityCheck:
    if not aa.trials:
        why = "Too few samples for an A/A test within the run."
    else:
        why = (
            f"A/A: of {aa.trials} random splits of single arms {aa.raw_fires} differed at 95 % "
            f"({aa.raw_fires / aa.trials:.0%}, nominal is 5 %) and {aa.gate_fires} would have "
            "failed the gate."
        )
    return ValidityCheck(
        name="a/a",
        scope="run",
        observed=aa.raw_fires / aa.trials if aa.trials else None,
        limit=most_fires(aa.trials, TOLERATED_RAW) / aa.trials if aa.trials else None,
        unit="share",
        ok=aa.ok,
        why=why,
        advice=""
        if aa.ok
        else "The intervals of this run are too narrow for its noise. Measure longer.",
    )
