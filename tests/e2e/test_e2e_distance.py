"""What ``--at`` promises: the direct measurement plus the round trips that the protocol takes."""

from __future__ import annotations

import asyncio
import ssl
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from queue import Queue

import pytest
import trustme
from whole_program import finished, read

from loadtest.errors import EXIT_INVALID, EXIT_PASS

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.slow,  # a millisecond: on a machine that does nothing else
    pytest.mark.timeout(300),
    pytest.mark.skipif(sys.platform != "linux", reason="kernel time stamps"),
    pytest.mark.flaky(reruns=2, only_rerun="BusyMachineError"),
]

REGIONS = ("cdg", "ord", "syd")
WARM_MS, COLD_SHARE = 1.0, 0.05
COLD_TRIPS = {"plain": 2, "tls": 3}
"""TCP's handshake and the request; TLS 1.3 takes one more (RFC 8446, figure 1)."""

ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
HEAD = """
schema = 1
regions = [{regions}]
primary_region = {primary}
scenario = "scenarios/pages.py"
paths = ["/"]
base = "0"
[load]
rate = 10.0
duration_s = 10.0
warmup_s = 2.0
block_s = 1.0
new_connections = 0.3
[network]
rtt = "neutral"
[database]
fly_toml = ""
[client]
ca_file = "ca.pem"
"""
ARM = '[[deployments]]\nname = "{name}"\nurl = "{url}"\nhttp = "1.1"\n{at}\n'


class BusyMachineError(Exception):
    """The run itself said that this machine was too busy to be measured on."""


@dataclass
class Medians:
    """Median TTFB by region and deployment, warm and cold, ms; and the round trips to cdg."""

    warm: dict[tuple[str, str], float]
    cold: dict[tuple[str, str], float]
    rtt: dict[str, float]


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while await reader.readuntil(b"\r\n\r\n"):
            writer.write(ANSWER)
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        writer.close()


async def _serve(
    secured: dict[str, ssl.SSLContext | None],
    tell: Callable[[dict[str, int]], None],
    ended: threading.Event,
) -> None:
    """Serve on a port each until an event; every connection is closed by then."""
    async with AsyncExitStack() as stack:
        ports = {}
        for name, context in secured.items():
            server = await asyncio.start_server(_answer, "127.0.0.1", 0, ssl=context)
            await stack.enter_async_context(server)
            ports[name] = server.sockets[0].getsockname()[1]
        tell(ports)
        await asyncio.to_thread(ended.wait)
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()


@pytest.fixture
def urls(tmp_path: Path) -> Iterator[dict[str, str]]:
    """Serve the same answer in plain text and over TLS; the authority's certificate lies beside."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    secured = {"plain": None, "tls": context}
    ports: Queue[dict[str, int]] = Queue()
    ended = threading.Event()
    thread = threading.Thread(target=lambda: asyncio.run(_serve(secured, ports.put, ended)))
    thread.start()
    try:
        scheme = {"plain": "http", "tls": "https"}
        found = ports.get(timeout=30)
        yield {name: f"{scheme[name]}://localhost:{port}" for name, port in found.items()}
    finally:
        ended.set()
        thread.join()


def measured(folder: Path, urls: dict[str, str], at: str) -> Medians:
    """Run a plan of both URLs, directly or from three regions, and return its medians."""
    regions = REGIONS if at else ("here",)
    named = ", ".join(f'"{code}"' for code in regions)
    place = f'at = "{at}"' if at else ""
    arms = "".join(ARM.format(name=name, url=url, at=place) for name, url in urls.items())
    (folder / "plan.toml").write_text(
        HEAD.format(regions=named, primary=f'"{regions[0]}"') + arms, encoding="utf-8"
    )
    done = finished("run", "plan.toml", "--out", "run", cwd=folder)
    if done.returncode == EXIT_INVALID:
        raise BusyMachineError(done.stdout)
    assert done.returncode == EXIT_PASS, done.stdout + done.stderr
    cells = {
        (cell["region"], cell["deployment"]): cell
        for cell in read(folder / "run" / "summary.json")["cells"]
    }
    network = read(folder / "run" / "plan.json")["network"]
    rtt = {
        code: network["same_region_ms"] if code == at else network["rtt_ms"][f"{at}-{code}"]
        for code in regions
        if at
    }
    return Medians(
        {key: cell["ttfb_ms"]["p50"] for key, cell in cells.items()},
        {key: cell["ttfb_cold_ms"]["p50"] for key, cell in cells.items()},
        rtt,
    )


def test_distance_is_what_the_round_trips_add(urls: dict[str, str], tmp_path: Path) -> None:
    direct = measured(tmp_path, urls, "")
    far = measured(tmp_path, urls, "cdg")
    for arm, trips in COLD_TRIPS.items():
        for code in REGIONS:
            warm = direct.warm["here", arm] + far.rtt[code]
            assert far.warm[code, arm] == pytest.approx(warm, abs=WARM_MS), (code, arm)
            if code != "cdg":  # half a millisecond is none that 5 % could be told of
                cold = direct.cold["here", arm] + trips * far.rtt[code]
                assert far.cold[code, arm] == pytest.approx(cold, rel=COLD_SHARE), (code, arm)
