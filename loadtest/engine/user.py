"""The class that scenarios derive from: a Locust user with a client that measures first bytes."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, cast

from locust import User
from locust.exception import StopUser
from locust.user.task import LOCUST_STATE_RUNNING

if TYPE_CHECKING:
    from loadtest.engine.client.client import TTFBClient


class TTFBUser(User):
    """
    A user whose tasks are played by the schedule.

    Write a scenario as any Locust file: derive from this class, mark methods with ``@task``, send
    requests with ``self.client``.  What differs from Locust: when a task runs is the schedule's
    business (``wait_time`` counts in the closed model only); one run of one task is one arrival.

    Attributes that a task may read:
        client: Sends and measures requests of this user; keeps its cookies and its connection.
        region: Code of the region that this user lives in.
        deployment: Name of the deployment that this user measures.
        arm: The same; the word that the comparison uses.
        paths: Paths of the plan, for scenarios that ask for whatever the plan names.

    Attributes that a class may set:
        scenario: Name in the tables; empty takes the name of the class.
        weight: Share of the arrivals among the classes of one file.
    """

    abstract = True
    scenario: str = ""

    client: TTFBClient
    region: str = ""
    deployment: str = ""
    paths: tuple[str, ...] = ("/",)

    @property
    def arm(self) -> str:
        """Name of the deployment under comparison."""
        return self.deployment

    def equip(
        self,
        client: TTFBClient,
        region: str,
        deployment: str,
        paths: tuple[str, ...] = ("/",),
    ) -> None:
        """Give the user what it works with; called once, before ``on_start``."""
        self.paths = paths
        self.client = client
        self.region = region
        self.deployment = deployment

    def stop(self, force: bool = False) -> bool:
        """
        End this user; where the schedule plays it, its task: the next arrival is due all the same.

        Raises:
            StopUser: There is no loop of its own to end.
        """
        if force or self._state != LOCUST_STATE_RUNNING:
            raise StopUser
        return bool(super().stop())

    @classmethod
    def scenario_name(cls) -> str:
        """Return the name of this scenario in records and tables."""
        return cls.scenario or cls.__name__

    @classmethod
    def playable_tasks(cls) -> list[Callable[..., object]]:
        """Return the tasks, each as often as its weight says, or what stands in their place."""
        return cast("list[Callable[..., object]]", list(cls.tasks))  # a TaskSet is there as a class
