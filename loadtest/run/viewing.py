"""Shows a load under way to whoever watches: words for the terminal, figures for a live page."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, Protocol

from loadtest.plan.model import Plan
from loadtest.records.load_status import LoadStatus
from loadtest.records.watch import WorldGlance
from loadtest.run.coordinator import FINAL_STATES
from loadtest.run.load_words import Prospect, brief, headline, region_table, verdict_in_s
from loadtest.run.progress import Progress
from loadtest.run.world_glance import Glanced
from loadtest.units import NS_PER_S

GLANCE_EVERY_S: Final = 2.0
"""How often a watched world is looked at."""


class Watcher(Protocol):
    """Whoever watches a run in figures; called from the run's own thread, never for long."""

    @property
    def watches_world(self) -> bool:
        """Whether it wants what the world sees of itself, too."""
        ...

    def begin(self, plan: Plan, run_id: str, metrics: Callable[[], bytes]) -> None:
        """
        Take what is about to be measured.

        Args:
            plan: Resolved plan.
            run_id: Name of the run.
            metrics: Returns the coordinator's metrics as Prometheus reads them; from any thread.
        """
        ...

    def load(self, status: LoadStatus, verdict_s: float) -> None:
        """Take how far the load is, and in how many seconds the verdict is due."""
        ...

    def world(self, glance: WorldGlance) -> None:
        """Take what the world sees of itself."""
        ...


class LoadViewer:
    """
    The view of one run's load.

    Args:
        plan: Resolved plan.
        progress: Told in words.
        watcher: Told in figures; None where nobody watches.
        monotonic_ns: Clock.
    """

    def __init__(
        self,
        plan: Plan,
        progress: Progress,
        watcher: Watcher | None = None,
        monotonic_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self._plan = plan
        self._progress = progress
        self._watcher = watcher
        self._monotonic_ns = monotonic_ns
        self._judging_s = 0.0
        self._world: Glanced | None = None
        self._glanced_ns = 0

    def begin(self, run_id: str, world: Glanced | None, metrics: Callable[[], bytes]) -> None:
        """Say what is about to be measured; ``world`` is None where it is not ours to look at."""
        self._world = world
        if self._watcher is not None:
            self._watcher.begin(self._plan, run_id, metrics)

    def show(self, status: LoadStatus) -> None:
        """
        Show how far the load is.

        Raises:
            WorldError: The world does not answer.
        """
        looks_left = max(0, self._plan.gate.max_looks - status.segment - 1)
        prospect = Prospect(bool(self._plan.thresholds), looks_left, self._judging_s)
        if status.state not in FINAL_STATES:
            told = headline(status, prospect), region_table(status), brief(status)
            self._progress.load(status.state, *told)
        if self._watcher is not None:
            self._watcher.load(status, verdict_in_s(status, prospect))
            if self._watcher.watches_world:
                self._glance(self._watcher)

    @contextmanager
    def judging(self) -> Iterator[None]:
        """Note how long a look takes: the next one will take as long."""
        began_ns = self._monotonic_ns()
        yield
        self._judging_s = (self._monotonic_ns() - began_ns) / NS_PER_S

    def _glance(self, watcher: Watcher) -> None:
        now_ns = self._monotonic_ns()
        if self._world is None or now_ns - self._glanced_ns < GLANCE_EVERY_S * NS_PER_S:
            return
        self._glanced_ns = now_ns
        watcher.world(self._world.glance())
