"""Turns are spread evenly, whatever the share, and beside whatever comes in a rhythm."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from loadtest.turns import Turns


@given(share=st.floats(0, 1), count=st.integers(1, 3_000))
def test_of_many_in_a_row_a_share_has_turns(share: float, count: int) -> None:
    turns = Turns()
    taken = sum(turns.take(share) for _ in range(count))
    assert abs(taken - share * count) < 3


def test_never_and_always_are_exact() -> None:
    turns = Turns()
    assert not any(turns.take(0.0) for _ in range(1_000))
    assert all(turns.take(1.0) for _ in range(1_000))


@given(share=st.floats(0.05, 0.95), period=st.integers(2, 12))
def test_every_page_of_a_round_gets_its_share(share: float, period: int) -> None:
    """A scenario that asks its pages in turn must not meet new connections on one of them alone."""
    turns = Turns()
    taken = [turns.take(share) for _ in range(period * 400)]
    for page in range(period):
        mine = taken[page::period]
        assert abs(sum(mine) / len(mine) - share) < 0.05
