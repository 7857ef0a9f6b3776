"""What becomes of compared arms between two looks, so that luck is no difference of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from loadtest.fly.exchange import cannot_exchange
from loadtest.plan.order import Targets
from loadtest.plan.threshold_checks import compares_arms
from loadtest.run.deployment import exchange_arms, start_arms_anew
from loadtest.run.kept_run import KeptRun
from loadtest.run.preflight import preflight
from loadtest.run.progress import Progress
from loadtest.run.run_deployment import RunDeployment
from loadtest.run.run_world import RunWorld

_ARMS = 2


class BetweenLooks:
    """
    Draws again what a start or a machine gave one of the arms by luck.

    In an embedded world their processes begin anew.  On Fly, where two arms stand on machines that
    are alike, these change places: what one has that the other has not then is on both sides, but
    for the first time only once it has happened, so a comparison is not judged before.  URLs are
    not ours.

    Args:
        kept: The run.
        place: Where it takes place.
        orders: What was deployed there.
        targets_of: Returns where arms are found once orders are deployed.
        progress: Told in words.
    """

    def __init__(
        self,
        kept: KeptRun,
        place: RunWorld,
        orders: RunDeployment,
        targets_of: Callable[[RunDeployment], Targets],
        progress: Progress,
    ) -> None:
        self._kept = kept
        self._place = place
        self._orders = orders
        self._targets_of = targets_of
        self._progress = progress
        self._compares = bool(orders.apps) and compares_arms(kept.plan)
        self._exchanges = self._compares and place.on_fly and self._may_exchange()

    @property
    def least_looks(self) -> int:
        """Return how many looks there have to be before the first judgement."""
        return min(2, self._kept.plan.gate.max_looks) if self._exchanges else 1

    def begin(self) -> None:
        """Note that nothing has changed places yet, where something will."""
        if self._exchanges:
            self._kept.world = replace(self._kept.world, exchanges=0)

    def renew(self) -> Targets:
        """
        Do what there is to do; return where arms are found from now on.

        Raises:
            WorldError: An arm did not come up again.
            EngineError: It does not answer as it did.
        """
        if self._exchanges:
            self._progress.step("the arms change places")
            self._orders = exchange_arms(self._place, self._orders)
            done = (self._kept.world.exchanges or 0) + 1
            self._kept.save_world(replace(self._kept.world, exchanges=done))
        targets = self._targets_of(self._orders)
        if self._compares and self._place.extras is not None:
            self._progress.step("starting the arms anew")
            start_arms_anew(self._place, self._orders)
            preflight(self._kept.plan, targets)
        return targets

    def _may_exchange(self) -> bool:
        arms = tuple(self._orders.apps.values())
        if len(arms) != _ARMS or len(self._kept.plan.deployments) != _ARMS:
            return False
        if why := cannot_exchange(*arms):
            self._progress.warn(f"the arms keep their machines: {why}")
        return not why
