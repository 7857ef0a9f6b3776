"""
The instrument against what must be true of it.

    python benchmarks/instrument.py

tls     warm TTFB of one server, plain and over TLS: they must agree
cold    cold TTFB through a link: the analytic round trips (TCP 1, TLS 1.3 1, request 1)
freeze  the target stands still for two seconds under 100 requests/s: TTFB and response from
        schedule must both show it
"""

from __future__ import annotations

import asyncio
import io
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from loadtest.world.links.address import LinkAddress

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent), str(HERE.parent / "tests" / "engine")]

import numpy as np  # noqa: E402 - after the path
import pyarrow.parquet as pq  # noqa: E402
import trustme  # noqa: E402
from engine_rig import SCENARIO, Rig, order, until  # noqa: E402 - the tests' own rig

from loadtest.world.links.control import LinkControl  # noqa: E402

DELAY_MS = 5.0
RTT_MS = 100.0
FREEZE_S = 2.0


def timed(url: str, ca_file: str, count: int, kind: str) -> list[float]:
    script = str(HERE / "peers" / "instrument_client.py")
    command = [sys.executable, script, url, ca_file, str(count), kind]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300)
    times: list[float] = json.loads(done.stdout)
    return times


def tls(plain: str, secure: str, ca_file: str) -> None:
    """Alternate plain and TLS so that both see the same weather."""
    times: dict[str, list[float]] = {plain: [], secure: []}
    for _ in range(5):
        for url in times:
            times[url] += timed(url, ca_file, 200, "warm")
    medians = [statistics.median(found) for found in times.values()]
    print(
        f"tls     warm TTFB p50: plain {medians[0] / 1e3:.3f} ms, TLS {medians[1] / 1e3:.3f} ms, "
        f"difference {(medians[1] - medians[0]) / 1e3:+.3f} ms (n = 1000 each)"
    )


async def cold(ports: tuple[int, int], ca_file: str) -> None:
    links = await LinkControl.start()
    try:
        for port, scheme, trips in ((ports[0], "http", 2), (ports[1], "https", 3)):
            one_way_ns = round(RTT_MS * 1e6 / 2)
            local = await links.open(scheme, LinkAddress("127.0.0.1", port), one_way_ns)
            url = f"{scheme}://127.0.0.1:{local}"
            times = await asyncio.to_thread(timed, url, ca_file, 30, "cold")
            p50 = statistics.median(times) / 1e3
            expected = trips * RTT_MS + DELAY_MS
            print(
                f"cold    {scheme:5} {p50:7.2f} ms, expected {trips} x {RTT_MS:g} + {DELAY_MS:g} = "
                f"{expected:g} ms: {p50 / expected - 1:+.2%} (n = {len(times)})"
            )
    finally:
        await links.stop()


def freeze() -> None:
    """Stop the target's process in the middle of a run of a real worker."""
    with tempfile.TemporaryDirectory(prefix="loadtest-freeze-") as folder:
        Path(folder, "scenario.py").write_text(SCENARIO)
        rig = Rig(Path(folder))
        try:
            rig.coordinator()
            rig.worker("cdg")
            until(lambda: len(rig.get("/v1/status")["workers"]) == 1, "the worker joins", 60)
            url = rig.target(0.005)
            pid = rig.processes[-1].pid
            load = {"rate": 50, "duration_s": 12, "warmup_s": 1, "block_s": 1, "users": 300}
            status, content = rig.call("POST", "/v1/runs", order(("cdg",), url, "f", load=load))
            assert status == 201, content
            until(lambda: rig.run_status("f")["state"] == "steady", "load", 60)
            thaw = threading.Timer(3 + FREEZE_S, os.kill, (pid, signal.SIGCONT))
            stop = threading.Timer(3, os.kill, (pid, signal.SIGSTOP))
            stop.start()
            thaw.start()
            rig.wait_final("f", 90)
            tables = [pq.read_table(io.BytesIO(part)) for part in rig.parts("f")]
        finally:
            rig.close()
    frame: dict[str, Any] = {
        name: np.concatenate([table.column(name).to_numpy() for table in tables])
        for name in ("stage", "error", "queue_us", "connect_us", "send_us", "wait_us", "receive_us")
    }
    good = (frame["stage"] == "steady") & (frame["error"] == "")
    ttfb = frame["wait_us"][good] / 1e3
    parts = ("queue_us", "connect_us", "send_us", "wait_us", "receive_us")
    whole = sum(frame[name][good] for name in parts) / 1e3
    for name, values in (("ttfb", ttfb), ("response from schedule", whole)):
        shown = ", ".join(f"p{p} {np.percentile(values, p):,.0f}" for p in (50, 90, 99))
        print(f"freeze  {name}: {shown}, max {values.max():,.0f} ms (n = {good.sum()})")
    print(f"freeze  requests that waited over 100 ms: {(ttfb > 100).sum()} of {good.sum()}")


def main() -> None:
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="loadtest-instrument-") as folder:
        authority = trustme.CA()
        ca_file, certificate = Path(folder, "ca.pem"), Path(folder, "server.pem")
        authority.cert_pem.write_to_path(str(ca_file))
        authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(
            str(certificate)
        )
        server = subprocess.Popen(
            [sys.executable, HERE / "peers" / "delay_server.py", str(DELAY_MS), certificate],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            assert server.stdout is not None
            plain, secure = (int(word) for word in server.stdout.readline().split())
            tls(f"http://127.0.0.1:{plain}", f"https://127.0.0.1:{secure}", str(ca_file))
            asyncio.run(cold((plain, secure), str(ca_file)))
        finally:
            server.kill()
            server.communicate()
    freeze()
    print(f"{time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    main()
