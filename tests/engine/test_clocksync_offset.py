"""The four-stamp exchange finds a clock's offset, and says how surely."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from loadtest.clock import FakeClock
from loadtest.engine.wire.clocksync import ClockExchange, ClockSync, Timeline
from loadtest.units import NS_PER_MS, NS_PER_US


@given(
    offset=st.integers(-(10**12), 10**12),
    there=st.integers(0, 10**9),
    back=st.integers(0, 10**9),
    busy=st.integers(0, 10**7),
)
def test_the_error_is_half_the_difference_of_the_two_ways(
    offset: int, there: int, back: int, busy: int
) -> None:
    """RFC 5905: a symmetric path gives the offset exactly, and never worse than half the delay."""
    t1 = 5_000_000
    t2 = t1 + there + offset
    t3 = t2 + busy
    t4 = t3 - offset + back
    exchange = ClockExchange.of(t1, t2, t3, t4)
    assert exchange.delay_ns == there + back
    assert abs(exchange.offset_ns - offset - (there - back) / 2) <= 1


def test_the_quickest_exchange_decides() -> None:
    sync = ClockSync()
    sync.add(0, 1_000 + 500, 1_000 + 500, 1_000)  # delay 1000, offset 1000
    sync.add(0, 9_000 + 500, 9_000 + 500, 10_000)  # waited on its way: delay 10000
    assert sync.settle() == 1_000
    report = sync.report()
    assert report.offset_us == -1.0  # the worker's clock is behind
    assert report.bound_us == 0.5
    assert report.exchanges == 2


def test_drift_after_the_start_widens_the_uncertainty() -> None:
    sync = ClockSync()
    for _ in range(4):
        sync.add(0, 1_000, 1_000, 2_000)
    sync.settle()
    assert sync.report().uncertainty_us == 0.0
    drift = 3 * NS_PER_MS
    for _ in range(8):
        sync.add(0, 500 + drift, 500 + drift, 1_000)
    assert sync.report().uncertainty_us == drift / NS_PER_US


def test_an_exchange_that_contradicts_itself_is_ignored() -> None:
    sync = ClockSync()
    sync.add(10, 0, 50, 20)
    assert len(sync) == 0
    assert sync.report().exchanges == 0
    assert sync.settle() == 0


def test_a_time_line_does_not_follow_a_step_of_the_wall_clock() -> None:
    clock = FakeClock()
    timeline = Timeline(clock)
    before = timeline.now_ns()
    clock.epoch_ns += 3_600 * 10**9
    clock.advance(1_000)
    assert timeline.now_ns() == before + 1_000
    assert timeline.to_monotonic_ns(timeline.now_ns()) == clock.now_ns
