"""Mirrors beside real caches: what is carried, what converges, what a cut costs."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from refapp_stage import App, Road, Stage, cache_server, free_port, wait_until
from valkey import Valkey
from valkey.exceptions import ValkeyError

pytestmark = pytest.mark.contract

ARRIVAL, LAST_WINS = 0, 1


@dataclass
class Pair:
    """Two regions: a cache and a mirror in each, and the roads between the mirrors."""

    urls: tuple[str, str]
    roads: tuple[Road, Road]
    mirrors: list[subprocess.Popen[bytes]]
    start: Callable[[int], subprocess.Popen[bytes]]

    def cache(self, at: int, database: int) -> Any:
        return Valkey.from_url(self.urls[at].removesuffix("0") + str(database), protocol=2)

    @contextlib.contextmanager
    def cut(self) -> Iterator[None]:
        with self.roads[0].cut(), self.roads[1].cut():
            yield


@contextlib.contextmanager
def mirrored(stage: Stage, *options: str, **extra: str) -> Iterator[Pair]:
    with contextlib.ExitStack() as stack:
        urls = (
            stack.enter_context(cache_server(*options)),
            stack.enter_context(cache_server(*options)),
        )
        ports = (free_port(), free_port())
        roads = (Road(ports[0]), Road(ports[1]))

        def start(at: int) -> subprocess.Popen[bytes]:
            environment = stage.environment(
                ("cdg", "syd")[at],
                CACHE_URL=urls[at],
                MIRROR_PORT=str(ports[at]),
                MIRROR_PEERS=f"cdg=127.0.0.1:{roads[0].port},syd=127.0.0.1:{roads[1].port}",
                MIRROR_LWW=str(LAST_WINS),
                **extra,
            )
            log = stack.enter_context((stage.base / f"mirror-{ports[at]}.log").open("ab"))
            command = [sys.executable, "-m", "loadtest.refapp", "mirror"]
            return subprocess.Popen(command, env=environment, stdout=log, stderr=log)

        pair = Pair(urls, roads, [start(0), start(1)], start)
        try:
            for at in (0, 1):  # a way is there once a write has taken it

                def carried(at: int = at) -> bool:
                    with contextlib.suppress(ValkeyError):
                        pair.cache(at, ARRIVAL).set(f"ready-{at}", 1)
                        return bool(pair.cache(1 - at, ARRIVAL).exists(f"ready-{at}"))
                    return False

                wait_until(carried, f"mirrors are {[m.poll() for m in pair.mirrors]}")
            yield pair
        finally:
            for mirror in pair.mirrors:
                mirror.terminate()
            codes = [mirror.wait(10) for mirror in pair.mirrors]
            for road in roads:
                road.close()
        assert codes == [0, 0]
        assert b"Traceback" not in b"".join(p.read_bytes() for p in stage.base.glob("mirror-*.log"))


@pytest.fixture(scope="module")
def pair(stage: Stage) -> Iterator[Pair]:
    with mirrored(stage) as running:
        yield running


@pytest.mark.parametrize("database", [ARRIVAL, LAST_WINS])
def test_values_lifetimes_ends_and_counts_are_carried(pair: Pair, database: int) -> None:
    here, there = (pair.cache(at, database) for at in (0, 1))
    here.set("a", "1", ex=100)
    here.mset({"b": "2", "c": "3"})
    there.incrby("n", 5)
    here.hset("h", "field", "value")
    wait_until(lambda: there.hget("h", "field") == b"value" and here.get("n") == b"5")
    assert [there.get(key) for key in "abc"] == [b"1", b"2", b"3"]
    assert 0 < there.ttl("a") <= 100
    there.delete("a", "b")
    wait_until(lambda: not here.exists("a", "b"))
    pipe = here.pipeline(transaction=True)
    pipe.set("d", "4")
    pipe.incr("n")
    pipe.execute()
    wait_until(lambda: (there.get("d"), there.get("n")) == (b"4", b"6"))


@pytest.mark.parametrize(("database", "alike"), [(ARRIVAL, False), (LAST_WINS, True)])
def test_writes_of_both_during_a_cut_are_swapped_or_converge(
    pair: Pair, database: int, alike: bool
) -> None:
    here, there = (pair.cache(at, database) for at in (0, 1))
    keys = [f"key-{n}" for n in range(20)]
    with pair.cut():
        for key in keys:
            here.set(key, "here")
            there.set(key, "there")
        here.set("end", "1")
        there.set("end-there", "1")
    wait_until(lambda: bool(there.exists("end") and here.exists("end-there")))
    found = [(here.get(key), there.get(key)) for key in keys]
    if alike:
        assert all(ours == theirs for ours, theirs in found)
    else:
        assert found == [(b"there", b"here")] * 20


@pytest.mark.parametrize("database", [ARRIVAL, LAST_WINS])
def test_counts_of_both_during_a_cut_add_up_once_it_is_over(pair: Pair, database: int) -> None:
    here, there = (pair.cache(at, database) for at in (0, 1))
    with pair.cut():
        for _ in range(100):
            here.incr("both")
            there.incr("both")
    wait_until(lambda: here.get("both") == there.get("both") == b"200")


def test_a_storm_of_writes_of_both_ends_alike_where_the_last_one_wins(pair: Pair) -> None:
    """No cut, no way between them: a write of the other comes while an own one is just made."""
    caches = [pair.cache(at, LAST_WINS) for at in (0, 1)]

    def write(at: int) -> None:
        for n in range(300):
            caches[at].set(f"storm-{n % 5}", f"{at}-{n}")
        caches[at].set(f"storm-end-{at}", "1")

    threads = [threading.Thread(target=write, args=[at]) for at in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    keys = [f"storm-{n}" for n in range(5)]
    wait_until(lambda: all(c.exists("storm-end-0", "storm-end-1") == 2 for c in caches))
    wait_until(lambda: caches[0].mget(keys) == caches[1].mget(keys), "they stay apart")


def test_what_is_more_than_a_mirror_keeps_is_lost_in_a_cut(stage: Stage) -> None:
    with mirrored(stage, MIRROR_BACKLOG="50") as pair:
        here, there = (pair.cache(at, ARRIVAL) for at in (0, 1))
        with pair.cut():
            # more than the sockets between the two take, so that it has to be kept
            for n in range(400):
                here.set(f"large-{n}", "x" * 50_000)
            here.set("end", "1")
        wait_until(lambda: bool(there.exists("end")))
        missing = sum(not there.exists(f"large-{n}") for n in range(400))
    assert 0 < missing < 400
    logs = b"".join(path.read_bytes() for path in stage.base.glob("mirror-*.log"))
    assert b"writes to syd are lost" in logs


def test_a_mirror_that_is_started_again_brings_what_its_peers_kept_and_no_more(pair: Pair) -> None:
    """What was written beside it while it was away, the others never have."""
    here, there = pair.cache(0, ARRIVAL), pair.cache(1, ARRIVAL)
    with pair.cut():
        pair.mirrors[0].terminate()
        pair.mirrors[0].wait(timeout=30)
        here.set("meanwhile", 1)
        there.set("theirs", 1)
    pair.mirrors[0] = pair.start(0)

    def on_its_way_again() -> bool:
        here.set("after", 1)
        return bool(there.exists("after"))

    wait_until(on_its_way_again, "writes are carried again")
    wait_until(lambda: bool(here.exists("theirs")), "what its peer kept has come")
    assert there.exists("meanwhile") == 0


def test_a_key_that_a_full_cache_evicts_is_gone_everywhere(stage: Stage) -> None:
    # what a cache keeps for replicas counts as its memory: of 10 MB unless it is said otherwise
    small = "--maxmemory 4mb --maxmemory-policy allkeys-lru --repl-backlog-size 64kb"
    with mirrored(stage, *small.split()) as pair:
        here, there = (pair.cache(at, ARRIVAL) for at in (0, 1))
        for n in range(300):
            here.set(f"page-{n}", "x" * 20_000)
        assert here.info("stats")["evicted_keys"] > 0
        wait_until(lambda: set(here.keys("page-*")) == set(there.keys("page-*")))
        assert there.dbsize() < 300


def test_pages_tell_what_two_caches_make_of_writes_at_once(pair: Pair, stage: Stage) -> None:
    apps: list[App] = []
    for database in (ARRIVAL, LAST_WINS):
        urls = [url.removesuffix("0") + str(database) for url in pair.urls]
        peers = f"cdg={urls[0]},syd={urls[1]}"
        apps.append(stage.start_app("cdg", CACHE_URL=urls[0], CACHE_PEERS=peers))
    for app in apps:
        app.wait_health()
        told = {
            path: app.get(f"/peers/{path}peer=syd").headers["outcome"]
            for path in ("seen?", "tally?", "count?way=incr&")
        }
        assert told == {"seen?": "seen", "tally?": "whole", "count?way=incr&": "counted 2 of 2"}
    assert apps[1].get("/peers/race?peer=syd").headers["outcome"] == "converged"
    assert apps[0].get("/peers/race?peer=mars").status == 400
    with pair.cut():
        assert apps[0].get("/peers/seen?peer=syd").headers["outcome"] == "lost"
        assert apps[0].get("/peers/count?way=set&peer=syd").headers["outcome"] == "counted 1 of 2"
