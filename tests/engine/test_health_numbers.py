"""Health in numbers: histogram, steal, pauses, and the summary of a run."""

from __future__ import annotations

import gc
import math
import time
from collections.abc import Iterator
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loadtest.engine.wire.histogram import Histogram
from loadtest.engine.worker.health import HealthMonitor, PauseWatch, stolen_of_all
from loadtest.units import NS_PER_S

TCP = SimpleNamespace(retransmits=3, segments_sent=500)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(0, 10**7), min_size=1, max_size=300), st.sampled_from([50, 95, 99]))
def test_a_percentile_is_the_nearest_rank_within_one_percent(values: list[int], p: int) -> None:
    histogram = Histogram()
    histogram.add_all(values)
    truth = sorted(values)[math.ceil(len(values) * p / 100) - 1]
    assert truth <= histogram.percentile(p) <= truth * 1.01 + 1
    assert histogram.highest == max(values)
    assert histogram.sum == sum(values)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 10**7), max_size=80), st.lists(st.integers(0, 10**7), max_size=80))
def test_merged_histograms_are_one_over_all_values(first: list[int], second: list[int]) -> None:
    merged, whole = Histogram(), Histogram()
    whole.add_all(first + second)
    for values in (first, second):
        part = Histogram()
        part.add_all(values)
        merged.merge(part)
    assert (merged.total, merged.sum, merged.highest) == (whole.total, whole.sum, whole.highest)
    assert [merged.percentile(p) for p in (1, 50, 99)] == [whole.percentile(p) for p in (1, 50, 99)]


def test_an_empty_histogram_answers_zero() -> None:
    assert Histogram().percentile(99) == 0


def test_what_the_host_took_is_a_part_of_all_but_the_time_of_guests() -> None:
    assert stolen_of_all((1.0, 0.0, 0.5, 8.0, 0.1, 0.0, 0.05, 0.35, 0.2, 0.0)) == (0.35, 10.0)


def test_where_the_platform_does_not_tell_nothing_was_taken_of_nothing() -> None:
    """macOS: user, nice, system, idle."""
    assert stolen_of_all((1.0, 0.0, 0.5, 8.0)) == (0.0, 0.0)


@pytest.fixture
def monitor() -> Iterator[HealthMonitor]:
    made = HealthMonitor(late_after_us=2_000)
    made.start(epoch_ns=0, now_ns=NS_PER_S, polled_ns=0)
    yield made
    made.stop()


def test_a_second_of_health_and_its_sum(monitor: HealthMonitor) -> None:
    for lag_us in (10, 20, 30):
        monitor.on_lag(lag_us * 1_000)
    monitor.on_lateness([50] * 98 + [2_000, 5_000])
    entry = monitor.second(2 * NS_PER_S, in_flight=4, polled_ns=0)
    assert entry is not None
    assert (entry.t_s, entry.loop_lag_p99_us, entry.in_flight) == (2.0, 30, 4)
    assert 1_990 <= entry.lateness_p99_us <= 2_020
    assert monitor.second(2 * NS_PER_S, in_flight=0, polled_ns=0) is None

    summary = monitor.summary(TCP, resends=2, dropped=1)
    assert (summary.late, summary.dropped, summary.resends) == (1, 1, 2)
    assert (summary.retransmits, summary.segments_sent) == (3, 500)
    assert (summary.loop_lag_p50_us, summary.loop_lag_max_us) == (20, 30)
    assert summary.lateness_p50_us == 50


def test_slices_that_end_right_behind_each_other_are_two_moments(monitor: HealthMonitor) -> None:
    """As after a stall, when the segment ends just behind a second: no account stands still."""
    for now_ns in (2 * NS_PER_S, 2 * NS_PER_S + 100_000):
        monitor.second(now_ns, in_flight=0, polled_ns=0)
    first, last = monitor.timeline
    assert first.t_s < last.t_s


def test_polling_is_no_use_of_the_cpu(
    monitor: HealthMonitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second of CPU time, half of it spent on looking whether there is anything to do."""
    spent_ns = time.process_time_ns()
    monitor.start(epoch_ns=0, now_ns=NS_PER_S, polled_ns=7)
    monkeypatch.setattr("time.process_time_ns", lambda: spent_ns + NS_PER_S)
    entry = monitor.second(2 * NS_PER_S, in_flight=0, polled_ns=7 + NS_PER_S // 2)
    assert entry is not None
    assert entry.cpu_share == pytest.approx(0.5, abs=0.05)


def test_what_is_reported_during_a_breath_belongs_to_the_next_second(
    monitor: HealthMonitor,
) -> None:
    monitor.on_lag(10_000)
    monitor.on_lateness([100, 200])

    def breathe() -> None:
        monitor.on_lag(99_000_000)
        monitor.on_lateness([99_000])

    first = monitor.second(2 * NS_PER_S, in_flight=0, polled_ns=0, breathe=breathe)
    assert first is not None
    assert (first.loop_lag_p99_us, first.lateness_p99_us) == (10, 200)
    second = monitor.second(3 * NS_PER_S, in_flight=0, polled_ns=0)
    assert second is not None
    assert second.loop_lag_p99_us >= 99_000
    assert monitor.summary(TCP, resends=0, dropped=0).late >= 1


def test_a_second_without_arrivals_is_all_zero(monitor: HealthMonitor) -> None:
    entry = monitor.second(2 * NS_PER_S, in_flight=0, polled_ns=0)
    assert entry is not None
    assert (entry.lateness_p99_us, entry.loop_lag_p99_us) == (0, 0)


def test_pauses_of_the_collector_are_timed() -> None:
    watch = PauseWatch()
    watch.start()
    try:
        gc.collect()
    finally:
        watch.stop()
    assert 0 < watch.longest_ns <= watch.total_ns
    assert watch.take_recent_ns() == watch.longest_ns
    assert watch.take_recent_ns() == 0
    before = watch.total_ns
    gc.collect()
    assert watch.total_ns == before
