"""
HTTP/2: how true the time to first byte is, and requests a second on one core.

    python benchmarks/http2.py [--quick] [--rates 100,1000,2000]

Generator and target have a core of their own.  Truth is what the target stamps itself, over plain
TCP: from the kernel's receive stamp of the request to the write of the answer.  The most a tool
can do is measured in the closed model, 50 connections with one stream at a time each, against a
server of Node.js, over plain TCP and over TLS, the only way for k6; h2load, in C, records nothing
but a histogram and is there for scale.
The same client over HTTP/1.1 is what `throughput.py` shows.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))

import lab
import trustme

DELAY_US, USERS = 20_000, 100
RANKS = ("p50", "p99", "p99.9")
K6_WARM_UP_S = 1.0


@contextlib.contextmanager
def target(command: list[str], scheme: str = "http") -> Iterator[str]:
    """Run a target on the server's core; its URL."""
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: os.sched_setaffinity(0, {lab.SERVER_CORE}),  # noqa: PLW1509 - one thread
    )
    try:
        assert process.stdout is not None
        yield f"{scheme}://localhost:{process.stdout.readline().split()[1]}"
    finally:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


def ours(url: str, rate: float, seconds: float, users: int) -> dict[str, Any]:
    script = str(lab.HERE / "peers" / "loadtest_client.py")
    options = [url, str(rate), str(seconds), str(users), "2"]
    out, _ = lab.run_pinned([sys.executable, script, *options], seconds * 4 + 120)
    result: dict[str, Any] = json.loads(out.strip().splitlines()[-1])
    return result


def h2load(url: str, seconds: float) -> tuple[float, float]:
    """Requests a second, and CPU seconds a request."""
    command = [lab.debian("h2load"), "-t1", f"-c{50}", "-m1", f"-D{seconds:g}", url]
    out, cpu_s = lab.run_pinned(command, seconds + 60)
    match = re.search(r"([\d.]+) req/s", out)
    if match is None:
        raise RuntimeError("h2load printed no rate")
    return float(match[1]), cpu_s / (float(match[1]) * seconds)


def peer_k6(url: str, seconds: float) -> tuple[float, float]:
    """The same; its CPU holds a start that is long, so run it for some seconds."""
    told = {"URL": url, "RATE": "0", "SECONDS": f"{seconds:g}", "USERS": "50"}
    words = [f"--env={name}={value}" for name, value in told.items()]
    script = str(lab.HERE / "peers" / "k6.js")
    out, cpu_s = lab.run_pinned([lab.k6(), "run", "--quiet", *words, script], seconds + 60)
    result = json.loads(out.strip().splitlines()[-1])
    rate = float(result["n"]) / seconds
    return rate, cpu_s / (rate * (seconds + K6_WARM_UP_S))


@contextlib.contextmanager
def certificate() -> Iterator[list[str]]:
    """Files of a certificate and its key, which this process and its children trust."""
    with tempfile.TemporaryDirectory(prefix="loadtest-http2-") as folder:
        authority = trustme.CA()
        issued = authority.issue_cert("localhost")
        files = [Path(folder, name) for name in ("cert.pem", "key.pem", "ca.pem")]
        issued.cert_chain_pems[0].write_to_path(str(files[0]))
        issued.private_key_pem.write_to_path(str(files[1]))
        authority.cert_pem.write_to_path(str(files[2]))
        os.environ["SSL_CERT_FILE"] = str(files[2])
        try:
            yield [str(file) for file in files[:2]]
        finally:
            del os.environ["SSL_CERT_FILE"]


def told(scheme: str, tool: str, rate: float, cpu_s: float) -> list[str]:
    return [scheme, tool, f"{rate:,.0f}", f"{cpu_s * 1e6:.0f}", f"{1 / cpu_s:,.0f}"]


def the_most(command: list[str], scheme: str, seconds: float) -> list[list[str]]:
    """One round of what each tool can do."""
    rows = []
    with target(command, scheme) as url:
        found = ours(f"{url}/d/0", 0, seconds, 50)
        rate, cpu_s = found["n"] / seconds, found["window_cpu_s"] / found["n"]
        rows.append(told(scheme, "loadtest", rate, cpu_s))
        peers = {"h2load": h2load} | ({"k6": peer_k6} if scheme == "https" else {})
        for name, peer in peers.items():
            try:
                rate, cpu_s = peer(f"{url}/d/0", seconds)
                rows.append(told(scheme, name, rate, cpu_s))
            except lab.Missing as missing:
                print(f"left out: {missing}")
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").strip().splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="short, for a look")
    parser.add_argument("--rates", default="100,1000,2000")
    options = parser.parse_args()
    seconds, rounds = (3.0, 1) if options.quick else (8.0, 3)
    lab.raise_file_limit()
    folder = lab.HERE / "target"
    rows = []
    for rate in map(float, options.rates.split(",")):
        for _ in range(rounds):
            with target([sys.executable, str(folder / "http2_target.py"), "0"]) as url:
                found = ours(f"{url}/d/{DELAY_US}", rate, seconds, USERS)
            errors = [f"{found['errors_us'][rank]:,.1f}" for rank in RANKS]
            sent = found["n"] / found["seconds"] / rate
            rows.append([f"{rate:g}", *errors, f"{sent:.0%}", str(found["failed"])])
    lab.print_table(["requests/s", *(f"error us {rank}" for rank in RANKS), "sent", "failed"], rows)
    if (node := shutil.which("node")) is None:
        print("left out: the most that a tool can do, which needs Node.js")
        return
    rows, words = [], [node, str(folder / "http2_target.js")]
    with certificate() as files:
        for _ in range(rounds):
            rows += the_most(words, "http", seconds)
            rows += the_most([*words, *files], "https", seconds)
    lab.print_table(["scheme", "tool", "requests/s", "CPU us/request", "a whole core would"], rows)


if __name__ == "__main__":
    main()
