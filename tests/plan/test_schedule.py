"""The schedule: balanced, exact, the same for a seed, and shared without remainder."""

from __future__ import annotations

import itertools
from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loadtest.plan.apps import Deployment
from loadtest.plan.model import Load, Plan
from loadtest.plan.schedule import (
    SEGMENT_STRIDE,
    STEADY,
    WARM_UP,
    RegionSchedule,
    digest_schedules,
)
from loadtest.units import NS_PER_S


def make_plan(arms: int = 3, seed: int = 7, **load: Any) -> Plan:
    names = ("single", "multi", "replica", "four", "five", "six", "seven")[:arms]
    return Plan(
        regions=("cdg", "syd"),
        primary_region="cdg",
        seed=seed,
        deployments=tuple(Deployment(name=name) for name in names),
        load=Load(**load),
    )


def schedule(region: str = "cdg", segment: int = 0, first_block: int = 0, **load: Any) -> Any:
    arms, seed = load.pop("arms", 3), load.pop("seed", 7)
    return RegionSchedule(make_plan(arms, seed, **load), region, segment, first_block)


def rows_of(chunks: Any) -> list[tuple[Any, ...]]:
    return [
        (chunk.stage, chunk.block, number, due, arm, cold)
        for chunk in chunks
        for number, due, arm, cold in zip(
            chunk.arrivals, chunk.due_ns, chunk.arms, chunk.cold, strict=True
        )
    ]


LOADS = st.fixed_dictionaries(
    {
        "rate": st.sampled_from([0.3, 1.0, 2.5, 7.0, 33.3, 250.0]),
        "duration_s": st.sampled_from([0.7, 3.0, 10.0, 12.5]),
        "warmup_s": st.sampled_from([0.0, 1.0, 2.5]),
        "block_s": st.sampled_from([0.25, 1.0, 2.0, 7.0]),
        "arrivals": st.sampled_from(["constant", "poisson"]),
        "new_connections": st.sampled_from([0.0, 0.1, 0.5, 1.0]),
        "arms": st.integers(1, 7),
        "seed": st.integers(0, 2**40),
    }
)


@settings(max_examples=60, deadline=None)
@given(LOADS)
def test_every_block_gives_each_arm_the_same_number(load: dict[str, Any]) -> None:
    """Arms see the same weather, cold arrivals included, and time only moves on."""
    arms = load["arms"]
    plan = schedule(**load)
    rows = rows_of(plan.chunks())

    assert [row[2] for row in rows] == list(range(len(rows)))
    dues = [row[3] for row in rows]
    assert dues == sorted(dues)
    assert all(0 <= due < plan.total_ns for due in dues)
    for what in (lambda row: row[1], lambda row: (row[1], row[5])):
        counts = Counter((what(row), row[4]) for row in rows)
        for key in {what(row) for row in rows}:
            assert len({counts[(key, arm)] for arm in range(arms)}) == 1
    assert all((row[0] == WARM_UP) == (row[3] < plan.warmup_ns) for row in rows)
    assert all(row[1] == plan.block_at(row[3]) for row in rows)


@settings(max_examples=40, deadline=None)
@given(LOADS, st.integers(1, 5))
def test_the_shares_of_the_workers_are_the_whole(load: dict[str, Any], workers: int) -> None:
    """Nothing is left over, nothing is played twice, and each share's size is known beforehand."""
    plan = schedule(**load)
    whole = rows_of(plan.chunks())
    shares = [rows_of(plan.chunks(worker, workers)) for worker in range(workers)]
    per_arm = digest_schedules([plan]).per_arm["cdg"]

    assert sorted(row for share in shares for row in share) == sorted(whole)
    for worker, share in enumerate(shares):
        assert len(share) == plan.share_of(per_arm, worker, workers)
        for arm in range(load["arms"]):
            mine = sum(row[4] == arm for row in share)
            assert abs(mine - per_arm / workers) < 1


@pytest.mark.parametrize(
    ("rate", "duration_s", "expected"),
    [(0.1, 30.0, 3), (0.7, 10.0, 7), (5.0, 30.0, 150), (33.3, 10.0, 333), (0.3, 1.0, 0)],
)
def test_constant_arrivals_add_up_to_rate_times_duration(
    rate: float, duration_s: float, expected: int
) -> None:
    """Fractions are carried from block to block; a tenth is a tenth, not its nearest float."""
    plan = schedule(rate=rate, duration_s=duration_s, warmup_s=0, block_s=0.7)
    assert digest_schedules([plan]).per_arm == {"cdg": expected}


def test_constant_arrivals_are_evenly_spaced() -> None:
    """With whole arrivals per block, gaps differ by rounding alone."""
    dues = [row[3] for row in rows_of(schedule(rate=10, duration_s=6, warmup_s=0).chunks())]
    gaps = [b - a for a, b in itertools.pairwise(dues)]
    assert max(gaps) - min(gaps) <= 2
    assert abs(gaps[0] - NS_PER_S / 30) < 2


def test_poisson_arrivals_have_the_variance_of_a_poisson_process() -> None:
    """Counts of one arm in equal stretches: variance over mean is near 1, and 0 if constant."""
    plan = schedule(rate=200, duration_s=100, warmup_s=0, arrivals="poisson", block_s=1.0)
    counts = Counter(row[3] // (NS_PER_S // 2) for row in rows_of(plan.chunks()) if row[4] == 0)
    values = [counts[index] for index in range(200)]
    mean = sum(values) / len(values)
    variance = sum((value - mean) ** 2 for value in values) / len(values)
    assert abs(mean - 100) < 4
    assert 0.7 < variance / mean < 1.4


def test_the_seed_decides_and_nothing_else() -> None:
    """Same seed, same schedule, on every platform and every Python: the hash is a constant."""
    load: dict[str, Any] = {
        "rate": 20,
        "duration_s": 6,
        "warmup_s": 2,
        "block_s": 2,
        "new_connections": 0.1,
    }
    both = [schedule(region, **load) for region in ("cdg", "syd")]
    digest = digest_schedules(both)

    assert digest == digest_schedules(both)
    assert digest.arrivals == 2 * 3 * 20 * 8
    assert digest.fingerprint == (
        "fc7b27edcca91adf78900c89193a66f222373e124a57f13b0fb0bbf1ec895b66"
    )
    other = [schedule(region, seed=8, **load) for region in ("cdg", "syd")]
    assert digest_schedules(other).fingerprint != digest.fingerprint
    poisson = [schedule(region, arrivals="poisson", **load) for region in ("cdg", "syd")]
    assert digest_schedules(poisson).fingerprint == (
        "b425af45eea5a7891c19c639f98a88da19c3fb77adc51c065792e00fc80b467b"
    )


def test_regions_do_not_fire_at_the_same_moments() -> None:
    """Each region has its own phase and order, so a shared database sees no synchronous bursts."""
    first, second = (rows_of(schedule(region).chunks()) for region in ("cdg", "syd"))
    assert not {row[3] for row in first} & {row[3] for row in second}
    assert [row[4] for row in first] != [row[4] for row in second]


def test_a_later_segment_counts_on_and_has_no_warm_up() -> None:
    """Blocks and arrivals are unique within a run."""
    first = schedule(rate=5, duration_s=4, warmup_s=2, block_s=2)
    second = schedule(
        segment=1, first_block=first.blocks, rate=5, duration_s=4, warmup_s=2, block_s=2
    )
    rows = rows_of(second.chunks())

    assert first.blocks == 3
    assert {row[0] for row in rows} == {STEADY}
    assert {row[1] for row in rows} == {3, 4}
    assert rows[0][2] == SEGMENT_STRIDE
    assert second.warmup_ns == 0


def test_ramps_and_steps_follow_the_profile() -> None:
    """Half of a ramp from 0 falls into the last 29 % of its time; a step doubles the density."""
    stages = (
        {"duration_s": 10, "from_rate": 0, "to_rate": 100},
        {"duration_s": 5, "from_rate": 100, "to_rate": 100},
        {"duration_s": 5, "from_rate": 50, "to_rate": 0},
    )
    plan = schedule(stages=stages, warmup_s=1, block_s=1, arms=2)
    dues = [row[3] / NS_PER_S - 1 for row in rows_of(plan.chunks()) if row[0] == STEADY]

    assert len(dues) == 2 * (500 + 500 + 125)
    assert abs(sum(due < 10 / 2**0.5 for due in dues) - 500) <= 4
    assert sum(10 <= due < 15 for due in dues) == 1000
    assert plan.total_ns == 21 * NS_PER_S


def test_many_arms_are_shuffled_in_every_round() -> None:
    """Six arms and more have too many orders to list; each round still holds each arm once."""
    arms = [row[4] for row in rows_of(schedule(arms=7, rate=10, warmup_s=0).chunks())]
    rounds = {bytes(arms[at : at + 7]) for at in range(0, len(arms), 7)}
    assert all(sorted(order) == list(range(7)) for order in rounds)
    assert len(rounds) > 100


def test_a_region_that_measures_nothing_has_no_arrivals() -> None:
    plan = Plan(
        regions=("cdg", "syd"),
        primary_region="cdg",
        deployments=(Deployment(name="single", measured_from=("cdg",)),),
    )
    assert list(RegionSchedule(plan, "syd").chunks()) == []


def test_the_closed_model_has_blocks_but_no_arrivals_of_its_own() -> None:
    plan = schedule(model="closed", duration_s=4, warmup_s=1, block_s=2)
    assert list(plan.chunks()) == []
    assert plan.block_at(0) == 0
    assert plan.block_at(int(4.9 * NS_PER_S)) == 2
    assert plan.block_at(int(9.9 * NS_PER_S)) == 2


def test_a_worker_out_of_range_is_refused() -> None:
    with pytest.raises(ValueError, match="allowed is 0 to 1"):
        list(schedule().chunks(2, 2))
