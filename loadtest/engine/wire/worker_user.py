"""The one Locust user of every worker, known to the coordinator by the same name."""

from __future__ import annotations

from locust import User, task


class WorkerUser(User):
    """Plays orders as they come, for the worker's life; the coordinator never runs it."""

    @task
    def drive(self) -> None:
        """Hand this greenlet to the worker."""
        self.environment.loadtest_worker.play_orders()
