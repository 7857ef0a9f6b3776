"""What moves a segment: users, and a source that says when which of them has an arrival."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

from gevent import Greenlet
from gevent.event import Event
from locust import User

from loadtest.engine.worker.recorder import NO_ARRIVAL, Arrival


class Visitor:
    """
    A user, and the greenlet that it lives in.

    Args:
        kind: Its class, an index.
        arm: Its deployment, an index.
    """

    __slots__ = ("arm", "arrival", "clients", "greenlet", "kind", "user")

    def __init__(self, kind: int, arm: int) -> None:
        self.kind = kind
        self.arm = arm
        self.user: User | None = None
        self.clients: Any = None
        """What begins its arrivals and closes its connections."""
        self.arrival: Arrival | None = None
        """The arrival being played; None when idle."""
        self.greenlet: Greenlet | None = None

    def nowhere(self) -> Arrival:
        """Return what stands for the arrival of a request that belongs to none."""
        return NO_ARRIVAL, NO_ARRIVAL, 0, self.arm, self.kind, 0


class Cast(ABC):
    """What a source asks of the player whose users it moves."""

    @abstractmethod
    def admit(self, visitor: Visitor) -> None:
        """Open a user, let it run its ``on_start``, and then have the source let it live."""

    @abstractmethod
    def dismiss(self, visitor: Visitor) -> None:
        """End a user."""

    @abstractmethod
    def failed(self, visitor: Visitor, error: BaseException) -> None:
        """Record a task that raised: a row and a counted sentence, never the end of the run."""

    @abstractmethod
    def stop(self) -> None:
        """End the load."""


class ArrivalSource(ABC):
    """
    Says who has an arrival, and when.

    Attributes:
        cast: The player, once it has taken the source.
        in_flight: Arrivals under way.
        played: Arrivals so far, those that found nobody included.
        finished: There will be no more of them.
        stopped: Nobody is to begin one any more.
    """

    cast: Cast

    def __init__(self) -> None:
        self.in_flight = 0
        self.played = 0
        self.finished = Event()
        self.stopped = False
        self.start_ns = self.epoch_us = 0

    @abstractmethod
    def first(self) -> Sequence[Visitor]:
        """Return the users that are there from the first moment."""

    @abstractmethod
    def live(self, visitor: Visitor) -> None:
        """Do what a user does from being ready to its end; runs in its greenlet."""

    @abstractmethod
    def begin(self) -> None:
        """Let arrivals come; ``start_ns`` and ``epoch_us`` are set."""

    def seat(self, visitor: Visitor) -> None:  # noqa: B027 - most need nothing
        """Get a user ready that is open and has not started; runs in its greenlet."""

    def stray(self, visitor: Visitor) -> Arrival | None:  # noqa: ARG002 - most have none
        """Return the arrival of what fails outside of any; None while users get ready."""
        return None

    def stop(self) -> None:
        """Begin no arrival any more; what is in flight goes on."""
        self.stopped = True
        self.finished.set()

    def close(self) -> None:  # noqa: B027 - most need nothing
        """Let go of timers."""

    def take_lateness(self) -> list[int]:
        """Return and forget the lateness of recent arrivals, in microseconds."""
        return []


OpenUser = Callable[[type[User], int], tuple[User, Any]]
"""Makes a user of a class for the arm of that index, and what begins and closes its clients."""
