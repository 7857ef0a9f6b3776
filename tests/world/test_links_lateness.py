"""Lateness in buckets: percentiles to within 9 %, whatever is merged in whatever order."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from loadtest.world.links.lateness import Lateness


def filled(values: list[int]) -> Lateness:
    late = Lateness()
    for value in values:
        late.add(value)
    return late


@settings(max_examples=50)
@given(st.lists(st.integers(-1_000, 10**10), min_size=1, max_size=60), st.integers(1, 100))
def test_a_percentile_is_that_of_the_values_to_within_a_bucket(values: list[int], p: int) -> None:
    true_ns = sorted(values)[-(-p * len(values) // 100) - 1]
    told_ns = filled(values).percentile_us(p) * 1_000
    assert told_ns <= max(*values, 0) * 1.001
    if true_ns > 1_000:
        assert true_ns / 1.1 <= told_ns <= true_ns * 1.1
    else:
        assert told_ns <= 1_000


@settings(max_examples=30)
@given(st.lists(st.integers(0, 10**10)), st.lists(st.integers(0, 10**10)))
def test_what_is_drained_and_merged_is_what_was_added(one: list[int], two: list[int]) -> None:
    late, parts = Lateness(), filled(one)
    late.merge(parts.drain())
    assert (parts.n, parts.max_ns) == (0, 0)
    late.merge(filled(two).drain())
    both = filled(one + two)
    assert (late.n, late.max_ns) == (both.n, both.max_ns)
    assert [late.percentile_us(p) for p in (50, 99)] == [both.percentile_us(p) for p in (50, 99)]
