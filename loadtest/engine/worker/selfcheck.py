"""
The worker checks its own client before it measures anything else with it.

A small server with known delays is asked through the very client that measures; the difference
between the wait that the client reports and the one that really was is the bias.  It stands in
every report, and a worker whose bias is over the plan's limit stops the run.
"""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import gevent
from gevent import select
from gevent import subprocess as green_subprocess

from loadtest.engine.client.client import TTFBClient
from loadtest.engine.client.limits import Limits
from loadtest.engine.client.sample import RequestSample
from loadtest.errors import EngineError
from loadtest.records.facts import SelfCheckFacts
from loadtest.units import NS_PER_US

ROUNDS: Final = 120
"""Requests of a check: with these its p99 is the second largest bias."""

_DELAYS_US: Final = (500, 1_000, 2_000, 5_000)
_WARM: Final = 8
_START_S: Final = 10.0
_SERVER: Final = Path(__file__).with_name("selfcheck_server.py")


@dataclass(frozen=True, slots=True)
class _Target:
    url: str
    host: str = ""
    ca_file: str = ""
    http: str = "1.1"


def self_check(rounds: int = ROUNDS) -> SelfCheckFacts:
    """
    Measure the client's bias against a server of known delays; takes about a third of a second.

    Args:
        rounds: Requests that count.

    Returns:
        The size of the bias, and the clock that stamped.

    Raises:
        EngineError: The server could not be started or did not answer.
    """
    process = green_subprocess.Popen(
        [sys.executable, "-I", "-S", str(_SERVER)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        port = _read_port(process)
        samples, sent = _ask(port, rounds + _WARM)
    finally:
        process.kill()
        process.wait()
        process.stdin.close()
        process.stdout.close()
    biases = sorted(
        abs(sample.first_ns - stamp) / NS_PER_US
        for sample, stamp in zip(samples[_WARM:], sent[_WARM:], strict=True)
    )
    if not biases:
        raise EngineError("self-check: no request was measured")
    clocks = {sample.clock for sample in samples[_WARM:]}
    return SelfCheckFacts(
        n=len(biases),
        bias_p50_us=round(biases[(len(biases) + 1) // 2 - 1], 1),
        bias_p99_us=round(biases[-(-len(biases) * 99 // 100) - 1], 1),
        clock="kernel" if clocks == {"kernel"} else "user",
    )


def _read_port(process: Any) -> int:
    ready, _, _ = select.select([process.stdout], [], [], _START_S)
    line = process.stdout.readline() if ready else b""
    if not line.strip().isdigit():
        raise EngineError(
            f"self-check: the built-in server did not start within {_START_S:g} s "
            f"({sys.executable} -I -S {_SERVER})"
        )
    return int(line)


def _ask(port: int, rounds: int) -> tuple[list[RequestSample], list[int]]:
    samples: list[RequestSample] = []
    sent: list[int] = []
    client = TTFBClient(
        _Target(f"http://127.0.0.1:{port}"), samples.append, limits=Limits(read_s=5.0)
    )
    try:
        for number in range(rounds):
            response = client.get(f"/{_DELAYS_US[number % len(_DELAYS_US)]}")
            if response.status_code != 200:
                raise EngineError(f"self-check: {samples[-1].detail or response.status_code}")
            sent.append(int(response.headers["X-Sent-Ns"]))
            gevent.sleep(0)
    finally:
        client.close()
    return samples, sent
