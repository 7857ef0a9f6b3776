"""Bad roads, time as an argument: what a loss, a late segment or a bottleneck costs a stream."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loadtest.faults import Jitter, RoadCondition
from loadtest.world.links.flow import FIRST_WINDOW, MSS, Flow, Mark, Window
from loadtest.world.links.road import SYN_TIMEOUT_NS, Road, next_try_ns

MS = 1_000_000
DELAY = 50 * MS
RTT = 2 * DELAY
LONE_LOSS = RTT + 200 * MS


def road(seed: str = "1", **condition: object) -> Road:
    made = Road()
    made.sow(seed)
    made.set(RoadCondition(**condition))  # type: ignore[arg-type]
    return made


def extras(made: Road, pieces: int, size: int = 100) -> Counter[int]:
    return Counter(made.arrivals(size, n * MS, RTT, None)[-1][1] for n in range(pieces))


def test_a_road_in_order_does_nothing() -> None:
    assert Road().healthy
    assert not road(loss=0.01).healthy
    healed = road(loss=0.01)
    healed.set(RoadCondition())
    assert healed.healthy


def test_a_lone_segment_that_is_lost_costs_a_time_out_and_twice_lost_three() -> None:
    found = extras(road(loss=0.1), 20_000)
    assert found[0] / 20_000 == pytest.approx(0.9, abs=0.01)
    assert found[LONE_LOSS] / 20_000 == pytest.approx(0.09, abs=0.01)
    assert found[2 * LONE_LOSS] / 20_000 == pytest.approx(0.009, abs=0.003)
    assert found[4 * LONE_LOSS] > 0  # the time-out doubles each time


def test_a_loss_with_three_segments_behind_it_costs_one_round_trip() -> None:
    """The first of ten segments: the others wait for it, and come with it."""
    made = road("4", loss=0.02)
    firsts = [made.arrivals(10 * MSS, n * MS, RTT, None) for n in range(300)]
    alone = [parts for parts in firsts if parts[0] == (MSS, RTT) and len(parts) == 2]
    assert alone
    assert alone[0][1] == (9 * MSS, 0)  # the flow keeps the order: they are delivered behind it


def test_a_loss_at_the_end_of_a_piece_waits_for_the_probe() -> None:
    made = road("2", loss=0.02)
    last = Counter(made.arrivals(3 * MSS, n * MS, RTT, None)[-1] for n in range(2_000))
    assert last[MSS, 2 * RTT] > 10  # two round trips: the probe is the last segment itself


def test_the_same_seed_draws_the_same() -> None:
    one, two, other = (
        [road(seed, loss=0.3, jitter_ns=MS).arrivals(MSS, n, RTT, None) for n in range(50)]
        for seed in ("7", "7", "8")
    )
    assert one == two != other


@pytest.mark.parametrize("jitter", ["gamma", "uniform", "pareto"])
def test_jitter_has_its_mean_and_is_never_early(jitter: Jitter) -> None:
    made = road(jitter_ns=5 * MS, jitter=jitter)
    drawn = [made.arrivals(100, n, RTT, None)[0][1] for n in range(20_000)]
    assert min(drawn) >= 0
    assert sum(drawn) / len(drawn) == pytest.approx(5 * MS, rel=0.05)


def test_a_late_segment_holds_back_what_follows() -> None:
    found = extras(road(reorder=0.2, reorder_ns=7 * MS), 5_000)
    assert set(found) == {0, 7 * MS}
    assert found[7 * MS] / 5_000 == pytest.approx(0.2, abs=0.02)


def test_a_bottleneck_sends_at_its_rate_and_drops_what_finds_no_room() -> None:
    made = road(bits_per_s=8e6, queue_bytes=20 * MSS)  # a byte a microsecond
    parts = made.arrivals(10 * MSS, 0, RTT, None)
    assert [extra for _, extra in parts] == [(n + 1) * MSS * 1_000 for n in range(10)]
    overfull = made.arrivals(40 * MSS, 0, RTT, None)
    assert max(extra for _, extra in overfull) > RTT  # lost, and repeated
    assert made.arrivals(100, 10**10, RTT, None)[0][1] == MSS * 1_000  # drained by then


def test_a_handshake_that_is_lost_is_tried_again_after_a_second() -> None:
    made = road(loss=0.2)
    found = Counter(made.handshake_ns() for _ in range(2_000))
    assert set(found) >= {0, SYN_TIMEOUT_NS, 3 * SYN_TIMEOUT_NS}
    assert found[SYN_TIMEOUT_NS] / 2_000 == pytest.approx(0.16, abs=0.03)


def test_senders_notice_that_a_road_healed_with_their_next_try() -> None:
    ladder = [0, 300 * MS, 900 * MS, 2_100 * MS]
    assert [next_try_ns(0, at, RTT) for at in (0, 1, 301 * MS, 901 * MS)] == ladder


@settings(max_examples=30, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 80_000), min_size=1, max_size=8),
    condition=st.builds(
        RoadCondition,
        loss=st.floats(0, 0.5),
        reorder=st.floats(0, 0.5),
        jitter_ns=st.integers(0, 20 * MS),
        delay_ns=st.integers(0, 20 * MS),
        bits_per_s=st.sampled_from([0.0, 1e6, 1e8]),
    ),
)
def test_every_byte_arrives_once_in_order_and_never_early(
    sizes: list[int], condition: RoadCondition
) -> None:
    made = Road()
    made.set(condition)
    flow = Flow(DELAY, window=Window(RTT), road=made)
    sent = b""
    for number, size in enumerate(sizes):
        data = bytes([number]) * size
        flow.feed(data, number * MS)
        sent += data
    flow.finish(len(sizes) * MS)
    came, last = b"", 0
    while (due := flow.due_ns()) is not None:
        assert due >= max(DELAY, last)
        last, piece = due, flow.take(due)
        came += piece if isinstance(piece, bytes) else b""
    assert came == sent
    assert piece is Mark.END


def test_a_window_is_halved_by_a_loss_and_grows_by_a_segment_after() -> None:
    window = Window(RTT)
    window.departures(FIRST_WINDOW, 0)
    window.shrink(timed_out=False)
    parts = window.departures(100 * MSS, RTT)
    assert [size // MSS for size, _ in parts[:4]] == [5, 6, 7, 8]


def test_a_time_out_begins_with_one_segment_and_doubles_to_half_of_what_was() -> None:
    window = Window(RTT)
    window.departures(FIRST_WINDOW, 0)
    window.shrink(timed_out=True)
    parts = window.departures(100 * MSS, RTT)
    assert [size // MSS for size, _ in parts[:6]] == [1, 2, 4, 5, 6, 7]
