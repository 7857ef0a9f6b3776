"""Locust's user dispatcher, reduced to: one driver on every worker, and nothing is ever moved."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from locust.dispatch import UsersDispatcher

Plan = dict[str, dict[str, int]]


class PinnedDispatcher(UsersDispatcher):
    """
    Puts exactly one user of every class on every worker.

    Locust deals users out round robin and deals again when a worker goes missing, which would move
    one region's load to another.  Here a worker's share is its own: joining or leaving touches
    nobody else, and asking again for what is already there changes nothing.
    """

    def new_dispatch(
        self,
        target_user_count: int,  # noqa: ARG002 - one per worker, whatever is asked for
        spawn_rate: float,  # noqa: ARG002 - all at once
        user_classes: list[type[Any]] | None = None,  # noqa: ARG002 - always all of them
    ) -> None:
        """Prepare a dispatch of one step."""
        self._users_on_workers = self._pinned()
        self._target_user_count = self._current_user_count = self.get_current_user_count()
        self._dispatcher_generator = self._once()

    def add_worker(self, worker_node: Any) -> None:
        """Let a worker in; its driver comes with the next dispatch."""
        self.remove_worker(worker_node)
        self._worker_nodes.append(worker_node)

    def remove_worker(self, worker_node: Any) -> None:
        """Forget a worker; the others keep what they have."""
        self._worker_nodes = [node for node in self._worker_nodes if node.id != worker_node.id]

    def _pinned(self) -> Plan:
        return {
            node.id: {user_class.__name__: 1 for user_class in self._user_classes}
            for node in self._worker_nodes
        }

    def _once(self) -> Generator[Plan, None, None]:
        self._dispatch_in_progress = True
        try:
            yield self._users_on_workers
        finally:
            self._dispatch_in_progress = False
