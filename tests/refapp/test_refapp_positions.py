"""Reads that wait for the replica: positions, cookies, both middlewares; no database, no clock."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest.refapp.positions import (
    REPLAYED,
    WRITTEN,
    AsyncDatabasePosition,
    DatabasePosition,
    lsn_cookie,
    newest_lsn,
    parse_lsn,
)
from loadtest.refapp.regional import RegionalMiddleware
from loadtest.refapp.regional_policy import RegionalSettings
from loadtest.refapp.regional_wsgi import RegionalWsgiMiddleware

FAR, NEAR = RegionalSettings("cdg", "syd"), RegionalSettings("cdg", "cdg")


@given(st.integers(0, 2**64 - 1))
def test_a_position_is_what_postgresql_prints(lsn: int) -> None:
    assert parse_lsn(f"{lsn >> 32:X}/{lsn & 0xFFFFFFFF:X}") == lsn


@given(st.text(max_size=40))
def test_whatever_a_cookie_says_it_is_a_position_or_none(text: str) -> None:
    found = newest_lsn([f"fly-replay-lsn={text}", "fly-replay-lsn=0/10"])
    assert found is not None
    assert found >= 16


def test_the_furthest_of_several_cookies_counts() -> None:
    assert (
        newest_lsn(["a=1; fly-replay-lsn=0/20", "fly-replay-lsn=1/0, fly-replay-lsn=0/5"])
        == 1 << 32
    )
    assert newest_lsn(["fly-replay-lsn=1-0; x=0/1"]) is None
    assert lsn_cookie("0/16B3740").startswith(
        "fly-replay-lsn=0/16B3740; Max-Age=300; Path=/; HttpOnly"
    )


class Database:
    """A replica that replays sixteen bytes each time that somebody waits."""

    def __init__(self, at: int = 0) -> None:
        self.at = at
        self.now_s = 0.0
        self.asked: list[str] = []

    def ask(self, statement: str) -> str:
        self.asked.append(statement)
        return f"0/{self.at:X}"

    def sleep(self, seconds: float) -> None:
        self.now_s += seconds
        self.at += 16

    @property
    def position(self) -> DatabasePosition:
        return DatabasePosition(self.ask, 0.048, monotonic=lambda: self.now_s, sleep=self.sleep)

    @property
    def position_async(self) -> AsyncDatabasePosition:
        async def ask(statement: str) -> object:
            return self.ask(statement)

        async def sleep(seconds: float) -> None:
            self.sleep(seconds)

        return AsyncDatabasePosition(ask, 0.048, monotonic=lambda: self.now_s, sleep=sleep)


WAITS = [(0, 0, True), (64, 4, True), (999, 10, False)]


@pytest.mark.parametrize(("lsn", "waits", "reached"), WAITS)
def test_a_read_waits_as_long_as_it_may(lsn: int, waits: int, reached: bool) -> None:
    one, two = Database(), Database()
    assert one.position.reached(lsn) is reached
    assert asyncio.run(two.position_async.reached(lsn)) is reached
    assert one.asked == two.asked == [REPLAYED] * (waits + 1)


Answer = tuple[int, dict[str, str]]


def by_asgi(settings: RegionalSettings, database: Database, method: str, cookie: str) -> Answer:
    sent: list[Any] = []

    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"hello"})

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        return {"type": "http.request"}

    wrapped = RegionalMiddleware(app, settings, lambda: 0.0, position=database.position_async)
    headers = [(b"cookie", cookie.encode())]
    scope = {"type": "http", "method": method, "path": "/", "headers": headers}
    asyncio.run(wrapped(scope, receive, send))
    found = {name.decode().lower(): value.decode() for name, value in sent[0]["headers"]}
    return int(sent[0]["status"]), found


def by_wsgi(settings: RegionalSettings, database: Database, method: str, cookie: str) -> Answer:
    told: list[Any] = []

    def app(_environ: Any, start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", [])
        return iter([b"hello"])

    def start(status: str, headers: list[tuple[str, str]], *_: Any) -> Any:
        told.append(
            (int(status.split(maxsplit=1)[0]), {name.lower(): value for name, value in headers})
        )

    wrapped = RegionalWsgiMiddleware(app, settings, lambda: 0.0, position=database.position)
    list(wrapped({"REQUEST_METHOD": method, "HTTP_COOKIE": cookie}, start))
    answer: Answer = told[0]
    return answer


both = pytest.mark.parametrize("visit", [by_asgi, by_wsgi])
Visit = Callable[[RegionalSettings, Database, str, str], Answer]


@both
def test_a_write_in_the_primary_region_leaves_its_position(visit: Visit) -> None:
    database = Database(at=0x2A)
    status, headers = visit(NEAR, database, "POST", "")
    assert (status, headers["set-cookie"].partition(";")[0]) == (200, "fly-replay-lsn=0/2A")
    assert database.asked == [WRITTEN]


@both
def test_a_read_of_a_stranger_asks_nothing(visit: Visit) -> None:
    database = Database()
    status, headers = visit(FAR, database, "GET", "fly-replay-threshold=99999999999")
    assert (status, "set-cookie" in headers, database.asked) == (200, False, [])


@both
def test_a_read_is_answered_nearby_once_the_replica_has_the_write(visit: Visit) -> None:
    assert visit(FAR, Database(), "GET", "fly-replay-lsn=0/30")[0] == 200


@both
def test_a_read_that_would_miss_the_write_is_replayed(visit: Visit) -> None:
    status, headers = visit(FAR, Database(), "GET", "fly-replay-lsn=0/FFFF")
    assert (status, headers["fly-replay"]) == (409, "region=cdg;state=lsn")
