"""
Cold TTFB where names take long: a resolver of 80 ms, our client beside curl.

    python benchmarks/lookups.py [--pairs 50] [--delay-ms 80]

Both open a connection for every request, in turn, in a network of their own whose resolver waits
before it answers.  Every request has to pay; what curl calls ``time_starttransfer`` is our cold
TTFB.

Two requests of a pair are one after the other, each with the scheduling of its own moment, in the
resolver and the server too: a single pair says little on a busy machine, and both sides scatter
alike.  What is judged is the median of the differences: the two are equal where its 95 % interval
lies within 1 ms; else the exit code is 1.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import select
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).resolve().parent.parent)]

NAME = "shop.example"
BODY = b"ok"
EQUAL_MS = 1.0


def inside(pairs: int, delay_ms: float) -> None:
    """Measure in the network of our own; prints one line of JSON."""
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    with tempfile.NamedTemporaryFile("w", suffix=".conf") as conf:
        conf.write("nameserver 127.0.0.1\noptions timeout:5 attempts:1\n")
        conf.flush()
        resolv = os.path.realpath("/etc/resolv.conf")
        subprocess.run(["mount", "--bind", conf.name, resolv], check=True)
        parts = [_part("--names", f"--delay-ms={delay_ms}"), _part("--pages"), _part("--ask")]
        try:
            for part in parts:
                assert part.stdout is not None
                part.stdout.readline()
            found = [(by_curl(), by_us(parts[-1])) for _ in range(pairs)]
        finally:
            for part in parts:
                part.kill()
    print(json.dumps(found))


def _part(*words: str) -> subprocess.Popen[str]:
    """Start a process of this file that says when it is ready."""
    return subprocess.Popen(
        [sys.executable, __file__, *words],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        bufsize=1,
    )


def serve_names(delay_s: float) -> None:
    """Answer every question for an address, ``delay_s`` after it was asked."""
    import dns.message
    import dns.rrset

    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind(("127.0.0.1", 53))
    print("ready", flush=True)
    due: list[tuple[float, bytes, Any]] = []
    while True:
        wait = max(0.0, due[0][0] - time.monotonic()) if due else None
        if select.select([sock], [], [], wait)[0]:
            query, peer = sock.recvfrom(4096)
            at = time.monotonic() + delay_s
            asked = dns.message.from_wire(query)
            reply = dns.message.make_response(asked)
            question = asked.question[0]
            if question.rdtype == 1:  # A; of AAAA there is none
                reply.answer.append(dns.rrset.from_text(question.name, 60, "IN", "A", "127.0.0.1"))
            due.append((at, reply.to_wire(), peer))
        while due and due[0][0] <= time.monotonic():
            _, wire, peer = due.pop(0)
            sock.sendto(wire, peer)


class _Page(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(BODY)))
        self.end_headers()
        self.wfile.write(BODY)

    def log_message(self, *_: object) -> None:
        pass


def by_curl() -> float:
    """Milliseconds to the first byte, as curl says."""
    words = ["curl", "-s", "-o", "/dev/null", "-w", "%{time_starttransfer}", f"http://{NAME}/"]
    done = subprocess.run(words, capture_output=True, text=True, check=True, timeout=30)
    return float(done.stdout) * 1e3


def by_us(asker: subprocess.Popen[str]) -> float:
    """The same by our client, in a process that is there already, as a worker is."""
    assert asker.stdin is not None
    assert asker.stdout is not None
    asker.stdin.write("\n")
    return float(asker.stdout.readline())


def ask() -> None:
    """Send one request for each line that comes in, and print its cold TTFB."""
    from types import SimpleNamespace

    from loadtest.engine.client.client import TTFBClient
    from loadtest.engine.client.sample import RequestSample

    samples: list[RequestSample] = []
    target = SimpleNamespace(url=f"http://{NAME}", host="", ca_file="", http="auto")
    client = TTFBClient(target, samples.append)
    print("ready", flush=True)
    for _ in sys.stdin:
        answer = client.get("/", new_connection=True)
        assert answer.ok, samples[-1].detail
        print(samples[-1].cold_ttfb_ns / 1e6, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").strip().splitlines()[0])
    parser.add_argument("--pairs", type=int, default=50)
    parser.add_argument("--delay-ms", type=float, default=80.0)
    for part in ("inside", "ask", "names", "pages"):
        parser.add_argument(f"--{part}", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.ask:
        ask()
        return
    if options.names:
        serve_names(options.delay_ms / 1e3)
    if options.pages:
        server = ThreadingHTTPServer(("127.0.0.1", 80), _Page)
        print("ready", flush=True)
        server.serve_forever()
    if options.inside:
        inside(options.pairs, options.delay_ms)
        return
    for program in ("curl", "unshare", "ip"):
        if shutil.which(program) is None:
            raise SystemExit(
                f"{program} is not installed: apt-get install curl iproute2 util-linux"
            )
    words = ["unshare", "--user", "--map-root-user", "--net", "--mount", sys.executable, __file__]
    words += ["--inside", f"--pairs={options.pairs}", f"--delay-ms={options.delay_ms}"]
    began = time.monotonic()
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    pairs = json.loads(done.stdout)
    print(f"load average {os.getloadavg()[0]:.1f}, {time.monotonic() - began:.0f} s")
    for name, times in zip(("curl", "ours"), zip(*pairs, strict=True), strict=True):
        least, median, most = min(times), statistics.median(times), max(times)
        print(f"{name:5} least {least:6.2f}  median {median:6.2f}  most {most:6.2f} ms")
    apart = sorted(ours - curl for curl, ours in pairs)
    low, high = median_interval(apart)
    equal = -EQUAL_MS <= low <= high <= EQUAL_MS
    print(
        f"ours - curl: median {statistics.median(apart):+.2f} ms, 95 % interval {low:+.2f} to "
        f"{high:+.2f}: {'equal' if equal else 'not shown to be equal'} within {EQUAL_MS:g} ms\n"
        f"single pairs {apart[0]:+.2f} to {apart[-1]:+.2f}, "
        f"{sum(abs(a) <= EQUAL_MS for a in apart)} of {len(apart)} within {EQUAL_MS:g} ms"
    )
    raise SystemExit(not equal)


def median_interval(values: Sequence[float]) -> tuple[float, float]:
    """
    Return an interval that holds the median with a confidence of at least 95 %.

    From order statistics: however the values are distributed, each lies below the median with a
    probability of a half.  Of 50 the 18th and the 33rd.

    Args:
        values: Six or more; fewer have no such interval.
    """
    ordered, n = sorted(values), len(values)
    if n < 6:
        raise ValueError(f"{n} values: need 6")
    rank, tail = 0, 0.5**n
    while tail <= 0.025:
        rank += 1
        tail += math.comb(n, rank) * 0.5**n
    return ordered[rank - 1], ordered[n - rank]


if __name__ == "__main__":
    main()
