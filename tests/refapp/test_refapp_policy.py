"""When a request is replayed, and what an answer makes the visitor remember."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest.refapp.regional_policy import (
    CAPTURED_WRITE,
    COOKIE_NAME,
    HTTP_METHOD,
    THRESHOLD,
    RegionalSettings,
    ReplayOrigin,
    database_url,
    is_read_only_error,
    parse_replay_source,
    replay_after,
    replay_before,
    replica_url,
    threshold_cookie,
)

FAR = RegionalSettings("cdg", "syd")
NEAR = RegionalSettings("cdg", "cdg")
NOW = 1_700_000_000.25


class ReadOnlyError(Exception):
    sqlstate = "25006"


class Psycopg2ReadOnlyError(Exception):
    pgcode = "25006"


@pytest.mark.parametrize(
    ("settings", "method", "cookie", "failed", "state"),
    [
        pytest.param(FAR, "POST", "", False, HTTP_METHOD, id="a POST far away is replayed"),
        pytest.param(FAR, "PUT", "", False, HTTP_METHOD, id="a PUT too"),
        pytest.param(FAR, "PATCH", "", False, HTTP_METHOD, id="a PATCH too"),
        pytest.param(FAR, "DELETE", "", False, HTTP_METHOD, id="a DELETE too"),
        pytest.param(FAR, "GET", "", False, None, id="a read stays"),
        pytest.param(FAR, "OPTIONS", "", False, None, id="a preflight stays"),
        pytest.param(NEAR, "POST", "", False, None, id="a POST in the primary region stays"),
        pytest.param(FAR, "POST", "", True, None, id="given back by the proxy: not again"),
        pytest.param(FAR, "GET", f"{COOKIE_NAME}=1700000001", False, THRESHOLD, id="in the window"),
        pytest.param(FAR, "POST", f"{COOKIE_NAME}=1700000001", False, HTTP_METHOD, id="both"),
        pytest.param(FAR, "GET", f"{COOKIE_NAME}=1700000000.251", False, THRESHOLD, id="1 ms left"),
        pytest.param(FAR, "GET", f"{COOKIE_NAME}=1700000000.25", False, None, id="just over"),
        pytest.param(FAR, "GET", f"{COOKIE_NAME}=1699999999", False, None, id="long over"),
        pytest.param(NEAR, "GET", f"{COOKIE_NAME}=1700000001", False, None, id="already there"),
        pytest.param(FAR, "GET", f"{COOKIE_NAME}=9999999999", False, None, id="not set by us"),
        pytest.param(FAR, "GET", f"{COOKIE_NAME}=soon", False, None, id="not a number"),
        pytest.param(FAR, "GET", f"{COOKIE_NAME}=inf", False, None, id="not a moment"),
        pytest.param(FAR, "GET", f"{COOKIE_NAME}=", False, None, id="empty"),
        pytest.param(FAR, "GET", f"x={COOKIE_NAME}=1700000001", False, None, id="another cookie"),
        pytest.param(
            FAR,
            "GET",
            f'a=b;{COOKIE_NAME}=1; {COOKIE_NAME}="1700000003";c',
            False,
            THRESHOLD,
            id="the latest of several counts, quotes and spaces do not",
        ),
    ],
)
def test_replay_before_the_app(
    settings: RegionalSettings, method: str, cookie: str, failed: bool, state: str | None
) -> None:
    replay = replay_before(settings, method, [cookie], NOW, replay_failed=failed)
    assert (replay.state if replay else None) == state


def test_replay_header_names_the_primary_region() -> None:
    replay = replay_before(FAR, "POST", [], NOW)
    assert replay is not None
    assert replay.header == "region=cdg;state=http_method"


@pytest.mark.parametrize(
    ("settings", "method", "state", "expected"),
    [
        pytest.param(NEAR, "POST", None, True, id="a direct write in the primary region"),
        pytest.param(NEAR, "POST", HTTP_METHOD, True, id="a replayed write"),
        pytest.param(NEAR, "GET", CAPTURED_WRITE, True, id="a captured write"),
        pytest.param(NEAR, "GET", THRESHOLD, False, id="a read does not prolong the window"),
        pytest.param(NEAR, "GET", None, False, id="a read"),
        pytest.param(NEAR, "GET", "sticky", False, id="replayed for a reason of somebody else's"),
        pytest.param(FAR, "POST", None, False, id="nothing was written far away"),
    ],
)
def test_threshold_cookie_is_set_for_writes(
    settings: RegionalSettings, method: str, state: str | None, expected: bool
) -> None:
    source = None if state is None else ReplayOrigin("i", "syd", state)
    assert (threshold_cookie(settings, method, source, NOW) is not None) == expected


def test_threshold_cookie_attributes() -> None:
    cookie = threshold_cookie(NEAR, "POST", None, NOW)
    assert cookie == (
        "fly-replay-threshold=1700000005.250; Max-Age=5; Path=/; HttpOnly; SameSite=Lax"
    )


@given(
    now=st.floats(1.6e9, 2.5e9),
    window=st.floats(0.5, 600),
    share=st.floats(0, 0.999),
)
def test_the_window_holds_to_its_end(now: float, window: float, share: float) -> None:
    """Whatever the moment within a second, the whole window is kept, and 2 ms later it is over."""
    cookie = threshold_cookie(RegionalSettings("cdg", "cdg", window), "POST", None, now)
    assert cookie is not None
    sent_back = cookie.partition(";")[0]
    far = RegionalSettings("cdg", "syd", window)
    assert replay_before(far, "GET", [sent_back], now + window * share)
    assert not replay_before(far, "GET", [sent_back], now + window + 0.002)


@given(header=st.text(), now=st.floats(0, 4e9))
def test_any_cookie_header_is_survived(header: str, now: float) -> None:
    replay = replay_before(FAR, "GET", [header, f"{COOKIE_NAME}={header}"], now)
    assert replay is None or replay.header == "region=cdg;state=threshold"


@given(header=st.text())
def test_any_replay_source_is_survived(header: str) -> None:
    assert parse_replay_source(header) is not None


@given(
    region=st.from_regex(r"[a-z]{3}", fullmatch=True),
    state=st.from_regex(r"[a-z_]{1,20}", fullmatch=True),
    spaces=st.text(" ", max_size=2),
)
def test_replay_source_comes_back(region: str, state: str, spaces: str) -> None:
    header = f"instance=e2;{spaces}region={region} ;t=1;{spaces}state={state}"
    assert parse_replay_source(header) == ReplayOrigin("e2", region, state)


def _raised(error: Exception, cause: Exception | None = None) -> Exception:
    try:
        raise error from cause
    except Exception as raised:
        return raised


def _during(error: Exception, earlier: Exception, *, suppress: bool) -> Exception:
    error.__context__ = earlier
    error.__suppress_context__ = suppress
    return error


def _wrapped_by_orm() -> Exception:
    error = Exception("statement failed")
    error.orig = ReadOnlyError()  # type: ignore[attr-defined]
    return error


def _ring() -> Exception:
    one, two = Exception("one"), Exception("two")
    one.__context__, two.__context__ = two, one
    return one


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        pytest.param(ReadOnlyError(), True, id="psycopg, asyncpg"),
        pytest.param(Psycopg2ReadOnlyError(), True, id="psycopg2"),
        pytest.param(Exception({"C": "25006", "M": "read-only"}), True, id="pg8000"),
        pytest.param(_wrapped_by_orm(), True, id="SQLAlchemy"),
        pytest.param(_raised(ValueError(), ReadOnlyError()), True, id="raised from it"),
        pytest.param(
            _during(ValueError(), ReadOnlyError(), suppress=False), True, id="while handling"
        ),
        pytest.param(_during(ValueError(), ReadOnlyError(), suppress=True), False, id="handled"),
        pytest.param(ExceptionGroup("g", [ValueError(), ReadOnlyError()]), True, id="in a group"),
        pytest.param(ValueError("25006"), False, id="another error"),
        pytest.param(_ring(), False, id="errors in a ring end"),
    ],
)
def test_read_only_errors_are_recognised(error: Exception, expected: bool) -> None:
    assert is_read_only_error(error) == expected


def test_a_captured_write_is_replayed_from_far_away_only() -> None:
    replay = replay_after(FAR, ReadOnlyError())
    assert replay is not None
    assert replay.header == "region=cdg;state=captured_write"
    assert replay_after(NEAR, ReadOnlyError()) is None
    assert replay_after(FAR, ReadOnlyError(), replay_failed=True) is None
    assert replay_after(FAR, ValueError()) is None


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        pytest.param(
            "postgres://u:p%40w@recipes-db.internal:5432/recipes?sslmode=disable",
            "postgres://u:p%40w@top1.nearest.of.recipes-db.internal:5433/recipes?sslmode=disable",
            id="internal",
        ),
        pytest.param(
            "postgresql://u:p@recipes-db.flycast:5432/r",
            "postgresql://u:p@top1.nearest.of.recipes-db.internal:5433/r",
            id="flycast, as flyctl attaches today",
        ),
        pytest.param(
            "postgres://u:p@top2.nearest.of.db.internal:5432/r",
            "postgres://u:p@top1.nearest.of.db.internal:5433/r",
            id="as flyctl attached in 2022",
        ),
        pytest.param(
            "postgres://db.internal/r",
            "postgres://top1.nearest.of.db.internal:5433/r",
            id="no login, no port",
        ),
        pytest.param(
            "postgres://u:p@db.example:5432/r", "postgres://u:p@db.example:5432/r", id="x"
        ),
        pytest.param(
            "postgresql+psycopg://u:p@cdg.db.internal:5432,syd.db.internal:5433/r?a=b",
            "postgresql+psycopg://u:p@top1.nearest.of.db.internal:5433/r?a=b",
            id="a driver in the scheme, several hosts of one app",
        ),
        pytest.param(
            "postgres://a.internal,b.internal/r",
            "postgres://a.internal,b.internal/r",
            id="two apps",
        ),
        pytest.param("mysql://u:p@db.internal/r", "mysql://u:p@db.internal/r", id="not PostgreSQL"),
        pytest.param("sqlite:///x.internal", "sqlite:///x.internal", id="a file"),
    ],
)
def test_replica_url_is_derived(url: str, expected: str) -> None:
    assert replica_url(url) == expected


def test_database_url_by_region() -> None:
    both = {"DATABASE_URL": "postgres://db.internal/r", "REPLICA_DATABASE_URL": "postgres://x/r"}
    assert database_url(both, None) == "postgres://db.internal/r"
    assert database_url(both, NEAR) == "postgres://db.internal/r"
    assert database_url(both, FAR) == "postgres://x/r"
    del both["REPLICA_DATABASE_URL"]
    assert database_url(both, FAR) == "postgres://top1.nearest.of.db.internal:5433/r"
    assert database_url({}, FAR) is None


def test_settings_from_the_environment() -> None:
    environ = {"PRIMARY_REGION": "cdg", "FLY_REGION": "syd", "REPLAY_THRESHOLD_SECONDS": "2.5"}
    settings = RegionalSettings.from_environ(environ)
    assert settings == RegionalSettings("cdg", "syd", 2.5)
    assert settings is not None
    assert settings.secondary
    assert RegionalSettings.from_environ({"FLY_REGION": "syd"}) is None
    assert RegionalSettings.from_environ({"PRIMARY_REGION": "cdg", "FLY_REGION": ""}) is None


@pytest.mark.parametrize(
    "environ",
    [
        {"PRIMARY_REGION": "cdg\r\nx: y", "FLY_REGION": "syd"},
        {"PRIMARY_REGION": "cdg", "FLY_REGION": "syd", "REPLAY_THRESHOLD_SECONDS": "long"},
        {"PRIMARY_REGION": "cdg", "FLY_REGION": "syd", "REPLAY_THRESHOLD_SECONDS": "0"},
        {"PRIMARY_REGION": "cdg", "FLY_REGION": "syd", "REPLAY_THRESHOLD_SECONDS": "nan"},
    ],
)
def test_settings_that_cannot_be_meant_are_refused(environ: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="expected"):
        RegionalSettings.from_environ(environ)


def test_max_age_covers_the_window() -> None:
    cookie = threshold_cookie(RegionalSettings("cdg", "cdg", 1.2), "POST", None, NOW)
    assert cookie is not None
    assert f"Max-Age={math.ceil(1.2)};" in cookie
