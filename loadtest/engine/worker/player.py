"""
Plays a segment: users that live in greenlets, moved by a source of arrivals.

The player opens users, sees that each runs its ``on_start`` and ``on_stop``, records tasks that
raise, and ends everybody.  When who has an arrival is the source's: the schedule's in the open
model (`scheduled`), each user's own in the closed one (`closed`).
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Sequence

import gevent
from gevent import GreenletExit
from gevent.lock import Semaphore
from locust import User
from locust.exception import StopTest, StopUser

from loadtest.engine.client.options import OptionError
from loadtest.engine.worker.arrivals import ArrivalSource, Cast, OpenUser, Visitor
from loadtest.engine.worker.failure_log import sentence_of
from loadtest.engine.worker.recorder import Recorder
from loadtest.errors import EngineError
from loadtest.records.kinds import ERROR_CHECK, TASK_NAME, UNASKED_NAME
from loadtest.units import NS_PER_S

logger = logging.getLogger(__name__)

_ENDING_S = 3.0
"""How long all users' ``on_stop`` may take."""
_STARTING_AT_ONCE = 16
"""Users that run ``on_start`` at the same time, so that getting ready is no attack."""

_monotonic_ns = time.monotonic_ns


class Player(Cast):
    """
    Plays one worker's share of a segment.

    Args:
        source: Says when who has an arrival.
        classes: User classes of the scenario.
        recorder: Takes rows of tasks that raised.
        open_user: Makes a user; called in the greenlet that the user lives in.
    """

    def __init__(
        self,
        source: ArrivalSource,
        classes: Sequence[type[User]],
        recorder: Recorder,
        open_user: OpenUser,
    ) -> None:
        source.cast = self
        self.source = source
        self.finished = source.finished
        self._classes = classes
        self._recorder = recorder
        self._open_user = open_user
        self._visitors: set[Visitor] = set()
        self._throttle = Semaphore(_STARTING_AT_ONCE)
        self._ready = 0
        self.fault = ""
        """Why the scenario cannot be played on, for who wrote it; empty for no reason."""

    @property
    def in_flight(self) -> int:
        """Arrivals under way."""
        return self.source.in_flight

    @property
    def played(self) -> int:
        """Arrivals so far."""
        return self.source.played

    @property
    def users(self) -> int:
        """Users that are there now."""
        return len(self._visitors)

    def take_lateness(self) -> list[int]:
        """Return and forget the lateness of recent arrivals, in microseconds."""
        return self.source.take_lateness()

    def prepare(self, deadline_s: float = 30.0, *, patient: bool = False) -> None:
        """
        Start the users that are there from the first moment, and let each run its ``on_start``.

        Args:
            deadline_s: How long all of ``on_start`` may take.
            patient: Begin the load even so when it takes longer: a locustfile may wait in
                ``on_start`` for what happens under load.

        Raises:
            EngineError: One of them could not start, or not in time.
        """
        first = self.source.first()
        for visitor in first:
            self.admit(visitor)
        end = time.monotonic() + deadline_s
        while self._ready < len(first):
            for visitor in first:
                if visitor.greenlet is not None and visitor.greenlet.dead:
                    failure = visitor.greenlet.value
                    why = sentence_of(failure) if failure is not None else "it ended itself"
                    raise EngineError(f"on_start of {self._name_of(visitor)}: {why}")
            if time.monotonic() > end:
                if patient:
                    return
                raise EngineError(
                    f"on_start of {self._classes[0].__name__} has not ended for all users after "
                    f"{deadline_s:g} s; is the target reachable from this region?"
                )
            gevent.sleep(0.002)

    def start(self, start_ns: int, epoch_us: int) -> None:
        """
        Let arrivals come.

        Args:
            start_ns: Monotonic moment that all times count from.
            epoch_us: The same moment on the run's time line, in microseconds from its epoch.
        """
        self.source.start_ns, self.source.epoch_us = start_ns, epoch_us
        self.source.begin()

    def stop(self) -> None:
        """Begin no arrival any more; what is in flight goes on."""
        self.source.stop()

    def close(self, grace_s: float) -> None:
        """
        Wait for what is in flight, then end every user.

        Args:
            grace_s: How long to wait; what is still under way then is recorded as cancelled.
        """
        source = self.source
        source.stopped = True
        end = _monotonic_ns() + int(grace_s * NS_PER_S)
        while source.in_flight and _monotonic_ns() < end:
            gevent.sleep(0.01)
        source.close()
        for _ in range(2):  # out of what they do, and then out of an on_stop that does not end
            there = [v.greenlet for v in self._visitors if v.greenlet is not None]
            with contextlib.suppress(gevent.Timeout):
                gevent.killall([one for one in there if not one.dead], timeout=_ENDING_S)
        self._visitors.clear()

    # What the source calls.

    def admit(self, visitor: Visitor) -> None:
        """Open a user, let it run its ``on_start``, and then have the source let it live."""
        self._visitors.add(visitor)
        visitor.greenlet = gevent.spawn(self._live, visitor)

    def dismiss(self, visitor: Visitor) -> None:
        """End a user, without waiting for that."""
        self._visitors.discard(visitor)
        if visitor.greenlet is not None:
            gevent.spawn(visitor.greenlet.kill)

    def failed(self, visitor: Visitor, error: BaseException) -> None:
        """Record a task that raised: a row and a counted sentence, never the end of the run."""
        arrival, name = visitor.arrival, self._name_of(visitor)
        assert arrival is not None
        row = TASK_NAME if visitor.clients is not None and visitor.clients.asked else UNASKED_NAME
        said = f"{name}: {sentence_of(error)}"
        self._recorder.failures.note(ERROR_CHECK, visitor.arm, visitor.kind, row, said)
        self._note_fault(said, error)
        logger.debug("task of %s failed", name, exc_info=error)
        if self._recorder.failed is not arrival:  # else a request has a row that says so
            self._recorder.fail(arrival, _monotonic_ns(), ERROR_CHECK, row)

    def _note_fault(self, said: str, error: BaseException | None) -> None:
        """End the load where a scenario asks for what the client cannot do: it would each time."""
        while error is not None:
            if isinstance(error, OptionError):
                self.fault = self.fault or said
                self.stop()
                return
            error = error.__cause__ or error.__context__

    # A user's life.

    def _live(self, visitor: Visitor) -> BaseException | None:
        """One user's life; returns what ended it, if that was a failure."""
        try:
            with self._throttle:
                user_class = self._classes[visitor.kind]
                visitor.user, visitor.clients = self._open_user(user_class, visitor.arm)
                self.source.seat(visitor)
                visitor.clients.begin(0, visitor.nowhere())
                visitor.user.on_start()
            self._ready += 1
            self.source.live(visitor)
        except (GreenletExit, StopUser):
            pass
        except StopTest:
            self.stop()
        except (Exception, SystemExit, gevent.Timeout) as error:
            visitor.arrival = self.source.stray(visitor)
            if visitor.arrival is not None:
                self.failed(visitor, error)
            else:
                self._note_fault(f"{self._name_of(visitor)}: {sentence_of(error)}", error)
            return error
        finally:
            self._note_end(visitor)
            self._end(visitor)
        return None

    def _note_end(self, visitor: Visitor) -> None:
        """Count a user that nobody sent away, and that is not there for the rest of the load."""
        if visitor in self._visitors and self.source.start_ns and not self.source.stopped:
            self._recorder.left[self._recorder.deployments[visitor.arm]] += 1

    def _end(self, visitor: Visitor) -> None:
        try:
            if visitor.user is not None:
                visitor.user.on_stop()  # type: ignore[no-untyped-call]
        except Exception as error:
            logger.warning("on_stop of %s: %s", self._name_of(visitor), error)
        finally:
            if visitor.clients is not None:
                visitor.clients.close()

    def _name_of(self, visitor: Visitor) -> str:
        return self._classes[visitor.kind].__name__
