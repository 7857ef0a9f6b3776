"""The kernel's stamps and the offset between the clocks."""

from __future__ import annotations

import random
import socket
import struct
import time

import pytest

from loadtest.kernel.stamps import (
    ANCILLARY_BYTES,
    RealtimeOffset,
    StampKeeper,
    enable_receive_stamps,
    receive_stamp_ns,
    tcp_info,
)

BASE = 1_800_000_000_000_000_000


class Clocks:
    """Two clocks that tick by a given time at every reading."""

    def __init__(self, tick_ns: int = 100) -> None:
        self.mono, self.offset, self.tick_ns = 1_000_000_000, BASE, tick_ns

    def monotonic_ns(self) -> int:
        self.mono += self.tick_ns
        return self.mono

    def wall_ns(self) -> int:
        self.mono += self.tick_ns
        return self.mono + self.offset


def test_the_offset_is_as_good_as_the_tightest_reading() -> None:
    """A later, looser reading does not replace a better one."""
    clocks = Clocks(tick_ns=100)
    offset = RealtimeOffset(clocks.monotonic_ns, clocks.wall_ns)
    assert abs(offset.offset_ns - BASE) <= 100
    first = offset.offset_ns
    clocks.tick_ns = 5_000
    assert not offset.refresh()
    assert offset.offset_ns == first
    clocks.tick_ns = 20
    assert not offset.refresh()
    assert abs(offset.offset_ns - BASE) <= 20


@pytest.mark.parametrize("step_ns", [1_000_000, -1_000_000, 3_600_000_000_000, 100_000])
def test_a_set_clock_is_noticed_once(step_ns: int) -> None:
    """The new offset is taken over, and the moment of the step is there to distrust stamps by."""
    clocks = Clocks()
    offset = RealtimeOffset(clocks.monotonic_ns, clocks.wall_ns)
    clocks.offset += step_ns
    before = clocks.mono
    assert offset.refresh()
    assert offset.stepped_ns >= before
    assert abs(offset.offset_ns - BASE - step_ns) <= 100
    assert not offset.refresh()
    assert offset.steps == 1


def test_an_interrupted_reading_is_no_step() -> None:
    """A reading that took a millisecond says nothing about the clock."""
    clocks = Clocks()
    offset = RealtimeOffset(clocks.monotonic_ns, clocks.wall_ns)
    clocks.tick_ns = 1_000_000
    assert not offset.refresh()
    assert offset.steps == 0


def test_small_disagreements_are_noise() -> None:
    """Random widths below the margin never count as a step."""
    clocks = Clocks()
    offset = RealtimeOffset(clocks.monotonic_ns, clocks.wall_ns)
    rng = random.Random(1)
    for _ in range(500):
        clocks.tick_ns = rng.randrange(20, 10_000)
        assert not offset.refresh()


def test_a_stamp_is_found_among_control_messages() -> None:
    """Both kinds of message begin with the software stamp; others are passed over."""
    stamp = struct.pack("@ll", 12, 34)
    assert receive_stamp_ns([]) == 0
    assert receive_stamp_ns([(0, 8, b"\0" * 8)]) == 0
    assert receive_stamp_ns([(socket.SOL_SOCKET, 35, stamp)]) == 12_000_000_034
    assert receive_stamp_ns([(0, 8, b""), (socket.SOL_SOCKET, 37, stamp * 3)]) == 12_000_000_034


class Stubborn:
    def setsockopt(self, *_: int) -> None:
        raise OSError("not here")

    def getsockopt(self, *_: int) -> bytes:
        raise OSError("not here")


def test_a_platform_without_stamps_says_so() -> None:
    """The fallback is user space, by name."""
    assert not enable_receive_stamps(Stubborn())
    assert tcp_info(Stubborn()) is None


@pytest.mark.contract
def test_the_kernel_stamps_before_we_read() -> None:
    """Late reading moves the user-space stamp, not the kernel's."""
    keeper = StampKeeper()
    if not keeper.active:
        pytest.skip("no kernel stamps on this platform")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        sender = socket.create_connection(listener.getsockname())
        receiver, _ = listener.accept()
    offset = RealtimeOffset()
    with sender, receiver:
        assert enable_receive_stamps(receiver)
        before = time.monotonic_ns()
        sender.sendall(b"x")
        receiver.recv(1, socket.MSG_PEEK)
        after = time.monotonic_ns()
        while time.monotonic_ns() < after + 3_000_000:
            pass
        _, ancillary, _, _ = receiver.recvmsg(10, ANCILLARY_BYTES)
        stamp = receive_stamp_ns(ancillary) - offset.offset_ns
        assert before - 20_000 <= stamp <= after + 20_000
        info = tcp_info(sender)
        assert info is not None
        assert 0 < info.rtt_us < 1_000_000
        assert info.retransmits == 0
        assert info.segments_sent >= 2
    keeper.close()
    keeper.close()
    assert not keeper.active
