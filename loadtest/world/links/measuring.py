"""Round trips of pairs of regions, measured through real links from outside of the relay."""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from loadtest.errors import WorldError
from loadtest.units import NS_PER_MS, NS_PER_S
from loadtest.world.links.address import LinkAddress
from loadtest.world.links.children import end, read_line, spawn
from loadtest.world.links.control import LinkControl
from loadtest.world.links.probe import RIDE

_ANSWER_TIMEOUT_S = 10.0
_CONNECTIONS = 256
_PROBE = "loadtest.world.links.probe"

Pair = tuple[str, str, int]
"""Calling region, answering region, one-way time in nanoseconds."""

Ping = tuple[int, int, int]
"""Number of the pair, when it was sent (CLOCK_MONOTONIC), round trip; nanoseconds, or MISSING."""


@dataclass(frozen=True, slots=True)
class LinkMeasure:
    """
    The round trip of one pair of regions, as measured through a real link.

    Args:
        source: Region that calls.
        target: Region that answers.
        configured_rtt_ms: What the link was told.
        measured_rtt_p50_ms: Median, nearest rank; NaN when no ping came back.
        measured_rtt_p95_ms: 95th percentile, nearest rank.
        n: Pings that came back.
    """

    source: str
    target: str
    configured_rtt_ms: float
    measured_rtt_p50_ms: float
    measured_rtt_p95_ms: float
    n: int

    def within(self, tolerance_ms: float, tolerance_share: float) -> bool:
        """Tell whether the median is off by no more than the larger of both tolerances."""
        allowed = max(tolerance_ms, tolerance_share * self.configured_rtt_ms)
        return self.n > 0 and abs(self.measured_rtt_p50_ms - self.configured_rtt_ms) <= allowed


async def measure(control: LinkControl, pairs: Sequence[Pair], pings: int) -> list[LinkMeasure]:
    """
    Measure the round trip of every pair through a link of its own, opened for this.

    Pairs are measured side by side, and a pair over several connections, so that a world of many
    round trips is measured in a few of them.

    Args:
        control: The links process.
        pairs: What to measure.
        pings: Round trips to count per pair at least, after those that open its connections.

    Returns:
        One measure per pair, in order.

    Raises:
        WorldError: The probe or the links process has ended, or does not answer.
    """
    probe = await spawn(_PROBE)
    opened: list[str] = []
    try:
        ports = await _open(control, probe, pairs, opened, rides=False)
        connections = max(1, min(pings, _CONNECTIONS // max(1, len(pairs))))
        each = math.ceil(pings / connections)
        slowest_s = max((2 * one_way for _, _, one_way in pairs), default=0) / NS_PER_S
        timeout_s = 2.0 + 1.5 * max(slowest_s, 0.03) * (each + 2)
        _write(probe, {"ports": ports * connections, "pings": each, "timeout_s": timeout_s})
        result = await asyncio.wait_for(read_line(probe), timeout_s + _ANSWER_TIMEOUT_S)
    except TimeoutError:
        raise WorldError("the probe of the links did not answer in time") from None
    finally:
        await end(probe)
        await _close(control, opened)
    found = result["round_trips_ns"]
    return [
        _measured(*pair, [trip for trips in found[number :: len(pairs)] for trip in trips])
        for number, pair in enumerate(pairs)
    ]


class PingRide:
    """
    Pings that ride along with a load: every pair of regions, slowly, through links of their own.

    Args:
        control: The links process.
        probe: The program that pings.
        take: Given what came back, about once a second.
    """

    def __init__(
        self,
        control: LinkControl,
        probe: asyncio.subprocess.Process,
        take: Callable[[list[Ping]], None],
    ) -> None:
        self._control = control
        self._probe = probe
        self._take = take
        self._opened: list[str] = []
        self._reading: asyncio.Task[None] | None = None

    @classmethod
    async def start(
        cls,
        control: LinkControl,
        pairs: Sequence[Pair],
        every_ms: int,
        take: Callable[[list[Ping]], None],
    ) -> PingRide:
        """
        Begin to ping.

        Args:
            control: The links process.
            pairs: What to ping.
            every_ms: Pause between two pings of a pair, from start to start.
            take: Given what came back, about once a second.

        Raises:
            WorldError: It cannot be started.
        """
        ride = cls(control, await spawn(_PROBE, RIDE), take)
        try:
            ports = await _open(control, ride._probe, pairs, ride._opened, rides=True)
            _write(ride._probe, {"ports": ports, "every_ms": every_ms})
        except BaseException:
            await ride.stop()
            raise
        ride._reading = asyncio.create_task(ride._read(), name="pings")
        return ride

    async def stop(self) -> None:
        """End it; what never came back is told before."""
        await end(self._probe)
        if self._reading is not None:
            await self._reading
        await _close(self._control, self._opened)

    async def _read(self) -> None:
        with contextlib.suppress(WorldError):  # its end
            while True:
                told = await read_line(self._probe)
                self._take([(number, sent, trip) for number, sent, trip in told["pings"]])


async def _open(
    control: LinkControl,
    probe: asyncio.subprocess.Process,
    pairs: Sequence[Pair],
    opened: list[str],
    *,
    rides: bool,
) -> list[int]:
    """
    Open a link for every pair that leads to the probe's echo; return their ports.

    What rides along meets the faults that were asked for, what is measured before does not.
    """
    echo = LinkAddress("127.0.0.1", int((await read_line(probe))["echo_port"]))
    ports = []
    for a, b, one_way_ns in pairs:
        name = f"{'ride' if rides else 'probe'}/{a}/{b}"
        ends = (a, b) if rides else None
        ports.append(await control.open(name, echo, one_way_ns, ends=ends))
        opened.append(name)
    return ports


async def _close(control: LinkControl, opened: Sequence[str]) -> None:
    for name in opened:
        with contextlib.suppress(WorldError):
            await control.close(name)


def _write(probe: asyncio.subprocess.Process, job: dict[str, object]) -> None:
    assert probe.stdin is not None
    probe.stdin.write(json.dumps(job).encode() + b"\n")


def _measured(source: str, target: str, one_way_ns: int, round_trips_ns: list[int]) -> LinkMeasure:
    ordered = sorted(round_trips_ns)
    n = len(ordered)

    def rank_ms(p: int) -> float:
        return ordered[math.ceil(p * n / 100) - 1] / NS_PER_MS if n else math.nan

    return LinkMeasure(source, target, 2 * one_way_ns / NS_PER_MS, rank_ms(50), rank_ms(95), n)
