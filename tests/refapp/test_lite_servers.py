"""Apps with SQLite beside them: a primary, and a copy in another region."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from refapp_stage import App, Page, Road, Stage, free_port, wait_until

pytestmark = pytest.mark.contract
FORM = "city=sydney&title=Soup&minutes=5"


@dataclass
class Lite:
    """The apps of two regions, and the road from the second to the first."""

    primary: App
    replica: App
    road: Road


@pytest.fixture(scope="module")
def lite(stage: Stage) -> Iterator[Lite]:
    port = free_port()
    road = Road(port)
    common = {
        "LITE_PRIMARY": f"127.0.0.1:{road.port}",
        "LITE_PORT": str(port),
        "REGIONAL_DATABASE": "1",
        "READ_YOUR_WRITES": "lsn",
        "PRIMARY_POOL": "1",
        "DATABASE_URL": "",
    }
    primary = stage.start_app("cdg", **common)
    replica = stage.start_app("syd", **common)
    primary.wait_health()
    replica.wait_health()
    try:
        yield Lite(primary, replica, road)
    finally:
        for app in (primary, replica):
            app.process.terminate()
            app.process.wait(10)
        road.close()
        assert "Traceback" not in primary.log.read_text() + replica.log.read_text()


def queries(page: Page) -> int:
    found = re.search(r'db;dur=[\d.]+;desc="(\d+)"', page.headers["server-timing"])
    assert found
    return int(found[1])


def test_pages_are_the_same_from_the_file_and_from_its_copy(lite: Lite) -> None:
    for path in ("/", "/recipes?city=paris&q=a", "/recipes/7", "/menu?city=sydney&queries=5"):
        near, far = (app.get(path) for app in (lite.primary, lite.replica))
        assert (near.status, far.status) == (200, 200)
        assert near.body.replace("from cdg", "") == far.body.replace("from syd", "")
    assert queries(lite.replica.get("/menu?city=sydney&queries=5")) == 5


def test_a_write_is_replayed_and_read_by_its_number(lite: Lite) -> None:
    refused = lite.replica.ask("POST", "/recipes", FORM)
    assert refused.headers["fly-replay"] == "region=cdg;state=http_method"
    assert "fly-replay" in lite.replica.get("/recipes/3/cooked").headers  # SQLite refuses it
    with lite.road.cut():
        added = lite.primary.ask("POST", "/recipes", FORM)
        cookie = added.headers["set-cookie"].partition(";")[0]
        where = added.headers["location"]
        assert lite.replica.get(where).status == 404  # who did not write it may be behind
        waited = lite.replica.get(where, cookie=cookie)
        assert waited.headers["fly-replay"] == "region=cdg;state=lsn"
    wait_until(lambda: lite.replica.get(where).status == 200)
    assert "Soup" in lite.replica.get(where, cookie=cookie).body


def test_a_block_on_the_primary_is_a_round_trip_a_statement_and_is_seen(lite: Lite) -> None:
    page = lite.replica.get("/on-primary?queries=3&id=5")
    assert (page.status, page.headers["fly-region"], queries(page)) == (200, "syd", 3)
    assert lite.replica.get("/seen?id=6").status == 200
    assert lite.replica.get("/on-primary?id=999999").status == 404


def test_a_copy_that_lost_the_primary_begins_anew(lite: Lite, stage: Stage) -> None:
    port = free_port()
    common = {"LITE_PORT": str(port), "LITE_PRIMARY": f"127.0.0.1:{port}", "REGIONAL_DATABASE": "1"}
    folder = stage.base / "lite"
    folder.mkdir()
    first = stage.start_app("cdg", LITE_FOLDER=str(folder), **common)
    replica = stage.start_app("syd", **common)
    first.wait_health()
    replica.wait_health()
    kept = first.ask("POST", "/recipes", FORM).headers["location"]
    first.process.terminate()
    first.process.wait(10)
    assert replica.get("/recipes/7").status == 200  # reads go on
    second = stage.start_app("cdg", LITE_FOLDER=str(folder), **common)
    second.wait_health()
    assert second.get(kept).status == 200
    where = second.ask("POST", "/recipes", FORM).headers["location"]
    wait_until(lambda: replica.get(where).status == 200)
    for app in (second, replica):
        app.process.terminate()
        app.process.wait(10)
    assert not list(Path(folder).glob("*-journal"))
