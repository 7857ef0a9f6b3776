"""Time-outs by one sweep, and the timer that the schedule hangs on."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import gevent
import pytest

from loadtest.engine.client.sample import RequestSample
from loadtest.engine.client.server_timing import NOTHING, parse_region, parse_server_timing
from loadtest.engine.hub.timer import HubTimer
from loadtest.engine.hub.watchdog import Watchdog


class FakeTimer:
    def start(self, callback: Callable[[], None]) -> None:
        self.callback = callback

    def stop(self) -> None: ...

    def close(self) -> None: ...


class FakeHub:
    @property
    def loop(self) -> FakeHub:
        return self

    def timer(self, *_: float, ref: bool) -> FakeTimer:
        assert not ref
        return FakeTimer()


class Waiting:
    def __init__(self, deadline_ns: int, then: Callable[[], Any] | None = None) -> None:
        self.deadline_ns, self.expired, self._then = deadline_ns, 0, then

    def expire(self) -> None:
        self.expired += 1
        if self._then is not None:
            self._then()


class Hand:
    now = 0

    def __call__(self) -> int:
        return self.now


@pytest.fixture
def clock() -> Hand:
    return Hand()


@pytest.fixture
def dog(clock: Hand) -> Watchdog:
    return Watchdog(FakeHub(), monotonic_ns=clock)


def test_what_is_overdue_expires_once(dog: Watchdog, clock: Hand) -> None:
    """Not before its deadline, and not again."""
    early, late, settled = Waiting(100), Waiting(200), Waiting(100)
    for waiting in (late, early, settled):
        dog.add(waiting)
    dog.discard(settled)
    for now in (99, 100, 150, 199):
        clock.now = now
        dog.sweep()
    assert (early.expired, late.expired, settled.expired, len(dog)) == (1, 0, 0, 1)
    clock.now = 200
    dog.sweep()
    dog.sweep()
    assert (late.expired, len(dog)) == (1, 0)


def test_an_earlier_deadline_added_later_is_seen(dog: Watchdog, clock: Hand) -> None:
    """The sweep's short cut must not overlook it."""
    dog.add(Waiting(1_000))
    clock.now = 10
    dog.sweep()
    soon = Waiting(20)
    dog.add(soon)
    clock.now = 25
    dog.sweep()
    assert soon.expired == 1


def test_expiring_one_may_settle_or_add_another(dog: Watchdog, clock: Hand) -> None:
    """What expires runs user code at once."""
    second, third = Waiting(100), Waiting(100)
    first = Waiting(100, lambda: (dog.discard(second), dog.discard(third), dog.add(Waiting(500))))
    second._then = lambda: (dog.discard(first), dog.discard(third))
    third._then = lambda: (dog.discard(first), dog.discard(second))
    for waiting in (first, second, third):
        dog.add(waiting)
    clock.now = 100
    dog.sweep()
    assert first.expired + second.expired + third.expired == 1


@pytest.mark.contract
@pytest.mark.parametrize("timerfd", [True, False])
def test_the_timer_fires_not_before_its_moment(
    timerfd: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once for each arming, the last one counting; late ones at once; disarmed ones never."""
    if not timerfd:
        monkeypatch.setattr("sys.platform", "other")
    fired: list[int] = []
    done = gevent.event.Event()
    timer = HubTimer(lambda: (fired.append(time.monotonic_ns()), done.set()))
    if timerfd and not timer.precise:
        pytest.skip("no timerfd on this platform")
    try:
        for delay_ns in (3_000_000, 0, -5_000_000):
            done.clear()
            due = time.monotonic_ns() + delay_ns
            timer.arm(due + 10_000_000_000)
            timer.arm(due)
            assert done.wait(5)
            # a loop's own timer counts from the loop's idea of now, which may lag a little
            assert fired[-1] >= due - (0 if timer.precise else 1_000_000)
        timer.arm(time.monotonic_ns() + 1_000_000)
        timer.disarm()
        done.clear()
        assert not done.wait(0.02)
        assert len(fired) == 3
    finally:
        timer.close()
        timer.close()


def test_a_callback_may_arm_the_timer_again() -> None:
    """As a schedule does for each arrival."""
    done = gevent.event.Event()
    moments: list[int] = []

    def tick() -> None:
        moments.append(time.monotonic_ns())
        if len(moments) < 20:
            timer.arm(moments[0] + len(moments) * 200_000)
        else:
            done.set()

    timer = HubTimer(tick)
    timer.arm(time.monotonic_ns())
    assert done.wait(5)
    timer.close()
    assert all(m >= moments[0] + i * 200_000 for i, m in enumerate(moments))


def test_phases_of_a_sample() -> None:
    """Differences of moments; never negative, and 0 where a moment never came."""
    sample = RequestSample("x", "GET", start_ns=1_000, intended_ns=400)
    assert (sample.queue_ns, sample.wait_ns, sample.receive_ns) == (600, 0, 0)
    sample.sent_ns, sample.first_ns, sample.first_user_ns, sample.last_ns = (
        2_000,
        5_000,
        6_000,
        9_000,
    )
    assert (sample.wait_ns, sample.wait_user_ns, sample.receive_ns) == (3_000, 4_000, 4_000)
    sample.first_ns = 1_900
    assert sample.wait_ns == 0
    assert RequestSample("x", "GET", 1_000).queue_ns == 0


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (b"", NOTHING),
        (
            b'app;dur=12.3, db;dur=4.5;desc="2", region;desc="cdg"',
            (12_300, 4_500, 2, False),
        ),
        (b'replay;desc="syd;captured, at once" , APP;dur="1"', (1_000, -1, -1, True)),
        (b"db;desc=3", (-1, -1, 3, False)),
        (b"db;dur=x;desc=-1, app;dur=nan", NOTHING),
        (b"app;dur=1e300", (2**31 - 1, -1, -1, False)),
        (b"cache, miss;dur=1,,app;dur=2", (2_000, -1, -1, False)),
        (b'app;dur=1, db;desc="unclosed', (1_000, -1, -1, False)),
        (b"app;dur=1," * 1_000, NOTHING),
        (b"\xff\xfe;;;==", NOTHING),
    ],
)
def test_server_timing(header: bytes, expected: tuple[int, int, int, bool]) -> None:
    """What the app says of its time; what cannot be read was not said."""
    assert parse_server_timing(header) == expected


@pytest.mark.parametrize(
    ("header", "region"),
    [(b"cdg", "cdg"), (b" SYD ", "syd"), (b"", ""), (b"a b", ""), (b"x" * 99, ""), (b"\xff", "")],
)
def test_region(header: bytes, region: str) -> None:
    """A code or nothing."""
    assert parse_region(header) == region
