"""Cache, queue and worker of the reference app, with real servers."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from refapp_stage import App, Page, Stage, cache_server, wait_until
from valkey import Valkey
from valkey.exceptions import ValkeyError

from loadtest.engine.client.client import TTFBClient
from loadtest.engine.client.origin import Origin

pytestmark = pytest.mark.contract


@pytest.fixture(scope="module")
def cache() -> Iterator[str]:
    with cache_server("--maxmemory", "2mb", "--maxmemory-policy", "allkeys-lru") as url:
        yield url


@pytest.fixture(scope="module")
def queue() -> Iterator[str]:
    with cache_server("--maxmemory", "2mb", "--maxmemory-policy", "noeviction") as url:
        yield url


@pytest.fixture(scope="module")
def far(stage: Stage, cache: str, queue: str) -> App:
    extra = {"REGIONAL_DATABASE": "1", "PRIMARY_POOL": "2"}
    app = stage.start_app("syd", CACHE_URL=cache, QUEUE_URL=queue, **extra)
    app.wait_health()
    return app


@pytest.fixture(scope="module")
def near(stage: Stage, cache: str) -> App:
    app = stage.start_app("cdg", REDIS_URL=cache, REGIONAL_DATABASE="1")
    app.wait_health()
    return app


def trips(page: Page) -> tuple[int, int]:
    """Return the round trips to database and cache that an answer tells."""
    found = re.findall(r'(db|cache);dur=[\d.]+;desc="(\d+)"', page.headers["server-timing"])
    counts = {name: int(number) for name, number in found}
    return counts["db"], counts.get("cache", 0)


def test_a_hit_costs_one_look_and_a_miss_fills_the_cache(far: App) -> None:
    first, second = (far.get("/fragments?city=sydney&version=a") for _ in range(2))
    assert first.headers["cache-status"] == "recipes; fwd=uri-miss"
    assert second.headers["cache-status"] == "recipes; hit"
    assert (trips(first), trips(second)) == ((2, 2), (0, 1))
    assert first.body == second.body
    assert "Recipes from Sydney" in second.body


def test_a_full_cache_lets_go_of_what_was_not_used_for_longest(far: App) -> None:
    def look(version: int) -> str:
        told = far.get(f"/fragments?city=paris&version=many-{version}").headers["cache-status"]
        return told.partition("; ")[2]

    assert [look(version) for version in range(300)] == ["fwd=uri-miss"] * 300
    assert [look(version) for version in range(290, 300)] == ["hit"] * 10
    # it draws some and lets go of the oldest of those, so any of the first may have been lucky
    assert "fwd=uri-miss" in [look(version) for version in range(30)]


def test_a_page_costs_as_many_round_trips_as_it_asks_queries(far: App) -> None:
    asked = (1, 2, 5, 10)
    assert [trips(far.get(f"/menu?city=paris&queries={n}"))[0] for n in asked] == list(asked)
    assert far.get("/menu?city=paris&queries=0").status == 400


def test_a_session_is_read_and_written(far: App) -> None:
    first = far.get("/session")
    cookie = first.headers["set-cookie"].partition(";")[0]
    second = far.get("/session", cookie=cookie)
    assert "Page 1 of" in first.body
    assert "Page 2 of" in second.body
    assert trips(second) == (0, 2)


def test_an_effect_before_the_refused_write_happens_twice(far: App, near: App) -> None:
    for order, expected in (("before", "2"), ("after", "1")):
        path = f"/counter?key={order}&order={order}&id=3"
        refused = far.get(path)
        assert refused.headers["fly-replay"] == "region=cdg;state=captured_write"
        assert near.get(path).status == 200
        assert far.get(f"/counter/value?key={order}").headers["counted"] == expected


def test_a_write_on_a_page_view_is_replayed_unless_it_is_left_to_a_job(far: App) -> None:
    assert "fly-replay" in far.get("/profile?city=paris&id=4").headers
    page = far.get("/profile?city=paris&touch=no")
    assert (page.status, trips(page)) == (200, (2, 0))


def test_work_on_the_primary_is_done_where_the_page_is(far: App) -> None:
    page = far.get("/on-primary?queries=3&id=5")
    assert (page.status, page.headers["fly-region"], trips(page)[0]) == (200, "syd", 3)
    assert far.get("/seen?id=6").status == 200


def test_a_worker_does_the_jobs_and_a_full_queue_is_told(
    far: App, stage: Stage, queue: str
) -> None:
    assert far.get("/enqueue?jobs=2&queue=local&id=7").status == 200
    aside = [far.get("/enqueue?jobs=1&padding=300&list=aside").status for _ in range(3)]
    taken = [far.get("/enqueued?list=aside").headers["jobs"] for _ in range(2)]
    assert (aside, taken) == ([200] * 3, ["3", "0"])
    full = [far.get("/enqueue?jobs=1&padding=300000") for _ in range(12)][-1]
    assert (full.status, full.headers["retry-after"]) == (503, "1")
    assert "The queue is full" in full.body
    worker = stage.start_worker(QUEUE_URL=queue)
    try:

        def done() -> bool:  # it makes room as it works, and has others' jobs before it
            page = far.get("/enqueue?jobs=2&queue=done&id=7")
            assert page.status in (200, 503, 504)
            return page.status == 200 and trips(page) == (0, 3)

        wait_until(done)
    finally:
        worker.terminate()
    assert worker.wait(10) == 0, (Path(stage.base) / "worker.log").read_text()


def test_a_write_over_an_open_websocket_is_refused_where_the_database_is_read_only(
    near: App, far: App
) -> None:
    """Nothing can be replayed any more; only the handshake could, and is where that is asked."""

    def talk(app: App, path: str = "/kitchen") -> list[dict[str, object]]:
        target = Origin(f"http://127.0.0.1:{app.port}")
        with contextlib.closing(TTFBClient(target, lambda _: None)) as client:
            socket = client.websocket(path)
            asked = ('{"read": 1}', '{"cook": 8}', '{"cook": 0}', "what?")
            return [json.loads(socket.ask(message) or "null") for message in asked]

    title, counted, missing, strange = talk(near)
    assert title.keys() == {"region", "title"}
    assert counted["cooked"] == 1
    assert (missing["error"], strange["region"]) == ("there is no such recipe", "cdg")
    title, refused, *_ = talk(far)
    assert (title["region"], refused["error"]) == ("syd", "25006")
    assert "read-only" in str(refused["why"])
    upgrade = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13",
               "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA=="}  # fmt: skip
    page = far.ask("GET", "/kitchen?at=primary", headers=upgrade)
    assert (page.status, page.headers["fly-replay"]) == (409, "region=cdg;state=long-connection")


def test_the_first_event_comes_with_the_answer(far: App) -> None:
    target = Origin(f"http://127.0.0.1:{far.port}")
    with contextlib.closing(TTFBClient(target, lambda _: None)) as client:
        assert client.events("/orders").next().event == "order"  # type: ignore[union-attr]


def test_an_upload_is_taken_where_it_is_sent(near: App, far: App) -> None:
    body = "x" * 200_000
    assert "200000 bytes" in near.ask("POST", "/uploads", body).body
    assert "fly-replay" in far.ask("POST", "/uploads", body).headers


def test_a_page_does_without_a_cache_that_is_away(stage: Stage) -> None:
    with cache_server() as url:
        app = stage.start_app("cdg", CACHE_URL=url)
        app.wait_health()
    page = app.get("/fragments?city=paris")
    assert (page.status, page.headers["cache-status"]) == (200, "recipes; fwd=uri-miss")
    assert app.get("/session").status == 503


def test_an_app_is_ready_once_its_cache_takes_all_of_its_connections(stage: Stage) -> None:
    with cache_server("--maxclients", "3") as url:
        # of another database, so that a connection asks something before it is one
        other = url.removesuffix("0") + "1"
        app = stage.start_app("cdg", CACHE_URL=other, DB_POOL="6")
        wait_until(lambda: "does not answer yet" in app.log.read_text())
        client: Any = Valkey.from_url(url, protocol=2)

        def raised() -> bool:
            with contextlib.suppress(ValkeyError):
                return bool(client.config_set("maxclients", 100))
            return False

        wait_until(raised)
        app.wait_health()
