"""Advice from a stored run, and one proposal of it tried out in the embedded world."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from loadtest.errors import PlanError, RecordsError
from loadtest.plan.threshold_parser import parse_threshold
from loadtest.plan.visitors import parse_visitors
from loadtest.run.conductor import RunConductor
from loadtest.run.judge import find_folder
from loadtest.run.progress import Progress

if TYPE_CHECKING:
    from loadtest.analysis.advice import Design, Proposal
    from loadtest.analysis.summary import Summary
    from loadtest.plan.model import Plan

LIMIT_MS = 100.0
"""Median TTFB to stay under, where neither a flag nor a rule of the plan names one."""
CHECK_S = 30.0
CHECK_SHARE = 0.05
"""By how much a measured median may differ from the predicted one."""


@dataclass(frozen=True, slots=True)
class Advice:
    """
    What a run advises.

    Args:
        plan: The plan that was measured.
        shares: Visitors by region; they add up to 1.
        limit_ms: Median that everybody should stay under.
        proposals: One for each deployment, the best first.
    """

    plan: Plan
    shares: Mapping[str, float]
    limit_ms: float
    proposals: tuple[Proposal, ...]


@dataclass(frozen=True, slots=True)
class CheckedRegion:
    """A region's median TTFB as predicted and as measured, ms; None: too few, or not valid."""

    region: str
    predicted_ms: float
    measured_ms: float | None

    @property
    def off(self) -> float | None:
        """Return by which share of the prediction the measurement differs."""
        if self.measured_ms is None:
            return None
        return (self.measured_ms - self.predicted_ms) / self.predicted_ms

    @property
    def holds(self) -> bool:
        """Tell whether the prediction came true; what was not measured did not."""
        return self.off is not None and abs(self.off) <= CHECK_SHARE


def advise_on(
    folder: Path | None, visitors: str, limit_ms: float | None, *, scenario: str, deployment: str
) -> Advice:
    """
    Return what a stored run advises.

    Args:
        folder: Run folder; None takes the latest.
        visitors: Regions with shares, ``cdg=60,syd=40``; empty takes the plan's, or all alike.
        limit_ms: Median TTFB to stay under, milliseconds; None takes the plan's lowest rule on it.
        scenario: Scenario whose pages count; empty takes the first one of the run.
        deployment: The one deployment that is asked about; empty asks about all.

    Raises:
        RecordsError: The run cannot be read, or nothing follows from it.
        PlanError: Visitors, scenario or deployment are none of the run's.
    """
    from loadtest.analysis import advice
    from loadtest.analysis.load import load_run
    from loadtest.analysis.summary import summarise

    path = find_folder(folder).path
    run = load_run(path)
    summary = summarise(run)
    _refuse_untrusted(path, run.plan, summary)
    designs = advice.learn(run, summary)
    if not designs:
        raise RecordsError(
            f"{path}: has no valid cell with a median, so nothing follows from it; measure again, "
            "or longer"
        )
    chosen = _chosen(designs, scenario, deployment)
    if not deployment and not any(design.reads_nearby for design in chosen):
        raise RecordsError(
            f"{path}: no deployment of {chosen[0].scenario} reads in its own region (a replica), "
            "so nothing tells what machines elsewhere would save; measure one, such as "
            "fly/recipes-replica, or ask about one of the run's with --deployment"
        )
    shares = (
        parse_visitors(visitors, run.plan.regions)
        if visitors
        else run.plan.visitors or dict.fromkeys(run.plan.regions, 1 / len(run.plan.regions))
    )
    limit_ms = _limit_ms(run.plan) if limit_ms is None else limit_ms
    found = advice.advise(run.plan, chosen, shares, limit_ms)
    return Advice(run.plan, shares, limit_ms, found)


def _refuse_untrusted(path: Path, plan: Plan, summary: Summary) -> None:
    """Refuse a run that nothing can follow from."""
    if len(plan.regions) < 2:
        raise RecordsError(
            f"{path}: was measured in {plan.regions[0]} alone, and advice compares regions; "
            "measure in two or more (--regions)"
        )
    wrong = [check for check in summary.validity.failed if check.scope == "run"]
    if wrong:
        raise RecordsError(
            f"{path}: the run is invalid, so nothing follows from it: {wrong[0].why} "
            f"{wrong[0].advice or 'Measure again.'}"
        )


def _chosen(designs: tuple[Design, ...], scenario: str, deployment: str) -> tuple[Design, ...]:
    """Return the designs that are asked about."""
    scenarios = list(dict.fromkeys(design.scenario for design in designs))
    chosen = tuple(d for d in designs if d.scenario == (scenario or scenarios[0]))
    if not chosen:
        raise PlanError(f"--scenario: {scenario!r} is none of the run's: {', '.join(scenarios)}")
    names = [design.deployment for design in chosen]
    if deployment and deployment not in names:
        raise PlanError(f"--deployment: {deployment!r} is none of the run's: {', '.join(names)}")
    return tuple(d for d in chosen if deployment in ("", d.deployment))


def _limit_ms(plan: Plan) -> float:
    """Return the lowest limit that a rule of the plan sets to a whole cell's median TTFB."""
    limits = [
        rule.limit
        for rule in map(parse_threshold, plan.thresholds)
        if rule.kind == "absolute" and str(rule.measure) == "ttfb.p50" and not rule.by_name
        if rule.comparator in ("<", "<=")
    ]
    return min(limits, default=LIMIT_MS)


def check_plan(advice: Advice) -> Plan:
    """
    Return the plan that tries the best proposal out.

    Raises:
        PlanError: It is about a running deployment, which cannot be placed anew.
    """
    plan, proposal = advice.plan, advice.proposals[0]
    deployment = plan.deployment(proposal.design.deployment)
    if deployment.url:
        raise PlanError(
            f"--check: {deployment.name} is a running deployment, which cannot be placed anew; "
            "name one of a fly.toml with --deployment"
        )
    regions = tuple(c for c in plan.regions if c in advice.shares or c in proposal.regions)
    ways = {f"{a}-{b}" for a in regions for b in regions}
    network = plan.network
    base_ms = plan.base_ms
    if plan.world == "fly":  # a real app took the time that it took
        hop_ms = network.same_region_ms
        base_ms = {c: max(0.0, own - hop_ms) for c, own in proposal.design.own_ms.items()}
    return plan.model_copy(
        update={
            "name": "advice",
            "title": f"Advice tried out: {deployment.name} in {', '.join(proposal.regions)}",
            "world": "embedded",
            "regions": regions,
            "primary_region": proposal.primary,
            "base_ms": {code: ms for code, ms in base_ms.items() if code in regions},
            "network": network.model_copy(
                update={
                    "rtt_ms": {k: ms for k, ms in network.rtt_ms.items() if k in ways},
                    "sources": {k: told for k, told in network.sources.items() if k in ways},
                }
            ),
            "deployments": (
                deployment.model_copy(
                    update={
                        "of": "",
                        "machines": "all",
                        "regions": proposal.regions,
                        "measured_from": tuple(c for c in regions if c in advice.shares),
                        "scenarios": (proposal.design.scenario,),
                    }
                ),
            ),
            "load": plan.load.model_copy(update={"duration_s": CHECK_S, "stages": ()}),
            "gate": plan.gate.model_copy(update={"max_looks": 1}),
            "thresholds": (),
            "faults": (),
            "visitors": {},
            "reproduce": False,
        }
    )


def check(advice: Advice, progress: Progress, out: Path | None) -> tuple[CheckedRegion, ...]:
    """
    Run the best proposal in the embedded world and return what it did beside what was predicted.

    Args:
        advice: What a run advised.
        progress: Told what goes on.
        out: Run folder; None makes one as every run does.

    Raises:
        LoadtestError: As `RunConductor.run`.
    """
    from loadtest.analysis.load import load_run
    from loadtest.analysis.summary import summarise

    proposal = advice.proposals[0]
    conductor = RunConductor(
        check_plan(advice), progress, out=out, command="loadtest advise --check"
    )
    summary = summarise(load_run(conductor.run().folder))
    found = []
    for region, predicted_ms in proposal.p50_ms.items():
        cell = summary.cell(region, proposal.design.deployment, proposal.design.scenario)
        measured = cell.ttfb.value(50) if cell is not None and cell.valid else None
        found.append(CheckedRegion(region, predicted_ms, measured))
    return tuple(found)
