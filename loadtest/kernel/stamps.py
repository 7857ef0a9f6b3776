"""
Time stamps that the kernel takes: when a packet arrived, not when the process got to look at it.

A busy generator reads its sockets late.  A stamp taken in user space then contains the generator's
own delay; the kernel's receive stamp does not.  The stamps are on CLOCK_REALTIME and are moved to
CLOCK_MONOTONIC here, so that every stamp of a request lives on one clock.

Source: Linux Documentation/networking/timestamping.rst; struct tcp_info in linux/tcp.h.
"""

from __future__ import annotations

import socket
import struct
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

_NS_PER_US = 1_000
_NS_PER_S = 1_000_000_000

_SO_TIMESTAMPNS = 35  # asm-generic/socket.h; not in Python's socket module before 3.15
_SO_TIMESTAMPING = 37
_RX_SOFTWARE = 1 << 3  # SOF_TIMESTAMPING_RX_SOFTWARE: take the stamp
_SOFTWARE = 1 << 4  # SOF_TIMESTAMPING_SOFTWARE: hand it out
_TIMESPEC = struct.Struct("@ll")
_TCP_INFO_RTT_OFFSET = 68
_TCP_INFO_TOTAL_RETRANS_OFFSET = 100
_TCP_INFO_SEGS_OUT_OFFSET = 136
_TCP_INFO_BYTES = 144
_READS_PER_SAMPLE = 8
_FIRST_SAMPLES = 10  # the first offset has nothing to be checked against
_WIDEST_USEFUL_NS = 50 * _NS_PER_US  # a read pair further apart was interrupted: it says nothing
_STEP_MARGIN_NS = 20 * _NS_PER_US  # a smaller step than this bends no published number

ANCILLARY_BYTES = 64 + 16
"""Room for one control message of three time stamps (CMSG_SPACE(48) and some slack)."""

_LINUX = sys.platform.startswith("linux")


class SocketLike(Protocol):
    """The part of a socket that options are set on and read from."""

    def setsockopt(self, level: int, optname: int, value: int, /) -> None:
        """Set an integer option."""
        ...

    def getsockopt(self, level: int, optname: int, buflen: int, /) -> bytes:
        """Return an option as bytes."""
        ...


def enable_receive_stamps(sock: SocketLike) -> bool:
    """
    Ask the kernel to stamp what this socket receives.

    Returns:
        False where the platform has no such stamps; the caller stamps in user space and says so.
    """
    if not _LINUX:
        return False
    for option, value in ((_SO_TIMESTAMPING, _RX_SOFTWARE | _SOFTWARE), (_SO_TIMESTAMPNS, 1)):
        try:
            sock.setsockopt(socket.SOL_SOCKET, option, value)
        except OSError:
            continue
        return True
    return False


def receive_stamp_ns(ancillary: Sequence[tuple[int, int, bytes]]) -> int:
    """
    Return the software receive stamp among control messages, CLOCK_REALTIME nanoseconds; 0 if none.

    Both options put the software stamp first, so the first timespec is the one in either case.
    """
    for level, kind, data in ancillary:
        known = level == socket.SOL_SOCKET and kind in (_SO_TIMESTAMPING, _SO_TIMESTAMPNS)
        if known and len(data) >= _TIMESPEC.size:
            seconds, nanoseconds = _TIMESPEC.unpack_from(data)
            stamp_ns: int = seconds * _NS_PER_S + nanoseconds
            return stamp_ns
    return 0


class StampKeeper:
    """
    A socket that does nothing but keep stamping switched on in the kernel.

    The kernel patches its stamping code in when the first socket asks for it, and does so lazily:
    without a standing user the first packets of a new connection carry no stamp.
    """

    def __init__(self) -> None:
        self._socket: socket.socket | None = None
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        if enable_receive_stamps(sock):
            self._socket = sock
        else:
            sock.close()

    @property
    def active(self) -> bool:
        """Whether this platform stamps at all."""
        return self._socket is not None

    def close(self) -> None:
        """Let go of the socket."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None


class RealtimeOffset:
    """
    CLOCK_REALTIME minus CLOCK_MONOTONIC, and whether somebody set the clock.

    Both clocks are slewed alike, so between two steps the offset is constant and the tightest
    reading ever made is the best.  A new reading that contradicts it is a step: requests in flight
    over ``stepped_ns`` cannot use their kernel stamps.

    Args:
        monotonic_ns: Reads CLOCK_MONOTONIC.
        wall_ns: Reads CLOCK_REALTIME.
    """

    def __init__(
        self,
        monotonic_ns: Callable[[], int] = time.monotonic_ns,
        wall_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._monotonic_ns = monotonic_ns
        self._wall_ns = wall_ns
        self.stepped_ns = 0
        """Monotonic moment of the latest step noticed; 0 when there was none."""
        self.steps = 0
        self._width_ns, self.offset_ns = min(self._read() for _ in range(_FIRST_SAMPLES))

    def _read(self) -> tuple[int, int]:
        best_width, best_offset = sys.maxsize, 0
        for _ in range(_READS_PER_SAMPLE):
            before = self._monotonic_ns()
            wall = self._wall_ns()
            after = self._monotonic_ns()
            if after - before < best_width:
                best_width, best_offset = after - before, wall - (before + after) // 2
        return best_width, best_offset

    def refresh(self) -> bool:
        """
        Read the offset again; keep the tighter reading.

        Returns:
            True when the clock was stepped since the last call.
        """
        width, offset = self._read()
        if width > _WIDEST_USEFUL_NS:
            return False
        if abs(offset - self.offset_ns) > _STEP_MARGIN_NS + (width + self._width_ns) // 2:
            self.stepped_ns = self._monotonic_ns()
            self.steps += 1
            self._width_ns, self.offset_ns = width, offset
            return True
        if width < self._width_ns:
            self._width_ns, self.offset_ns = width, offset
        return False


@dataclass(frozen=True, slots=True)
class TcpInfo:
    """What the kernel knows of a connection."""

    rtt_us: int
    """Smoothed round-trip time; right after connecting it is the time of the handshake alone."""
    retransmits: int
    """Segments sent again over the connection's life."""
    segments_sent: int


def tcp_info(sock: SocketLike) -> TcpInfo | None:
    """Return the kernel's view of a TCP connection, or None where it does not tell."""
    if not _LINUX:
        return None
    try:
        raw = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO_BYTES)
    except OSError:
        return None
    if len(raw) < _TCP_INFO_BYTES:
        return None
    return TcpInfo(
        rtt_us=int.from_bytes(raw[_TCP_INFO_RTT_OFFSET:][:4], sys.byteorder),
        retransmits=int.from_bytes(raw[_TCP_INFO_TOTAL_RETRANS_OFFSET:][:4], sys.byteorder),
        segments_sent=int.from_bytes(raw[_TCP_INFO_SEGS_OUT_OFFSET:][:4], sys.byteorder),
    )
