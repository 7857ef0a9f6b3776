"""What a run on Fly is going to cost, may cost, and did cost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from loadtest.errors import PlanError
from loadtest.fly.ledger import MachineLedger
from loadtest.fly.machines import Guest
from loadtest.fly.orders import AppOrder, placements
from loadtest.fly.prices import PRICES_OF, size_name, usd_per_s
from loadtest.plan.model import Plan
from loadtest.plan.profile import LoadProfile
from loadtest.records.world_facts import CostFacts, MachineCost
from loadtest.run.app_files import OUR_IMAGE, image_name
from loadtest.run.fly_names import app_names, named_for_fly, names_of
from loadtest.run.mortal import longest_load_s, with_lifeline
from loadtest.run.progress import Progress
from loadtest.run.run_deployment import RunDeployment
from loadtest.units import S_PER_HOUR, S_PER_MIN, format_usd

CLEAN_UP_S = 30.0
"""Seconds from the end of the load until the last machine is gone, as reckoned beforehand."""

_DEPLOY_S = 60.0

Agree = Callable[[str], None]
"""Hears what a run is going to cost; raises where a person does not agree."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """
    What a run is reckoned to cost.

    Args:
        machines: How many, by their size.
        usd_per_h: US dollars an hour while all of them run.
        seconds: How long that is at most, with every segment that the plan allows.
    """

    machines: Counter[str]
    usd_per_h: float
    seconds: float

    @property
    def usd(self) -> float:
        """Return US dollars of the whole run."""
        return self.usd_per_h * self.seconds / S_PER_HOUR

    @property
    def sentence(self) -> str:
        """Return it as a person is told."""
        sizes = ", ".join(f"{n} x {size}" for size, n in sorted(self.machines.items()))
        total = self.machines.total()
        hour = format_usd(self.usd_per_h)
        return (
            f"{total} machine{'s' if total != 1 else ''} ({sizes}) at {hour} an hour; "
            f"up to {self.seconds / S_PER_MIN:.1f} min: {format_usd(self.usd)} "
            f"(list prices of {PRICES_OF}, without traffic)"
        )


def estimate(plan: Plan, orders: RunDeployment) -> Estimate:
    """
    Return what a run is reckoned to cost.

    The time is that of the load with every segment the plan allows, and a minute and a half to
    deploy and to clear away; release commands run in machines of seconds, which are left out.
    """
    machines: Counter[str] = Counter()
    usd_per_h = 0.0
    for order in orders.every:
        for guest, region in _guests(order):
            machines[size_name(guest)] += 1
            usd_per_h += usd_per_s(guest, region) * S_PER_HOUR
    return Estimate(machines, usd_per_h, _DEPLOY_S + longest_load_s(plan) + CLEAN_UP_S)


def _guests(order: AppOrder) -> list[tuple[Guest, str]]:
    return [(place.config.guest, place.region) for place in placements(order)]


def ready_for_fly(
    plan: Plan, orders: RunDeployment, progress: Progress, agree: Agree
) -> RunDeployment:
    """
    Return what is ordered on Fly, once a person knows its names and its price and agrees.

    Raises:
        PlanError: A name cannot be, the budget is too small, or nobody can be asked.
    """
    names = names_of(plan)
    orders = named_for_fly(orders, names)
    reckoned = estimate(plan, orders)
    progress.done(f"Fly: organization {names.org}, apps {', '.join(app_names(orders))}")
    check_budget(plan.budget_usd, reckoned)
    progress.done(f"Fly: {reckoned.sentence}")
    agree(reckoned.sentence)
    for name in sorted({order.name for order in orders.measured if not _ours(order)}):
        progress.warn(
            f"app {name} runs an image of its own: should this program be killed, its machines "
            "stay until `loadtest fly clean`"
        )
    return with_lifeline(orders, plan, has_program=_ours)


def _ours(order: AppOrder) -> bool:
    """Tell whether an app runs our own image, by what its fly.toml names."""
    return image_name(order.config.image) == OUR_IMAGE


def segment_s(plan: Plan) -> float:
    """Return the seconds that one segment measures."""
    return float(LoadProfile.of(plan.load).duration_s)


class Budget:
    """
    Holds a run's cost against what it may cost.

    Args:
        limit_usd: US dollars; 0 is no limit.
        ledger: The run's record.
    """

    def __init__(self, limit_usd: float, ledger: MachineLedger) -> None:
        self.limit_usd = limit_usd
        self._ledger = ledger

    def exhausted(self, ahead_s: float = 0.0) -> bool:
        """Tell whether ``ahead_s`` more seconds and clearing away after them cost too much."""
        if not self.limit_usd:
            return False
        return self._ledger.usd(ahead_s + CLEAN_UP_S) > self.limit_usd


def check_budget(limit_usd: float, reckoned: Estimate) -> None:
    """
    Refuse a run that is reckoned to cost more than it may.

    Raises:
        PlanError: It is; says what would make it cheaper.
    """
    if limit_usd and reckoned.usd > limit_usd:
        raise PlanError(
            f"--budget: the run may cost {format_usd(limit_usd)} and is reckoned at "
            f"{reckoned.sentence}; a shorter --duration, --looks 1, fewer --regions or "
            "--deployments cost less"
        )


def account(ledger: MachineLedger, limit_usd: float) -> CostFacts:
    """Return a run's cost as world.json keeps it; seconds and dollars of every machine."""
    now_ns = ledger.now_ns
    machines = tuple(
        MachineCost(
            app=entry.app,
            name=entry.name,
            region=entry.region,
            size=size_name(entry.guest),
            usd_per_s=usd_per_s(entry.guest, entry.region),
            seconds=entry.seconds(now_ns),
            usd=entry.usd(now_ns),
            gone=entry.gone_ns is not None,
        )
        for entry in ledger.entries
    )
    return CostFacts(
        prices_of=PRICES_OF,
        budget_usd=limit_usd,
        machine_seconds=sum(machine.seconds for machine in machines),
        usd=sum(machine.usd for machine in machines),
        machines=machines,
    )


def cost_sentence(cost: CostFacts) -> str:
    """Return an account as a person is told."""
    machines = cost.machines
    left = sum(not machine.gone for machine in machines)
    return (
        f"{len(machines)} machines for {cost.machine_seconds:.0f} machine-seconds: "
        f"{format_usd(cost.usd)} (list prices of {cost.prices_of}, without traffic); "
        + (f"{left} of them left behind" if left else "listed again: all are gone")
    )
