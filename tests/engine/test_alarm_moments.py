"""When the alarm rings, and how it waits: no sockets, time is a number."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gevent
import pytest
from client_servers import OK, ScriptServer, answering, client_of

from loadtest.engine.hub.alarm import NEVER, Alarm
from loadtest.engine.hub.instruments import Instruments
from loadtest.engine.hub.wait import Breath

ARMING_NS = 10_000
"""What arming the fake timer costs; a sleep is worth its while from three times that."""


class Watcher:
    def __init__(self) -> None:
        self.callback: Callable[[], object] | None = None

    @property
    def active(self) -> bool:
        return self.callback is not None

    def start(self, callback: Callable[[], object]) -> None:
        self.callback = callback

    def stop(self) -> None:
        self.callback = None


class World:
    """A clock, a loop with its two watchers, and a timer that remembers what it was armed for."""

    def __init__(self) -> None:
        self.now = 1_000_000
        self.before_sleep, self.idle = Watcher(), Watcher()
        self.armed: list[int] = []
        self.closed = 0
        self.rung: list[int] = []
        self.moments: list[int] = []
        self.timer_fires: Callable[[], object] = self.ring

    def alarm(self) -> Alarm:
        world = self

        class FakeTimer:
            def __init__(self, callback: Callable[[], object]) -> None:
                world.timer_fires = callback

            def arm(self, deadline_ns: int) -> None:
                world.now += ARMING_NS
                world.armed.append(deadline_ns)

            def disarm(self) -> None:
                world.armed.clear()

            def close(self) -> None:
                world.closed += 1

        hub: Any = LoopOf(self)
        made = Alarm(hub, lambda: self.now, FakeTimer)
        made.set(NEVER, self.ring)  # the first moment costs time: what a timer costs is measured
        return made

    def ring(self) -> int:
        """Ring, and name the next moment of the list."""
        self.rung.append(self.now)
        return self.moments.pop(0) if self.moments else NEVER

    def turn(self) -> None:
        """Let the loop come to where it would wait."""
        assert self.before_sleep.callback is not None
        self.before_sleep.callback()


class LoopOf:
    """The two calls of a hub's loop that an alarm makes."""

    def __init__(self, world: World) -> None:
        self.loop = self
        self._world = world

    def prepare(self, ref: bool) -> Watcher:
        assert not ref
        return self._world.before_sleep

    def idle(self, ref: bool) -> Watcher:
        assert not ref
        return self._world.idle


@pytest.fixture
def world() -> World:
    return World()


def test_a_distant_moment_is_slept_until(world: World) -> None:
    """The timer is armed once, however often the loop comes by."""
    alarm = world.alarm()
    due = world.now + 5_000_000
    alarm.set(due, world.ring)
    world.turn()
    world.turn()
    assert (world.armed, world.idle.active, world.rung) == ([due], False, [])
    world.now = due
    world.timer_fires()
    assert world.rung == [due]
    assert alarm.due_ns == NEVER


def test_a_near_moment_is_polled_for(world: World) -> None:
    """No timer is armed for less than it costs; the loop is kept from sleeping instead."""
    alarm = world.alarm()
    alarm.set(world.now, world.ring)
    armed = list(world.armed)
    world.moments = [world.now + 2 * ARMING_NS]
    world.turn()
    assert len(world.rung) == 1
    assert (world.armed, world.idle.active) == (armed, True)
    world.now = alarm.due_ns
    world.turn()
    assert len(world.rung) == 2
    assert not world.idle.active


def test_a_moment_set_after_the_loop_has_decided_how_to_wait_wakes_it(world: World) -> None:
    """As by a greenlet that runs between that decision and the wait."""
    alarm = world.alarm()
    alarm.set(world.now + 1, world.ring)
    assert world.armed == [alarm.due_ns]


def test_only_empty_turns_count_as_polling(world: World) -> None:
    """And no turn counts for more than an empty one can take: the process was paused in it."""
    alarm = world.alarm()
    alarm.set(world.now + 25_000, world.ring)
    world.turn()
    world.now += 2_000
    world.turn()  # something else was called in this turn
    world.now += 3_000
    assert world.idle.callback is not None
    world.idle.callback()
    assert alarm.polled_ns == 3_000
    world.turn()
    world.now += 4_000_000
    world.idle.callback()
    assert alarm.polled_ns == 13_000


def test_what_is_overdue_rings_once_a_turn_and_keeps_the_loop_awake(world: World) -> None:
    """A ring that could not release all names a moment that has passed: sockets come first."""
    alarm = world.alarm()
    world.moments = [world.now, world.now, world.now + 9_000_000]
    alarm.set(world.now, world.ring)
    for rings in (1, 2, 3):
        world.turn()
        assert len(world.rung) == rings
        assert world.idle.active == (rings < 3)
    assert world.armed[-1] == alarm.due_ns


def test_nothing_rings_early_twice_or_when_cleared(world: World) -> None:
    alarm = world.alarm()
    alarm.set(world.now + ARMING_NS + 1, world.ring)
    alarm.fire()
    assert world.rung == []
    world.now += 1
    alarm.fire()
    alarm.fire()
    assert len(world.rung) == 1
    alarm.set(world.now + 5, world.ring)
    alarm.clear()
    world.now += 5
    alarm.fire()
    assert len(world.rung) == 1
    assert not world.before_sleep.active
    assert world.closed == 1


def test_a_ring_within_a_ring_is_not_heard(world: World) -> None:
    """Whatever runs inside may look at the clock too."""
    alarm = world.alarm()

    def ring() -> int:
        alarm.fire()
        return world.ring()

    alarm.set(world.now, ring)
    alarm.fire()
    assert len(world.rung) == 1


def test_reading_an_answer_releases_what_is_due(monkeypatch: pytest.MonkeyPatch) -> None:
    """An arrival does not wait until a burst of answers is read."""
    fired: list[int] = []

    class Due:
        due_ns = 0

        def fire(self) -> None:
            fired.append(1)

    monkeypatch.setattr(Instruments.here(), "alarm", Due())
    with ScriptServer(answering(OK)) as server, client_of(server.url) as (client, _):
        assert client.get("/").status_code == 200
    assert fired


def test_a_breath_lets_timers_and_sockets_in_once_its_slice_is_used_up() -> None:
    """``gevent.sleep(0)`` does not, which is why there is such a thing."""
    hub = gevent.get_hub()
    fired: list[int] = []
    timer = hub.loop.timer(0.0)
    timer.start(fired.append, 1)
    Breath(slice_ns=10**12)()
    gevent.sleep(0)
    assert fired == []
    Breath(slice_ns=0)()
    assert fired == [1]
    timer.close()
