"""
Locust's own users as generators, in one process, with nothing in the way.

    python locust_users.py FastHttpUser|HttpUser URL RATE SECONDS USERS     prints one line of JSON
"""

from __future__ import annotations

import json
import random
import sys
import time
from typing import Any

import gevent
from locust import FastHttpUser, HttpUser, constant, constant_throughput, task
from locust.env import Environment

WARM_UP_S = 1.0
PERCENTILES = (50.0, 99.0, 99.9, 100.0)


def user_class(kind: str, path: str, rate: float, users: int) -> type[Any]:
    base: Any = {"FastHttpUser": FastHttpUser, "HttpUser": HttpUser}[kind]
    share = rate / users

    class Asker(base):  # type: ignore[misc]
        wait_time = constant_throughput(share) if rate else constant(0)

        def on_start(self) -> None:
            self.client.get(path, name="first")
            if rate:  # users that start together would ask together for ever
                gevent.sleep(random.random() / share)

        @task
        def ask(self) -> None:
            self.client.get(path, name="ask")

    return Asker


def main() -> None:
    kind, url, rate_text, seconds_text, users_text = sys.argv[1:6]
    rate, seconds, users = float(rate_text), float(seconds_text), int(users_text)
    base, slash, path = url.partition("/d/")
    environment = Environment(user_classes=[user_class(kind, slash + path, rate, users)], host=base)
    errors: list[float] = []
    counts = {"n": 0, "failed": 0}
    measuring = False

    def on_request(
        name: str, response_time: float, response: Any, exception: Any, **_: Any
    ) -> None:
        if not measuring or name != "ask":
            return
        counts["n"] += 1
        if exception is not None:
            counts["failed"] += 1
        elif rate:
            truth_ms = float(response.headers["Server-Timing"].partition("dur=")[2])
            errors.append((response_time - truth_ms) * 1e3)

    environment.events.request.add_listener(on_request)  # type: ignore[no-untyped-call]
    runner = environment.create_local_runner()
    runner.start(users, spawn_rate=users)
    # users wait up to one interval of theirs before they ask
    gevent.sleep(WARM_UP_S + (users / rate if rate else 0.0))
    measuring = True
    begin, before_s = time.monotonic(), time.process_time()
    gevent.sleep(seconds)
    measuring, took = False, time.monotonic() - begin
    cpu_s = time.process_time() - before_s
    runner.quit()
    errors.sort(key=abs)
    ranks = {
        f"p{p:g}": abs(errors[min(len(errors) - 1, int(len(errors) * p / 100))])
        for p in PERCENTILES
        if errors
    }
    bias = {"bias": sorted(errors)[len(errors) // 2]} if errors else {}
    times = {"seconds": took, "window_cpu_s": cpu_s}
    print(json.dumps({**counts, **times, "dropped": 0, "errors_us": {**ranks, **bias}}))


if __name__ == "__main__":
    main()
