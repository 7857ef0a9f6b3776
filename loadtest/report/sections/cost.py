"""What a run made on Fly, for how long, and what that cost."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from loadtest.report.base.view import Section, Table
from loadtest.report.base.words import count
from loadtest.units import format_usd

if TYPE_CHECKING:
    from loadtest.records.world_facts import CostFacts, MachineCost
    from loadtest.report.base.context import Context


def cost_words(context: Context) -> str:
    """Return the cost for the head of the report; empty for a run that ordered nothing."""
    cost = _cost(context)
    if cost is None:
        return ""
    left = sum(not machine.gone for machine in cost.machines)
    return (
        f"{format_usd(cost.usd)} for {count(len(cost.machines))} machines, list prices of "
        f"{cost.prices_of}" + (f"; {left} were left behind" if left else "; all are gone")
    )


def section_cost(context: Context) -> Section | None:
    """Return the section about the cost; None for a run that ordered nothing."""
    cost = _cost(context)
    if cost is None:
        return None
    groups: dict[tuple[str, str, str], list[MachineCost]] = defaultdict(list)
    for machine in cost.machines:
        groups[machine.app, machine.region, machine.size].append(machine)
    rows = [
        (
            *key,
            count(len(machines)),
            f"{sum(m.seconds for m in machines):.0f}",
            f"{sum(m.usd for m in machines):.4f}",
            "yes" if all(m.gone for m in machines) else "no",
        )
        for key, machines in sorted(groups.items())
    ]
    total = (
        *("all", "", "", count(len(cost.machines))),
        *(f"{cost.machine_seconds:.0f}", f"{cost.usd:.4f}", ""),
    )
    budget = f" The budget was {format_usd(cost.budget_usd)}." if cost.budget_usd else ""
    table = Table(
        key="cost",
        title="Machines, and what they cost",
        headers=("app", "region", "size", "machines", "machine-seconds", "US dollars", "gone"),
        rows=(*rows, total),
        align="lllrrrl",
        note=(
            "Counted from the order of each machine until it was gone, at Fly's list prices of "
            f"{cost.prices_of}; traffic is not in it.{budget}"
        ),
    )
    return Section("cost", "What it cost", "Cost", (table,))


def _cost(context: Context) -> CostFacts | None:
    cost = context.run.world.cost
    return cost if cost is not None and cost.machines else None
