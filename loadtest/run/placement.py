"""Advice from a stored run, and one proposal of it tried out in the embedded world."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from loadtest.errors import PlanError, RecordsError
from loadtest.run.conductor import RunConductor
from loadtest.run.judge import find_folder
from loadtest.run.progress import Progress

if TYPE_CHECKING:
    from loadtest.analysis.advice import Proposal
    from loadtest.plan.model import Plan

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
    folder: Path | None, visitors: str, limit_ms: float, *, scenario: str, deployment: str
) -> Advice:
    """
    Return what a stored run advises.

    Args:
        folder: Run folder; None takes the latest.
        visitors: Regions with weights, ``cdg=60,syd=40``; empty is every region alike.
        limit_ms: Median TTFB to stay under, milliseconds.
        scenario: Scenario whose pages count; empty takes the first one of the run.
        deployment: The one deployment that is asked about; empty asks about all.

    Raises:
        RecordsError: The run cannot be read.
        PlanError: Visitors, scenario or deployment are none of the run's.
    """
    from loadtest.analysis import advice
    from loadtest.analysis.load import load_run
    from loadtest.analysis.summary import summarise

    run = load_run(find_folder(folder).path)
    designs = advice.learn(run, summarise(run))
    if not designs:
        raise RecordsError(
            f"{find_folder(folder).path}: has no valid cell with a median, so nothing follows from "
            "it; measure again, or longer"
        )
    scenarios = list(dict.fromkeys(design.scenario for design in designs))
    wanted = scenario or scenarios[0]
    chosen = tuple(d for d in designs if d.scenario == wanted)
    if not chosen:
        raise PlanError(f"--scenario: {wanted!r} is none of the run's: {', '.join(scenarios)}")
    names = [design.deployment for design in chosen]
    if deployment and deployment not in names:
        raise PlanError(f"--deployment: {deployment!r} is none of the run's: {', '.join(names)}")
    chosen = tuple(d for d in chosen if deployment in ("", d.deployment))
    shares = advice.parse_visitors(visitors, run.plan.regions)
    found = advice.advise(run.plan, chosen, shares, limit_ms)
    return Advice(run.plan, shares, limit_ms, found)


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
