"""The waiters: sockets and a deadline, on every kind of system; and the clock of arrivals."""

from __future__ import annotations

import socket
import struct
import sys
import time
from collections.abc import Callable

import pytest

from loadtest.world.links.wait import (
    READ,
    WRITE,
    SelectorWaiter,
    SocketWaiter,
    StampClock,
    new_waiter,
)

pytestmark = pytest.mark.contract

KINDS: list[Callable[[], SocketWaiter]] = [SelectorWaiter]
if sys.platform == "linux":
    KINDS.append(new_waiter)  # epoll and a timer of the kernel

NS_PER_S = 1_000_000_000


@pytest.fixture(params=KINDS)
def waiter(request: pytest.FixtureRequest) -> object:
    made = request.param()
    yield made
    made.close()


def test_a_deadline_ends_the_wait_and_not_before_its_time(waiter: SocketWaiter) -> None:
    for _ in range(3):
        deadline = time.monotonic_ns() + 2_000_000
        assert waiter.wait(deadline) == []
        # a selector may round its time-out down by a little
        assert time.monotonic_ns() >= deadline - 1_000_000
    assert waiter.wait(time.monotonic_ns() - 1) == []


def test_sockets_are_reported_as_they_are_watched(waiter: SocketWaiter) -> None:
    here, there = socket.socketpair()
    with here, there:
        fd = here.fileno()
        soon = time.monotonic_ns() + NS_PER_S
        waiter.watch(fd, READ | WRITE)
        assert waiter.wait(soon) == [(fd, WRITE)]
        there.send(b"x")
        assert waiter.wait(soon) == [(fd, READ | WRITE)]
        waiter.watch(fd, READ)
        assert waiter.wait(None) == [(fd, READ)]
        waiter.watch(fd, 0)
        waiter.watch(fd, 0)
        assert waiter.wait(time.monotonic_ns() + 1_000_000) == []


def test_a_new_deadline_replaces_the_old_one(waiter: SocketWaiter) -> None:
    here, there = socket.socketpair()
    with here, there:
        waiter.watch(here.fileno(), READ)
        there.send(b"x")
        assert waiter.wait(time.monotonic_ns() + 60 * NS_PER_S) == [(here.fileno(), READ)]
        waiter.watch(here.fileno(), 0)
        assert waiter.wait(time.monotonic_ns() + 1_000_000) == []
        waiter.watch(here.fileno(), READ)
        assert waiter.wait(None) == [(here.fileno(), READ)]


def test_a_stamp_is_believed_only_where_it_can_be_true() -> None:
    clock = StampClock()
    try:
        now = time.monotonic_ns()
        clock.resample(now)
        offset = time.time_ns() - time.monotonic_ns()

        def stamped(at_ns: int) -> list[tuple[int, int, bytes]]:
            seconds, rest = divmod(at_ns + offset, NS_PER_S)
            return [(socket.SOL_SOCKET, 35, struct.pack("@ll", seconds, rest))]

        assert clock.arrival_ns([], now) == now
        assert clock.arrival_ns(stamped(now + NS_PER_S), now) == now
        assert clock.arrival_ns(stamped(now - 2 * NS_PER_S), now) == now
        assert clock.arrival_ns([(socket.SOL_SOCKET, 35, b"short")], now) == now
        earlier = clock.arrival_ns(stamped(now - NS_PER_S // 2), now)
        assert now - NS_PER_S < earlier < now
    finally:
        clock.close()
