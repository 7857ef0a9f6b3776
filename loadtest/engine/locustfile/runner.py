"""What a locustfile sees of Locust's runner: a local run, whose users are ours to start."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from locust.env import Environment
from locust.runners import STATE_INIT, STATE_RUNNING, STATE_STOPPED, LocalRunner

from loadtest.errors import LoadtestError


class ScenarioRunner(LocalRunner):
    """
    Stands in ``environment.runner``.

    Locust's statistics are kept for scripts that look at them; they are not what is reported.
    """

    def __init__(self, environment: Any) -> None:
        self.crowd: Callable[[], int] = int
        """Returns how many users there are."""
        self.end: Callable[[], object] = bool
        """Ends this worker's load."""
        super().__init__(environment)
        self.state = STATE_INIT

    def monitor_cpu_and_memory(self) -> None:  # type: ignore[override] # ends at once
        """Leave it to our own health monitor."""

    @property
    def user_count(self) -> int:
        """Users that are there now."""
        return self.crowd()

    def begin(self) -> None:
        """Say that the load goes on."""
        self.state = STATE_RUNNING

    def over(self) -> None:
        """Say that the load is over."""
        self.state = STATE_STOPPED

    def start(self, *_: Any, **__: Any) -> None:
        """
        Refuse: who starts when stands in the plan.

        Raises:
            LoadtestError: Always.
        """
        raise LoadtestError("runner.start: the plan says how many users there are; use --users")

    def stop(self) -> None:
        """End the load of this worker."""
        self.end()

    def quit(self) -> None:
        """End the load of this worker."""
        self.end()


def environment_of_scenario(end: Callable[[], object]) -> Environment:
    """
    Return what users of our own classes see of Locust's environment.

    Args:
        end: Ends this worker's load; what ``environment.runner.quit()`` of a scenario does.
    """
    environment = Environment()
    runner = environment.runner = ScenarioRunner(environment)
    runner.end = end
    runner.begin()
    return environment
