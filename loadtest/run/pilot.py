"""A pilot before the load: whether targets carry the plan's rate, and which one they do."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from loadtest.errors import EngineError
from loadtest.plan.model import Plan
from loadtest.plan.order import RunOrder
from loadtest.run.coordinator import CoordinatorClient
from loadtest.run.progress import Progress

if TYPE_CHECKING:
    from loadtest.analysis.pilot import PilotCell
    from loadtest.gate.foresight import Foresight

_FEWEST_USERS = 2
_GAIN = 1.2
_ARRIVALS = 24.0
_SHORTEST_S, _LONGEST_S = 3.0, 10.0
_WARM_UP_S = 1.0
_TIMEOUT_S = 10.0

Try: TypeAlias = "Callable[[Plan], Sequence[PilotCell]]"


def is_wanted(plan: Plan) -> bool:
    """Tell whether a plan asks for a pilot and has a rate that can be fitted."""
    return plan.load.fit_rate and plan.load.model == "open" and not plan.load.stages


def prepare(plan: Plan, attempt: Try, progress: Progress) -> Plan:
    """
    Return the plan at a rate that every target carries, and say what its run will be able to tell.

    Args:
        plan: Resolved plan.
        attempt: Plays a pilot and tells what came of it.
        progress: Told both.
    """
    from loadtest.gate.foresight import foresee

    latest: list[PilotCell] = []

    def noted(pilot: Plan) -> Sequence[PilotCell]:
        latest[:] = attempt(pilot)
        return latest

    fitted = fit(plan, noted, progress)
    foreseen = foresee(fitted, {cell.key: cell.ttfb_ms for cell in latest})
    if foreseen is not None:
        tell = progress.done if foreseen.passes_after_s is not None else progress.warn
        tell(foreseen_words(foreseen))
    return fitted


def foreseen_words(foreseen: Foresight) -> str:
    """Return what a run will be able to tell, for people."""
    longest = f"{foreseen.longest_s:g} s"
    finds = ", ".join(f"{found.measure} +{found.share:.0%}" for found in foreseen.finds)
    found = f"a candidate slower by {finds} is found within {longest}" if finds else ""
    if (after_s := foreseen.passes_after_s) is not None:
        equal = f"an equal one passes after about {after_s:g} s"
        return f"by the pilot's noise {', '.join(filter(None, (found, equal)))}"
    return (
        f"by the pilot's noise an equal candidate stays undecided within {longest}"
        + (f" ({found})" if found else "")
        + "; more --looks, a longer --duration or a wider margin decide it"
    )


def fit(plan: Plan, attempt: Try, progress: Progress) -> Plan:
    """
    Return the plan at a rate that every target carries.

    Never more than the plan's rate is asked for, and no more at a time than helped: twice as many
    as the last time, until all is served or no more is.  A target that is slow has no queue to work
    off when the load begins.

    Args:
        plan: Resolved plan.
        attempt: Plays a pilot and tells what came of it.
        progress: Told when the rate is lowered, and why.
    """
    from loadtest.analysis.pilot import fitting_rate

    rate, users = plan.load.rate, _FEWEST_USERS
    best: dict[tuple[str, str], float] = {}
    while True:
        cells = attempt(pilot_of(plan, users))
        behind = [cell for cell in cells if not cell.carries]
        if not behind:
            return plan
        grows = any(c.served_per_s > _GAIN * best.get(c.key, 0.0) for c in behind)
        for cell in behind:
            best[cell.key] = max(cell.served_per_s, best.get(cell.key, 0.0))
        if not grows or users >= plan.load.users:
            break
        users = min(2 * users, plan.load.users)
    slow = min(behind, key=lambda cell: best[cell.key])
    lower = fitting_rate(best[slow.key], rate)
    progress.warn(
        f"{slow.deployment} from {slow.region} serves {best[slow.key]:.2g} of {rate:g} arrivals "
        f"per second: a queue would be measured, not the app; measuring at {lower:g} (--rate sets "
        "it)"
    )
    load = plan.load.model_copy(update={"rate": lower, "asked_rate": rate})
    return plan.model_copy(update={"load": load})


def pilot_of(plan: Plan, users: int) -> Plan:
    """Return the plan of a pilot: a few seconds of the same load, by so many users at most."""
    duration_s = min(_LONGEST_S, max(_SHORTEST_S, _ARRIVALS / plan.load.rate))
    load = plan.load.model_copy(
        update={
            "users": users,
            "duration_s": duration_s,
            "warmup_s": min(plan.load.warmup_s, _WARM_UP_S),
            "block_s": min(plan.load.block_s, duration_s / 4),
            "timeout_s": min(plan.load.timeout_s, _TIMEOUT_S),
        }
    )
    return plan.model_copy(update={"load": load})


def attempts_with(coordinator: CoordinatorClient, run_id: str, targets: Any) -> Try:
    """Return what plays pilots through a coordinator, each as a run of its own."""
    from loadtest.analysis.pilot import read_pilot

    count = 0

    def attempt(plan: Plan) -> Sequence[PilotCell]:
        nonlocal count
        count += 1
        name = f"{run_id}-pilot-{count}"
        coordinator.submit(RunOrder(run_id=name, plan=plan, targets=targets))
        status = coordinator.follow(name, 0, lambda _: None)
        if status.state == "failed":
            raise EngineError(status.error or "the pilot failed and the coordinator kept why")
        return read_pilot([coordinator.part(name, part.name) for part in coordinator.parts(name)])

    return attempt
