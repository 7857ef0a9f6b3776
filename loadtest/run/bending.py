"""The faults of a plan, handed to the world that has to have them, at their time."""

from __future__ import annotations

from typing import Protocol

from loadtest.faults import Fault
from loadtest.plan.faults import faults_of
from loadtest.plan.model import Plan, PlannedFault
from loadtest.records.facts import EngineFacts
from loadtest.records.load_status import LoadStatus
from loadtest.run.run_deployment import RunDeployment
from loadtest.units import NS_PER_S

_LOADED = ("warm-up", "steady")


class Bendable(Protocol):
    """What a world is asked for."""

    def fault(self, what: str, *, for_s: float = 0.0, at_wall_ns: int | None = None) -> object:
        """Let a fault happen now, or at a moment."""
        ...


class Epoch(Protocol):
    """What knows when a run began."""

    def engine(self, run_id: str) -> EngineFacts:
        """Return the content of engine.json so far."""
        ...


class PlannedFaults:
    """
    The faults of one run.

    Args:
        plan: Resolved plan.
        orders: What is deployed: a fault names deployments, the world knows apps.
        world: The world; None where there is none to bend, and no plan that wants it.
    """

    def __init__(self, plan: Plan, orders: RunDeployment, world: Bendable | None) -> None:
        names = {
            name: order.name for name, order in (*orders.apps.items(), *orders.companions.items())
        }
        self._world = world
        self._first: list[tuple[Fault, PlannedFault]] = []
        self._later: list[tuple[Fault, PlannedFault]] = []
        for fault, planned in faults_of(plan):
            named = fault.of_app(names[fault.app]) if fault.app in names else fault
            (self._later if planned.at_s else self._first).append((named, planned))

    def begin(self) -> None:
        """
        Let those happen that a load begins with.

        Raises:
            WorldError: The world refuses.
        """
        if self._world is not None:
            for fault, planned in self._first:
                self._world.fault(fault.what, for_s=planned.for_s)

    def on_status(self, status: LoadStatus, coordinator: Epoch, run_id: str) -> None:
        """
        Hand over the others once the run has begun, and its epoch is known.

        Args:
            status: The run's, see `CoordinatorClient.follow`.
            coordinator: Asked for the epoch.
            run_id: The run.

        Raises:
            WorldError: The world refuses.
            EngineError: The coordinator is gone.
        """
        if self._world is None or not self._later or status.state not in _LOADED:
            return
        epoch_ns = coordinator.engine(run_id).epoch_wall_ns
        for fault, planned in self._later:
            at_ns = epoch_ns + round(planned.at_s * NS_PER_S)
            self._world.fault(fault.what, for_s=planned.for_s, at_wall_ns=at_ns)
        self._later = []
