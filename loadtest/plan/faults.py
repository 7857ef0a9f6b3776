"""Checks the faults that a plan asks for against its regions, its apps and its load."""

from __future__ import annotations

from collections.abc import Iterator

from loadtest.errors import PlanError
from loadtest.faults import DATABASE, Fault, check_regions, parse_fault
from loadtest.plan.model import Plan, PlannedFault


def fault_faults(plan: Plan) -> Iterator[str]:
    """Yield a sentence for everything that is wrong with a plan's ``[[faults]]``."""
    if plan.faults and plan.world != "embedded":
        whose = "Fly's network is" if plan.world == "fly" else "the network of your machines is"
        yield f"faults: {whose} not ours to bend; leave them out, or use the embedded world"
        return
    stages = plan.load.stages
    lasts_s = sum(s.duration_s for s in stages) if stages else plan.load.duration_s
    end_s = plan.load.warmup_s + lasts_s * plan.gate.max_looks
    for number, planned in enumerate(plan.faults):
        key = f"faults[{number}].what"
        try:
            fault = parse_fault(planned.what, key)
            check_regions(fault, plan.regions, key)
        except PlanError as error:
            yield from error.faults
            continue
        if planned.at_s >= end_s:
            yield (
                f"faults[{number}].at_s: {planned.at_s:g} s is after the load, "
                f"which ends at {end_s:g} s"
            )
        if planned.for_s and (fault.of_machines or fault.verb == "heal"):
            yield f"faults[{number}].for_s: {fault.what!r} is over at once; leave it out"
        if fault.of_machines:
            yield from _machine_faults(plan, fault, key)


def _machine_faults(plan: Plan, fault: Fault, key: str) -> Iterator[str]:
    ours = [d.name for d in plan.deployments if not d.url]
    ours += [companion.name for companion in plan.companions]
    if plan.database.fly_toml and ours:
        ours.append(DATABASE)
    if fault.app not in ours:
        yield f"{key}: {fault.what!r}: {fault.app!r} is none of {', '.join(ours) or 'our apps'}"
        return
    stands = {d.name: (plan.primary_region,) for d in plan.deployments if d.machines == "primary"}
    where = stands.get(fault.app, plan.regions)
    if fault.region and fault.region not in where:
        yield f"{key}: {fault.what!r}: {fault.app} has machines in {', '.join(where)} only"


def faults_of(plan: Plan) -> list[tuple[Fault, PlannedFault]]:
    """Return the faults of a plan that was checked."""
    return [(parse_fault(planned.what), planned) for planned in plan.faults]
