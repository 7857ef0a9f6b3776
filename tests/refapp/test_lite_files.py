"""SQLite's log read and laid over a copy: the copy is the same database after every change."""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loadtest.refapp.lite.database import spelt
from loadtest.refapp.lite.files import PrimaryFile, ReplicaFile
from loadtest.refapp.lite.wal import Copy, PageSet, WalError, read_wal
from loadtest.refapp.queries import ADD_RECIPE, COOK, ONE_RECIPE, RECIPES_OF_A_CITY, contains
from loadtest.refapp.regional_policy import is_read_only_error
from loadtest.refapp.settings import Settings, SettingsError

ALL = "SELECT * FROM recipes ORDER BY id"
RECIPE = {"city": "paris", "title": "Stew", "summary": "", "ingredients": "", "minutes": 30}


@contextmanager
def pair() -> Iterator[tuple[PrimaryFile, ReplicaFile, list[PageSet]]]:
    with tempfile.TemporaryDirectory() as folder:
        changes: list[PageSet] = []
        primary = PrimaryFile(Path(folder) / "primary.db", changes.append)
        replica = ReplicaFile(Path(folder) / "replica.db", primary.image()[1])
        try:
            yield primary, replica, changes
        finally:
            primary.close()
            replica.close()


WRITES: st.SearchStrategy[tuple[str, dict[str, Any]]] = st.one_of(
    st.tuples(st.just(spelt(COOK)), st.fixed_dictionaries({"id": st.integers(1, 40)})),
    st.tuples(
        st.just(spelt(ADD_RECIPE)),
        st.builds(lambda n: {**RECIPE, "summary": "x" * n}, st.integers(0, 9_000)),
    ),
    st.tuples(
        st.just("DELETE FROM recipes WHERE id BETWEEN :id AND :id + 9"),
        st.fixed_dictionaries({"id": st.integers(1, 40)}),
    ),
)


@settings(max_examples=10, deadline=None)
@given(st.lists(WRITES, max_size=8))
def test_a_copy_is_the_same_database_after_every_change(
    writes: list[tuple[str, dict[str, Any]]],
) -> None:
    with pair() as (primary, replica, changes):
        for statement, values in writes:
            primary.run(statement, values)
            for change in changes:
                replica.apply(change)
            changes.clear()
            assert replica.number == primary.number
            assert replica.run(ALL, {}) == primary.run(ALL, {})
        assert replica.run("SELECT * FROM pragma_integrity_check", {})[1] == [("ok",)]


def test_the_log_is_begun_anew_and_nothing_is_lost() -> None:
    with pair() as (primary, replica, changes):
        number = primary.number
        for _ in range(60):
            primary.run(spelt(ADD_RECIPE), {**RECIPE, "summary": "x" * 30_000})
        assert [change.number for change in changes] == list(range(number + 1, number + 61))
        for change in changes:
            replica.apply(change)
        assert replica.run(ALL, {}) == primary.run(ALL, {})


def test_a_statement_that_changes_nothing_is_no_transaction() -> None:
    with pair() as (primary, _, changes):
        number = primary.number
        assert primary.run(spelt(COOK), {"id": 10**9})[1] == []
        with pytest.raises(sqlite3.IntegrityError):
            primary.run(spelt(ADD_RECIPE), {**RECIPE, "minutes": 0})
        assert (primary.number, changes) == (number, [])


def test_a_copy_refuses_writes_as_a_replica_of_postgresql_does() -> None:
    with pair() as (_, replica, _changes):
        with pytest.raises(sqlite3.OperationalError) as caught:
            replica.run(spelt(COOK), {"id": 1})
        assert is_read_only_error(caught.value)


def test_a_change_that_is_not_the_next_one_or_not_whole_is_refused() -> None:
    with pair() as (primary, replica, changes):
        before = replica.run(ALL, {})
        for _ in range(2):
            primary.run(spelt(COOK), {"id": 1})
        first, second = changes
        with pytest.raises(WalError, match="after transaction 1 came 3"):
            replica.apply(second)
        with pytest.raises(WalError, match="first page"):
            replica.apply(replace(first, pages=first.pages[1:]))
        with pytest.raises(WalError, match="10 bytes"):
            replica.apply(replace(first, pages=(first.pages[0], (2, b"x" * 10))))
        assert replica.run("SELECT count(*) FROM recipes", {})[1][0][0] == len(before[1])
        assert first.checksum != replace(first, size=first.size + 1).checksum


@given(st.binary(max_size=200), st.integers(0, 200))
def test_whatever_is_in_a_log_it_is_read_or_refused(log: bytes, start: int) -> None:
    try:
        change, _ = read_wal(log, start, 1)
    except WalError:
        return
    assert change is None


def test_what_is_no_database_is_no_copy(tmp_path: Path) -> None:
    with pytest.raises(WalError):
        Copy(str(tmp_path / "copy.db"), b"not a database")


def test_our_statements_are_spelt_for_sqlite() -> None:
    with pair() as (primary, _, _changes):
        found = primary.run(spelt(RECIPES_OF_A_CITY), {"city_id": 1, "pattern": contains("A_%")})
        assert found[1] == []
        everything = primary.run(spelt(RECIPES_OF_A_CITY), {"city_id": 1, "pattern": contains("")})
        assert len(everything[1]) == 12
        assert primary.run(spelt(ONE_RECIPE), {"id": 1})[0][0] == "id"


def test_a_file_beside_the_app_needs_no_database_url_and_a_place() -> None:
    given_ = {"LITE_PRIMARY": "cdg.recipes-lite.internal:7500", "FLY_REGION": "syd"}
    lite = Settings.from_environ({**given_, "PRIMARY_REGION": "cdg"}).lite
    assert lite is not None
    assert (lite.place, lite.primary) == (("cdg.recipes-lite.internal", 7500), False)
    with pytest.raises(SettingsError, match="LITE_PRIMARY"):
        Settings.from_environ({**given_, "LITE_PRIMARY": "here"})
