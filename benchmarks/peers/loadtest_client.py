"""
Our client as a generator of its own: open model by the alarm, full recording on.

    python loadtest_client.py URL RATE SECONDS USERS [HTTP]     prints one line of JSON
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gevent
from gevent import get_hub
from gevent.event import Event

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from loadtest.engine.client.client import TTFBClient
from loadtest.engine.client.names import AddressResolver
from loadtest.engine.client.sample import RequestSample
from loadtest.engine.hub.alarm import NEVER
from loadtest.engine.hub.instruments import Instruments
from loadtest.engine.worker.recorder import Recorder

WARM_UP_S = 1.0
BURST = 16  # arrivals released before the loop looks at its sockets, as in a run
ARRIVAL = (0, 0, 0, 0, 0, 0)
PERCENTILES = (50.0, 99.0, 99.9, 100.0)


class Generator:
    """Users parked in the hub; each arrival is switched into one of them."""

    def __init__(
        self, url: str, rate: float, seconds: float, users: int, http: str = "1.1"
    ) -> None:
        base, slash, path = url.partition("/d/")
        self.path = slash + path
        self.rate, self.seconds = rate, seconds
        self.recorder = Recorder(("one",), ("one",), lambda _: None)
        self.recorder.epoch_ns = time.monotonic_ns()
        # flat lists of what the garbage collector does not look at: a run keeps no samples either
        self.waits: list[int] = []
        self.user_waits: list[int] = []
        self.truths: list[bytes] = []
        self.failed = self.dropped = self.warm_n = 0
        self.lateness: list[int] = []
        self.begin_ns = NEVER
        self.cpu_s = 0.0
        target, resolver = (
            SimpleNamespace(url=base, host="", ca_file="", http=http),
            AddressResolver(),
        )
        self.clients = [TTFBClient(target, self.record, resolver=resolver) for _ in range(users)]
        self.idle: list[Any] = []

    def record(self, sample: RequestSample) -> None:
        sample.context = ARRIVAL
        self.recorder.record(sample)
        if sample.start_ns < self.begin_ns:
            return
        self.warm_n += 1
        if sample.error:
            self.failed += 1
        elif sample.reused and self.rate:
            self.waits.append(sample.wait_ns)
            self.user_waits.append(sample.wait_user_ns)
            self.truths.append(sample.timing_header)
            self.lateness.append(sample.start_ns - sample.intended_ns)

    def closed(self) -> None:
        end_ns = time.monotonic_ns() + int((WARM_UP_S + self.seconds) * 1e9)
        self.begin_ns = end_ns - int(self.seconds * 1e9)

        def user(client: TTFBClient) -> None:
            get, path, now = client.get, self.path, time.monotonic_ns
            while now() < end_ns:
                get(path)

        users = [gevent.spawn(user, c) for c in self.clients]
        gevent.sleep(WARM_UP_S)
        before_s = time.process_time()
        gevent.joinall(users, raise_error=True)
        self.cpu_s = time.process_time() - before_s

    def user(self, client: TTFBClient) -> None:
        switch, path = get_hub().switch, self.path
        client.get(path)
        while True:
            self.idle.append(gevent.getcurrent())
            client.begin(switch())
            client.get(path)

    def open(self) -> None:
        greenlets = [gevent.spawn(self.user, c) for c in self.clients]
        while len(self.idle) < len(greenlets):
            gevent.sleep(0.01)
        step_ns, done = 1e9 / self.rate, Event()
        first_ns = time.monotonic_ns() + 50_000_000
        self.begin_ns = first_ns + int(WARM_UP_S * 1e9)
        count = int(self.rate * (WARM_UP_S + self.seconds))
        position = 0

        def release() -> int:
            nonlocal position
            for _ in range(BURST):
                if position == count:
                    done.set()
                    return NEVER
                due = first_ns + int(position * step_ns)
                if due > time.monotonic_ns():
                    break
                position += 1
                if self.idle:
                    self.idle.pop().switch(due)
                else:
                    self.dropped += 1
            return due

        alarm = Instruments.here().alarm
        alarm.set(first_ns, release)
        done.wait()
        deadline = time.monotonic() + 10
        while len(self.idle) < len(greenlets) and time.monotonic() < deadline:
            gevent.sleep(0.01)
        alarm.clear()
        gevent.killall(greenlets)

    def result(self) -> dict[str, Any]:
        truths = [float(header.partition(b"dur=")[2]) * 1e6 for header in self.truths]
        kernel = [wait - truth for wait, truth in zip(self.waits, truths, strict=True)]
        user = [wait - truth for wait, truth in zip(self.user_waits, truths, strict=True)]
        return {
            "n": self.warm_n,
            "seconds": self.seconds,
            "failed": self.failed,
            "dropped": self.dropped,
            **({"window_cpu_s": self.cpu_s} if self.cpu_s else {}),
            "errors_us": percentiles(kernel),
            "user_errors_us": percentiles(user),
            "lateness_us": percentiles(self.lateness),
        }


def percentiles(values_ns: list[float] | list[int]) -> dict[str, float]:
    """Return nearest-rank percentiles of the sizes of values, and their signed median as bias."""
    if not values_ns:
        return {}
    sizes = sorted(abs(value) for value in values_ns)
    found = {
        f"p{p:g}": sizes[min(len(sizes) - 1, int(len(sizes) * p / 100))] / 1e3 for p in PERCENTILES
    }
    return {**found, "bias": sorted(values_ns)[len(values_ns) // 2] / 1e3}


def main() -> None:
    url, rate, seconds, users, *http = sys.argv[1:]
    generator = Generator(url, float(rate), float(seconds), int(users), *http)
    if float(rate):
        generator.open()
    else:
        generator.closed()
    print(json.dumps(generator.result()))


if __name__ == "__main__":
    main()
