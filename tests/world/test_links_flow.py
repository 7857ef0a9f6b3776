"""The scheduling core of the links: order, delays and slow start, with time as an argument."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loadtest.world.links.flow import (
    FIRST_WINDOW,
    MSS,
    WINDOW_CEILING,
    Flow,
    Mark,
    Window,
)

MS = 1_000_000
DELAY = 50 * MS
RTT = 2 * DELAY

WRITES = st.lists(
    st.tuples(st.integers(1, 60_000), st.integers(0, 400 * MS)), min_size=1, max_size=12
)


def drain(flow: Flow) -> list[tuple[int, bytes | Mark]]:
    out: list[tuple[int, bytes | Mark]] = []
    while (due := flow.due_ns()) is not None:
        assert flow.take(due - 1) is None, "nothing comes before its time"
        piece = flow.take(due)
        assert piece is not None
        out.append((due, piece))
    return out


@settings(max_examples=100, deadline=None)
@given(writes=WRITES, windowed=st.booleans(), floor=st.integers(0, 300 * MS))
def test_every_byte_comes_once_in_order_and_never_early(
    writes: list[tuple[int, int]], windowed: bool, floor: int
) -> None:
    flow = Flow(DELAY, floor_ns=floor, window=Window(RTT) if windowed else None)
    at, sent, arrivals = 0, b"", []
    for number, (size, pause) in enumerate(writes):
        at += pause
        data = bytes([number]) * size
        flow.feed(data, at)
        sent += data
        arrivals += [max(at, floor)] * size
    flow.finish(at)
    assert flow.queued == len(sent)
    *pieces, last = drain(flow)
    assert last[1] is Mark.END
    assert b"".join(piece for _, piece in pieces if isinstance(piece, bytes)) == sent
    assert flow.queued == 0
    position, previous = 0, 0
    for due, piece in pieces:
        assert isinstance(piece, bytes)
        position += len(piece)
        assert due >= previous
        assert due >= arrivals[position - 1] + DELAY
        previous = due
    assert last[0] >= previous


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 100 * MS), min_size=1, max_size=20))
def test_small_messages_are_late_by_the_delay_and_nothing_more(pauses: list[int]) -> None:
    flow = Flow(DELAY, window=Window(RTT))
    at = 0
    for pause in pauses:
        at += pause
        flow.feed(b"x" * 100, at)
        assert drain(flow) == [(at + DELAY, b"x" * 100)]


@pytest.mark.parametrize(
    ("kib", "rounds"), [(1, 1), (14, 1), (15, 2), (42, 2), (44, 3), (98, 3), (100, 4), (1024, 7)]
)
def test_a_large_answer_takes_the_round_trips_of_slow_start(kib: int, rounds: int) -> None:
    flow = Flow(DELAY, window=Window(RTT))
    flow.feed(bytes(kib * 1024), 0)
    dues = [due for due, _ in drain(flow)]
    assert dues == [DELAY + RTT * number for number in range(rounds)]


def test_a_flow_without_a_window_delivers_everything_at_once() -> None:
    flow = Flow(DELAY)
    flow.feed(bytes(1_000_000), 0)
    assert [due for due, _ in drain(flow)] == [DELAY]


def test_the_window_doubles_to_its_ceiling_and_no_further() -> None:
    window = Window(RTT)
    parts = window.departures(40 * WINDOW_CEILING, 0)
    sizes = [size for size, _ in parts]
    assert sizes[:3] == [FIRST_WINDOW, 2 * FIRST_WINDOW, 4 * FIRST_WINDOW]
    assert max(sizes) == sizes[-2] == WINDOW_CEILING


def test_a_window_that_was_not_used_up_does_not_grow() -> None:
    window = Window(RTT)
    for number in range(10):
        window.departures(MSS, number * RTT)
    assert len(window.departures(FIRST_WINDOW + 1, 10 * RTT)) == 2


def test_a_busy_connection_keeps_its_window_and_an_idle_one_starts_over() -> None:
    window = Window(RTT)
    window.departures(15 * 1024, 0)
    assert len(window.departures(20 * MSS, RTT + 200 * MS)) == 1
    assert len(window.departures(20 * MSS, RTT + 401 * MS)) == 2


def test_a_reset_waits_for_the_bytes_before_it_but_for_no_handshake() -> None:
    refused = Flow(DELAY, floor_ns=3 * DELAY)
    refused.abort(DELAY)
    assert drain(refused) == [(RTT, Mark.ABORT)]
    flow = Flow(DELAY, floor_ns=3 * DELAY)
    flow.feed(b"x", 0)
    flow.abort(DELAY)
    assert drain(flow) == [(4 * DELAY, b"x"), (4 * DELAY, Mark.ABORT)]


def test_a_full_flow_is_roomy_again_at_half() -> None:
    flow = Flow(DELAY, capacity=100)
    flow.feed(bytes(60), 0)
    assert not flow.full
    flow.feed(bytes(40), 1)
    assert flow.full
    assert not flow.roomy
    assert flow.take(DELAY) is not None
    assert (flow.full, flow.roomy) == (False, True)


def test_what_the_receiver_had_no_room_for_comes_first_and_at_once() -> None:
    flow = Flow(DELAY)
    flow.feed(b"abc", 0)
    flow.feed(b"def", 5)
    assert flow.take(DELAY) == b"abc"
    flow.put_back(b"c")
    assert (flow.queued, flow.take(DELAY), flow.take(DELAY)) == (4, b"c", None)
    flow.clear()
    assert (flow.queued, flow.due_ns()) == (0, None)
