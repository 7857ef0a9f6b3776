"""Which arrivals a segment has, by the model of its load."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence

from locust import User

from loadtest.engine.user import TTFBUser
from loadtest.engine.worker.arrivals import ArrivalSource
from loadtest.engine.worker.closed import ReadyArrivals
from loadtest.engine.worker.recorder import Recorder
from loadtest.engine.worker.scheduled import ScheduledArrivals
from loadtest.engine.worker.users import scenario_name
from loadtest.errors import EngineError
from loadtest.plan.crowd import Change, Share, changes
from loadtest.plan.model import LocustSettings, UserStep
from loadtest.plan.order import RunOrder
from loadtest.plan.schedule import RegionSchedule
from loadtest.units import NS_PER_S


def source_of(
    order: RunOrder,
    region: str,
    share: tuple[int, int],
    classes: Sequence[type[User]],
    recorder: Recorder,
) -> ArrivalSource:
    """
    Return what says when which user of a worker has an arrival.

    Args:
        order: What to do.
        region: Where the worker is.
        share: This worker's index among those of its region, and their number.
        classes: User classes of the scenario.
        recorder: Takes rows of arrivals for which no user was free.

    Raises:
        EngineError: A deployment plays a scenario that there is none of.
    """
    plan = order.plan
    arms = plan.arms_in(region)
    asked = [plan.deployment(arm).scenarios for arm in arms]
    names = [scenario_name(cls) for cls in classes]
    for arm, wanted in zip(arms, asked, strict=True):
        if missing := [name for name in wanted if name not in names]:
            raise EngineError(
                f"deployments.{arm}.scenarios: {plan.scenario} has no scenario "
                f"{missing[0]!r}; it has {', '.join(names)}"
            )
    schedule = RegionSchedule(plan, region, order.segment, order.first_block)
    if plan.load.model == "closed":
        crowds = [crowd_of(order, schedule, classes, wanted, share) for wanted in asked]
        steps = plan.locustfile.steps if plan.locustfile is not None else ()
        complete_s = steps[1].at_s if len(steps) > 1 else math.inf
        return ReadyArrivals(schedule, share, crowds=crowds, complete_s=complete_s)
    index, workers = share
    text = f"{plan.seed} {region} {share} {order.segment}"
    return ScheduledArrivals(
        schedule.chunks(*share),
        [cls for cls in classes if issubclass(cls, TTFBUser)],
        recorder,
        users=len(range(index, plan.load.users, workers)),
        arms=asked,
        seed=int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big"),
    )


def crowd_of(
    order: RunOrder,
    schedule: RegionSchedule,
    classes: Sequence[type[User]],
    wanted: Sequence[str],
    share: tuple[int, int],
) -> list[Change]:
    """
    Return when a worker's users of one arm start and stop.

    Args:
        order: What to do; only its first segment lets users come one by one.
        schedule: Says when the load ends.
        classes: User classes of the scenario.
        wanted: Names of those that the arm plays; none means all.
        share: This worker's index among those of its region, and their number.
    """
    settings = order.plan.locustfile or LocustSettings()
    rate = 0.0 if order.segment else settings.spawn_rate
    first = UserStep(at_s=0.0, users=order.plan.load.users, spawn_rate=rate)
    names = [scenario_name(cls) for cls in classes]
    shares = [
        Share(cls.weight, cls.fixed_count) if not wanted or name in wanted else Share(0.0)
        for cls, name in zip(classes, names, strict=True)
    ]
    crowd = changes(names, shares, settings.steps or (first,), schedule.total_ns / NS_PER_S)
    index, workers = share
    return [change for change in crowd if change.number % workers == index]
