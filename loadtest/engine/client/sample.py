"""
What one request left behind: its stamps and its outcome, raw.

A sample carries monotonic nanoseconds as they were taken; phases are differences computed when
asked.  The recorder turns a sample into a row of ``records/schema.py``.
"""

from __future__ import annotations

from loadtest.engine.client.server_timing import ServerTiming, parse_region, parse_server_timing
from loadtest.records.kinds import CLOCK_KERNEL, CLOCK_USER
from loadtest.units import NS_PER_MS


class RequestSample:
    """
    One request of one user, successful or not.

    Moments (``start_ns``, ``sent_ns``, ``first_ns``, ``first_user_ns``, ``last_ns``) are
    CLOCK_MONOTONIC nanoseconds, 0 when the moment never came.  Durations (``dns_ns``,
    ``connect_ns``, ``tls_ns``, ``send_ns``) are nanoseconds, 0 when the phase did not happen; a
    phase that failed lasts until its failure.

    Args:
        name: Name of the request in the tables.
        method: HTTP method, upper case.
        start_ns: When the client was called.
        intended_ns: Intended start of the arrival that this request opens; 0 for any later request.
        unexpected: Why its status is no success, for a person; empty when it is one.
        cold: A new connection was asked for, by the plan or by the scenario.
        context: What the schedule player gave to ``TTFBClient.begin``.
    """

    __slots__ = (
        "address",
        "attempts",
        "bytes",
        "cold",
        "connect_ns",
        "connect_rtt_us",
        "context",
        "detail",
        "dns_ns",
        "error",
        "first_ns",
        "first_user_ns",
        "intended_ns",
        "kernel",
        "last_ns",
        "method",
        "name",
        "protocol",
        "region_header",
        "reused",
        "send_ns",
        "sent_ns",
        "start_ns",
        "status",
        "timing_header",
        "tls_ns",
        "unexpected",
    )

    def __init__(
        self, name: str, method: str, start_ns: int, intended_ns: int = 0, context: object = None
    ) -> None:
        self.name = name
        self.method = method
        self.start_ns = start_ns
        self.intended_ns = intended_ns
        self.context = context
        self.dns_ns = 0
        self.connect_ns = 0
        self.tls_ns = 0
        self.send_ns = 0
        self.sent_ns = 0
        self.first_ns = 0
        self.first_user_ns = 0
        self.last_ns = 0
        self.kernel = False
        """Whether ``first_ns`` is the kernel's stamp."""
        self.cold = False
        self.unexpected = ""
        self.status = 0
        self.error = ""
        """Empty, or a kind of ``records.kinds.ERROR_KINDS``."""
        self.detail = ""
        """A sentence about the error, for a person."""
        self.bytes = 0
        self.reused = False
        self.attempts = 1
        self.connect_rtt_us = 0
        """The kernel's own time of the TCP handshake; 0 on a reused connection or where untold."""
        self.protocol = ""
        """``1.1`` or ``2``, once a connection was open; else empty."""
        self.address = ""
        """Address that the connection goes to, without the port."""
        self.region_header = b""
        self.timing_header = b""

    def break_off(self, now_ns: int) -> None:
        """Note that nothing more came, and that no byte did where there was none before."""
        self.last_ns = now_ns
        if not self.first_ns:
            self.first_ns = self.first_user_ns = now_ns

    @property
    def queue_ns(self) -> int:
        """From the intended start to the actual one; 0 where the request opens no arrival."""
        return max(self.start_ns - self.intended_ns, 0) if self.intended_ns else 0

    @property
    def wait_ns(self) -> int:
        """TTFB: from the last request byte handed to the kernel to the first response byte."""
        return _span(self.sent_ns, self.first_ns)

    @property
    def wait_user_ns(self) -> int:
        """The same by user-space stamps; its excess over ``wait_ns`` is the process's delay."""
        return _span(self.sent_ns, self.first_user_ns)

    @property
    def receive_ns(self) -> int:
        """From the first response byte to the last one."""
        return _span(self.first_ns, self.last_ns)

    @property
    def cold_ttfb_ns(self) -> int:
        """DNS, connect, TLS, send and wait: the first byte as a first visitor feels it."""
        return self.dns_ns + self.connect_ns + self.tls_ns + self.send_ns + self.wait_ns

    @property
    def ttfb_ms(self) -> float:
        """``wait_ns`` in milliseconds."""
        return self.wait_ns / NS_PER_MS

    @property
    def clock(self) -> str:
        """``kernel`` or ``user``: what stamped the first byte."""
        return CLOCK_KERNEL if self.kernel else CLOCK_USER

    @property
    def served_by(self) -> str:
        """Region that answered, by its Fly-Region header; empty if it did not say."""
        return parse_region(self.region_header) if self.region_header else ""

    @property
    def server_timing(self) -> ServerTiming:
        """What the app says of its own time; every value unknown if it says nothing."""
        return parse_server_timing(self.timing_header)


def _span(start_ns: int, end_ns: int) -> int:
    """Return end - start, where both moments came; 0 where two CPUs disagree by a hair."""
    return end_ns - start_ns if start_ns and end_ns > start_ns else 0
