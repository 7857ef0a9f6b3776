"""What works on this machine, and what is lost where something does not."""

from __future__ import annotations

import os
import platform
import resource
import shutil
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Literal

from loadtest.errors import LoadtestError
from loadtest.kernel.stamps import enable_receive_stamps
from loadtest.run.images import find_engine
from loadtest.world.caches.binary import find_cache_server
from loadtest.world.hosts.layer import ask_obstacle
from loadtest.world.postgres.binaries import find_postgres

State = Literal["works", "lost", "broken"]

_FEW_FILES = 4_096
_FEW_PORTS = 10_000
_LITTLE_SPACE_BYTES = 2 << 30
_SAFE_CORES = 2
_READINGS = 2_000
_SLOW_READING_NS = 1_000
_CLOCK_SOURCE = Path("/sys/devices/system/clocksource/clocksource0/current_clocksource")
_TOKENS = ("FLY_API_TOKEN", "FLY_ACCESS_TOKEN")


@dataclass(frozen=True, slots=True)
class Symptom:
    """
    One thing that was looked at.

    Args:
        subject: What.
        state: ``works``; ``lost``: a run is possible without it; ``broken``: none is.
        told: What was found, and what is lost or what to do.
    """

    subject: str
    state: State
    told: str


def examine(environ: Mapping[str, str] = os.environ) -> tuple[Symptom, ...]:
    """Look at everything that a run may need; nothing is changed and nobody outside is asked."""
    return tuple(
        finding
        for look in (
            _python,
            _stamps,
            _layer,
            _postgres,
            _cache,
            _limits,
            _machine,
            _clock,
            _space,
            _git,
            _engine,
            _flyctl,
        )
        for finding in look()
    ) + tuple(_fly(environ))


def _python() -> Iterator[Symptom]:
    yield Symptom("Python", "works", f"{platform.python_version()} on {platform.platform()}")


def _stamps() -> Iterator[Symptom]:
    with socket.socket() as probe:
        if enable_receive_stamps(probe):
            yield Symptom("first bytes", "works", "stamped by the kernel when they arrive")
        else:
            yield Symptom(
                "first bytes",
                "lost",
                "stamped by this program, so a busy generator bends them: lower load.rate, or "
                "measure from Linux",
            )


def _layer() -> Iterator[Symptom]:
    reason = ask_obstacle()
    if not reason:
        yield Symptom("hosts", "works", "every machine has a network, names and ports of its own")
        return
    cure = "; on Ubuntu: sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0"
    yield Symptom(
        "hosts",
        "lost",
        f"{reason}: machines share this loopback, fixed ports and images cannot be run"
        + (cure if sys.platform == "linux" and os.geteuid() != 0 else ""),
    )


def _postgres() -> Iterator[Symptom]:
    yield _server("PostgreSQL", "broken", lambda: _version(find_postgres()))


def _cache() -> Iterator[Symptom]:
    yield _server("Redis-compatible cache", "lost", lambda: _version(find_cache_server()))


def _version(found: object) -> str:
    return f"{getattr(found, 'version', '')} ({getattr(found, 'source', '')})"


def _server(subject: str, without: State, look: Callable[[], str]) -> Symptom:
    try:
        return Symptom(subject, "works", look())
    except LoadtestError as error:
        return Symptom(subject, without, str(error))


def _limits() -> Iterator[Symptom]:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if most != resource.RLIM_INFINITY and most < _FEW_FILES:
        yield Symptom(
            "open files", "lost", f"{most}: about as many connections; ulimit -n raises it"
        )
    else:
        yield Symptom("open files", "works", "no limit" if most < 0 else f"up to {most:,}")
    path = Path("/proc/sys/net/ipv4/ip_local_port_range")
    if path.exists():
        low, high = map(int, path.read_text(encoding="ascii").split())
        state: State = "works" if high - low >= _FEW_PORTS else "lost"
        yield Symptom("ports", state, f"{high - low:,} for new connections to one address")


def _machine() -> Iterator[Symptom]:
    cores = os.cpu_count() or 1
    told = f"{cores} cores, load of the last minute {os.getloadavg()[0]:.1f}"
    if cores < _SAFE_CORES or os.getloadavg()[0] > cores:
        yield Symptom("processor", "lost", f"{told}: runs may be invalid; wait until it is quieter")
    else:
        yield Symptom("processor", "works", told)


def _clock(read: Callable[[], int] = time.monotonic_ns) -> Iterator[Symptom]:
    stamps = [read() for _ in range(_READINGS)]
    cost_ns = min(later - sooner for sooner, later in pairwise(stamps))
    try:
        source = _CLOCK_SOURCE.read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        source = time.get_clock_info("monotonic").implementation
    told = f"{source}, read in {cost_ns:,} ns"
    if cost_ns > _SLOW_READING_NS:
        yield Symptom("clock", "lost", f"{told}: every stamp costs that much; another machine, or "
                                       "another clock source, is faster")  # fmt: skip
    else:
        yield Symptom("clock", "works", told)


def _space() -> Iterator[Symptom]:
    folder = tempfile.gettempdir()
    free = shutil.disk_usage(folder).free
    told = f"{free / 2**30:.1f} GiB free in {folder}"
    if free < _LITTLE_SPACE_BYTES:
        yield Symptom("space", "lost", f"{told}: databases and images need more; set TMPDIR")
    else:
        yield Symptom("space", "works", told)


def _git() -> Iterator[Symptom]:
    if shutil.which("git"):
        yield Symptom("git", "works", "`loadtest gate --base REV` can be used")
    else:
        yield Symptom("git", "lost", "not on PATH: `loadtest gate --base REV` needs it")


def _engine() -> Iterator[Symptom]:
    engine = find_engine()
    if engine is not None:
        yield Symptom("image engine", "works", f"{engine.name} builds the images of a gate")
    else:
        yield Symptom(
            "image engine",
            "lost",
            "no docker, podman or buildah answers: give images as files (--image), or run apps in "
            "their folders",
        )


def _flyctl() -> Iterator[Symptom]:
    found = shutil.which("flyctl") or shutil.which("fly")
    if found:
        yield Symptom("flyctl", "works", f"{found}: pushes images, gives apps their addresses")
    else:
        yield Symptom(
            "flyctl",
            "lost",
            "not on PATH: a run needs none, but tokens, pushed images and addresses are made by it",
        )


def _fly(environ: Mapping[str, str]) -> Iterator[Symptom]:
    named = next((name for name in _TOKENS if environ.get(name)), "")
    if named:
        yield Symptom("Fly", "works", f"{named} is set; it was not tried")
    else:
        yield Symptom("Fly", "lost", f"{' and '.join(_TOKENS)} are not set: no --world fly")
