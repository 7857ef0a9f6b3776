"""The reference app as it is deployed: real PostgreSQL, real servers, round trips on the wire."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest
from refapp_stage import App, Page, Stage, Wire, free_port

pytestmark = pytest.mark.contract


@pytest.fixture(scope="module")
def near(stage: Stage) -> App:
    """The replica deployment in the primary region."""
    return stage.start_app("cdg", REGIONAL_DATABASE="1")


@pytest.fixture(scope="module")
def far(stage: Stage) -> App:
    """The replica deployment far away."""
    return stage.start_app("syd", REGIONAL_DATABASE="1", APP_BASE_MS="20")


@pytest.fixture(scope="module")
def wire(stage: Stage) -> Iterator[Wire]:
    relay = Wire(stage.primary_port)
    yield relay
    for app in stage.apps:  # their connections go through the relay
        app.process.terminate()
        app.process.wait(10)
    relay.close()


@pytest.fixture(scope="module")
def pooled(stage: Stage, wire: Wire) -> App:
    """The multi deployment: no middleware, a pool to a primary far away."""
    return stage.start_app("syd", DATABASE_URL=stage.url(wire.port))


@pytest.fixture(scope="module")
def unpooled(stage: Stage, wire: Wire) -> App:
    """The same with a connection for every request."""
    return stage.start_app("syd", DATABASE_URL=stage.url(wire.port), NEW_CONNECTION_SHARE="1")


@pytest.fixture(scope="module", autouse=True)
def _all_healthy(near: App, far: App, pooled: App, unpooled: App) -> None:
    for app in (near, far, pooled, unpooled):
        app.wait_health()


def query(stage: Stage, port: int, statement: str) -> list[tuple[object, ...]]:
    with psycopg.connect(stage.url(port), autocommit=True) as connection:
        cursor = connection.execute(statement.encode())
        return cursor.fetchall() if cursor.description else []


def through_proxy(
    near: App, far: App, method: str, path: str, body: str = "", cookie: str = ""
) -> tuple[Page, Page | None]:
    """Visit far away as Fly's proxy does: return the answer, and the replay it came by."""
    headers = {"cookie": cookie} if cookie else {}
    first = far.ask(method, path, body or None, headers)
    if "fly-replay" not in first.headers:
        return first, None
    state = first.headers["fly-replay"].partition("state=")[2]
    source = {"fly-replay-src": f"instance=m1;region=syd;t=1;state={state}"}
    return near.ask(method, path, body or None, {**headers, **source}), first


def test_people_in_different_cities_see_different_recipes(near: App) -> None:
    paris, chicago = near.get("/recipes?city=Paris"), near.get("/recipes?city=chicago")
    assert paris.status == chicago.status == 200
    assert "Soupe à l&#x27;oignon" in paris.body
    assert "Deep-dish pizza" in chicago.body
    assert "Deep-dish pizza" not in paris.body
    assert paris.body.count("<article") == 12
    assert paris.headers["content-type"] == "text/html; charset=utf-8"


def test_a_search_narrows_and_takes_its_text_literally(near: App) -> None:
    assert near.get("/recipes?city=Paris&q=CROQUE").body.count("<article") == 1
    nothing = near.get("/recipes?city=Paris&q=%25%3Cscript%3E_%5C%00").body
    assert "Nothing found" in nothing
    assert "<script" not in nothing


def test_without_a_city_the_edge_s_own_is_shown(near: App) -> None:
    assert "Recipes from Sydney" in near.get("/recipes", fly_region="syd").body
    unknown_edge = near.get("/recipes", fly_region="dxb")
    assert (unknown_edge.status, unknown_edge.headers["location"]) == (303, "/")
    assert near.get("/recipes?city=Atlantis").status == 404


def test_every_answer_says_who_gave_it_and_where_the_time_went(far: App) -> None:
    page = far.get("/recipes?city=Sydney", fly_replay_src="region=lhr;state=threshold")
    assert page.headers["fly-region"] == "syd"
    found = re.fullmatch(
        r'app;dur=(\d+\.\d{3}), db;dur=(\d+\.\d{3});desc="2", region;desc="syd",'
        r' replay;desc="lhr;threshold"',
        page.headers["server-timing"],
    )
    assert found
    assert float(found[1]) + float(found[2]) >= 20  # the base time was waited, data included
    assert float(found[2]) > 0


@pytest.mark.parametrize(
    ("path", "expected"),
    [("/recipes?city=Sydney&q=pr", 2), ("/recipes/1", 1), ("/", 1), ("/healthz", 0)],
)
def test_a_pooled_page_costs_exactly_its_queries(
    pooled: App, wire: Wire, path: str, expected: int
) -> None:
    """Often enough to pass the sixth use of a statement, where psycopg would prepare it."""
    with wire.counting() as counted:
        pages = [pooled.get(path) for _ in range(15)]
    assert {page.round_trips for page in pages} == {expected}
    assert counted() == (0, 15 * expected)


def test_a_connection_per_request_costs_four_more(unpooled: App, wire: Wire) -> None:
    """TCP 1, start-up 1, SCRAM 2; the relay sees all but TCP's own."""
    with wire.counting() as counted:
        pages = [unpooled.get("/recipes?city=Sydney") for _ in range(5)]
    assert {page.round_trips for page in pages} == {6}
    connections, round_trips = counted()
    assert connections == 5
    assert connections + round_trips == 5 * 6


def test_a_form_adds_a_recipe_that_is_shown_first(near: App) -> None:
    added = near.ask("POST", "/recipes", "city=Paris&title=%3Cb%3EBrioche&minutes=90")
    assert added.status == 303
    assert added.round_trips == 1
    assert added.headers["set-cookie"].startswith("fly-replay-threshold=")
    assert "&lt;b&gt;Brioche" in near.get(added.headers["location"]).body
    page = near.get("/recipes?city=Paris").body
    assert page.index("Brioche") < page.index("Croque")


def test_json_adds_a_recipe_too(near: App) -> None:
    body = json.dumps({"city": "Paris", "title": "Flan", "minutes": 45})
    added = near.ask("POST", "/recipes", body, {"content-type": "application/json"})
    assert added.status == 201
    assert added.headers["location"] == f"/recipes/{json.loads(added.body)['id']}"


@pytest.mark.parametrize(
    ("body", "kind", "status", "said"),
    [
        ("title=x", "", 422, "city: is missing"),
        ("city=Paris&minutes=0", "", 422, "minutes: is"),
        ("city=Atlantis&title=x", "", 422, "no city is called"),
        ("city=Paris&title=" + "x" * 121, "", 422, "at most 120"),
        ('{"city": "Paris"}', "application/json", 422, "title: is missing"),
        ("[1]", "application/json", 400, "JSON object"),
        ("[" * 30_000, "application/json", 400, "cannot be read"),
        ("{", "application/json", 400, "cannot be read"),
        ("x" * 70_000, "", 413, ""),
    ],
)
def test_what_cannot_be_added_is_refused_with_a_reason(
    near: App, body: str, kind: str, status: int, said: str
) -> None:
    page = near.ask("POST", "/recipes", body, {"content-type": kind} if kind else {})
    assert (page.status, said in page.body) == (status, True)


def test_a_write_far_away_is_replayed_and_read_back_within_the_window(
    stage: Stage, near: App, far: App
) -> None:
    """The replica stands still meanwhile, so only the cookie can make the row visible."""
    query(stage, stage.replica_port, "SELECT pg_wal_replay_pause()")
    try:
        added, replay = through_proxy(near, far, "POST", "/recipes", "city=Sydney&title=Pavlova")
        assert replay is not None
        assert (replay.status, replay.body) == (409, "")
        assert replay.headers["fly-replay"] == "region=cdg;state=http_method"
        assert replay.headers["fly-region"] == "syd"
        assert (added.status, added.headers["fly-region"]) == (303, "cdg")
        assert 'replay;desc="syd;http_method"' in added.headers["server-timing"]
        cookie = added.headers["set-cookie"].partition(";")[0]

        page, replay = through_proxy(near, far, "GET", "/recipes?city=Sydney", cookie=cookie)
        assert replay is not None
        assert replay.headers["fly-replay"] == "region=cdg;state=threshold"
        assert "Pavlova" in page.body
        assert "set-cookie" not in page.headers  # reading does not prolong the window

        stranger, replay = through_proxy(near, far, "GET", "/recipes?city=Sydney")
        assert replay is None
        assert stranger.headers["fly-region"] == "syd"
        assert "Pavlova" not in stranger.body
    finally:
        query(stage, stage.replica_port, "SELECT pg_wal_replay_resume()")
    due = time.monotonic() + 10
    while "Pavlova" not in far.get("/recipes?city=Sydney").body:
        assert time.monotonic() < due, "the row never reached the replica"


def test_by_position_a_read_waits_for_the_replica_and_is_replayed_only_if_it_lags(
    stage: Stage,
) -> None:
    """As soon as the replica has the write the page is read nearby, whatever the clock says."""
    near, far = (
        stage.start_app(region, REGIONAL_DATABASE="1", READ_YOUR_WRITES="lsn")
        for region in ("cdg", "syd")
    )
    for app in (near, far):
        app.wait_health()
    query(stage, stage.replica_port, "SELECT pg_wal_replay_pause()")
    try:
        added, _ = through_proxy(near, far, "POST", "/recipes", "city=Sydney&title=Lamington")
        cookie = added.headers["set-cookie"].partition(";")[0]
        assert cookie.startswith("fly-replay-lsn=")
        page, replay = through_proxy(near, far, "GET", "/recipes?city=Sydney", cookie=cookie)
        assert replay is not None
        assert replay.headers["fly-replay"] == "region=cdg;state=lsn"
        assert "Lamington" in page.body
    finally:
        query(stage, stage.replica_port, "SELECT pg_wal_replay_resume()")
    page, replay = through_proxy(near, far, "GET", "/recipes?city=Sydney", cookie=cookie)
    assert replay is None
    assert (page.headers["fly-region"], page.round_trips) == ("syd", 2 + 1)  # one asks how far
    assert "Lamington" in page.body


def test_an_old_cookie_reads_nearby(near: App, far: App) -> None:
    over = f"fly-replay-threshold={time.time() - 1:.3f}"
    assert through_proxy(near, far, "GET", "/recipes?city=Sydney", cookie=over)[1] is None


def test_a_write_that_no_method_gives_away_is_caught(stage: Stage, near: App, far: App) -> None:
    count = "SELECT cooked FROM recipes WHERE id = 7"
    ((before,),) = query(stage, stage.primary_port, count)
    page, replay = through_proxy(near, far, "GET", "/recipes/7/cooked")
    assert replay is not None
    assert replay.headers["fly-replay"] == "region=cdg;state=captured_write"
    assert (page.status, page.headers["location"]) == (303, "/recipes/7")
    assert page.headers["set-cookie"].startswith("fly-replay-threshold=")
    assert query(stage, stage.primary_port, count) == [(int(str(before)) + 1,)]


def test_without_the_middleware_nothing_is_replayed(pooled: App) -> None:
    added = pooled.ask("POST", "/recipes", "city=Perth&title=x")
    assert added.status == 422
    assert "fly-replay" not in added.headers
    assert "set-cookie" not in pooled.ask("POST", "/recipes", "city=Sydney&title=x").headers


def test_seeding_again_changes_nothing_even_at_the_same_time(stage: Stage) -> None:
    counts = "SELECT (SELECT count(*) FROM cities), (SELECT count(*) FROM recipes)"
    before = query(stage, stage.primary_port, counts)
    with ThreadPoolExecutor() as pool:
        runs = list(pool.map(lambda _: stage.seed(), range(3)))
    assert [run.returncode for run in runs] == [0, 0, 0]
    assert query(stage, stage.primary_port, counts) == before


def test_seeding_makes_the_database_if_there_is_none(stage: Stage) -> None:
    url = stage.url(stage.primary_port).replace("/recipes", "/other")
    assert stage.seed(DATABASE_URL=url).returncode == 0
    with psycopg.connect(url) as connection:
        assert connection.execute("SELECT count(*) FROM recipes").fetchone() == (408,)


def test_the_app_is_light(pooled: App) -> None:
    if sys.platform != "linux":
        pytest.skip("reads /proc")
    status = Path(f"/proc/{pooled.process.pid}/status").read_text()
    resident = re.search(r"VmRSS:\s+(\d+) kB", status)
    assert resident
    assert int(resident[1]) < 60_000  # 45 MB measured; the rest is other Pythons and platforms


def test_a_database_that_is_away_is_reported_as_such(stage: Stage) -> None:
    app = stage.start_app("cdg", DATABASE_URL=stage.url(free_port()))
    page = app.wait_health(503)
    assert json.loads(page.body) == {"status": "waiting for its servers"}
    app.process.send_signal(signal.SIGTERM)
    app.process.wait(10)
    log = app.log.read_text()
    assert "Connection refused" in log
    assert "p:a's" not in log
    assert "Traceback" not in log


@pytest.mark.parametrize(
    ("extra", "said"),
    [
        ({"DATABASE_URL": ""}, "DATABASE_URL is not set"),
        ({"NEW_CONNECTION_SHARE": "none"}, "NEW_CONNECTION_SHARE is 'none'"),
        ({"APP_BASE_MS": "fast"}, "APP_BASE_MS is 'fast'"),
        ({"REGIONAL_DATABASE": "1", "FLY_REGION": ""}, "FLY_REGION is not set"),
        ({"DATABASE_URL": "postgres://127.0.0.1:1/x"}, "cannot be seeded"),
    ],
)
def test_a_wrong_environment_is_one_sentence(extra: dict[str, str], said: str) -> None:
    base = {"DATABASE_URL": "postgres://127.0.0.1:1/x", "PRIMARY_REGION": "cdg"}
    run = subprocess.run(
        [sys.executable, "-m", "loadtest.refapp", "seed"],
        env={"PATH": os.environ["PATH"], "FLY_REGION": "cdg", **base, **extra},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert run.returncode in (1, 2)
    assert said in run.stderr
    assert "Traceback" not in run.stderr
