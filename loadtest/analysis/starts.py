"""How often the arms of a run were started: what a comparison of them holds for."""

from __future__ import annotations

from loadtest.analysis.load import Run
from loadtest.analysis.world_time import world_time


def starts_of(run: Run) -> int | None:
    """
    Return how many starts of every machine of every arm a run has seen.

    A machine that somebody had stopped and started again began anew; one that ended by itself and
    came back did, too, but with an arm that does not stay up there is no comparison.

    Returns:
        None where the world cannot tell, or an arm was not started for the run.
    """
    time, apps = world_time(run), run.world.apps or {}
    if time is None or any(deployment.url for deployment in run.plan.deployments) or not apps:
        return None
    began = {(m.app, m.id): 1 for m in run.world.machines or () if m.app in apps.values()}
    for event in time.watch.machine_events:
        key = (event.app, event.machine)
        if event.event == "start" and event.asked and event.t_ms <= time.load_ms[1]:
            began[key] = began.get(key, 1) + 1
    return min(began.values(), default=None)
