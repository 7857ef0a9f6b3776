"""The kernel's timer: fires at its moment, is quiet when told, and is freed."""

from __future__ import annotations

import os
import select
import sys
import time

import pytest

from loadtest.kernel.timerfd import TimerFd, open_timerfd

pytestmark = [
    pytest.mark.contract,
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="timerfd is Linux's"),
]


@pytest.fixture
def timer() -> object:
    made = open_timerfd()
    assert made is not None
    yield made
    made.close()
    made.close()


def readable(timer: TimerFd, within_s: float) -> bool:
    return bool(select.select([timer.fd], [], [], within_s)[0])


def test_it_fires_at_its_moment_and_not_before(timer: TimerFd) -> None:
    at_ns = time.monotonic_ns() + 5_000_000
    timer.arm(at_ns)
    assert readable(timer, 5.0)
    assert time.monotonic_ns() >= at_ns


def test_a_moment_that_has_passed_fires_at_once(timer: TimerFd) -> None:
    timer.arm(1)
    assert readable(timer, 5.0)
    assert timer.clear()
    assert not timer.clear()


def test_zero_disarms_and_a_new_moment_replaces_the_old(timer: TimerFd) -> None:
    timer.arm(1)
    timer.arm(0)
    assert not readable(timer, 0.0)
    timer.arm(time.monotonic_ns() + 3_600_000_000_000)
    assert not timer.clear()


def test_its_descriptor_is_not_inherited(timer: TimerFd) -> None:
    assert not os.get_inheritable(timer.fd)
