"""A database machine by itself: primary, a replica that waits for it, checks, and a clean end."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest

from loadtest.errors import PlanError
from loadtest.world.postgres.machine import MachineSettings

PASSWORD = "s3'cret"
ENVIRONMENT = {
    "FLY_REGION": "cdg",
    "PRIMARY_REGION": "cdg",
    "FLY_APP_NAME": "db",
    "OPERATOR_PASSWORD": PASSWORD,
    "REPL_PASSWORD": "r:e\\p",
}


def test_a_replica_finds_its_primary_by_region_and_app() -> None:
    settings = MachineSettings.from_environ({**ENVIRONMENT, "FLY_REGION": "syd"})
    assert settings.replica
    assert settings.primary == ("cdg.db.internal", 5433)
    assert settings.listen == "*"
    assert "fdaa::/16" in settings.allowed


def test_databases_beside_the_first_one_are_named_in_one_variable() -> None:
    asked = {"DATABASE_NAME": "shop", "MORE_DATABASES": "base,candidate"}
    settings = MachineSettings.from_environ({**ENVIRONMENT, **asked})
    assert (settings.database, settings.more_databases) == ("shop", ("base", "candidate"))
    assert MachineSettings.from_environ(ENVIRONMENT).more_databases == ()


def test_the_primary_region_leads() -> None:
    assert not MachineSettings.from_environ(ENVIRONMENT).replica


@pytest.mark.parametrize("missing", ["FLY_REGION", "OPERATOR_PASSWORD", "REPL_PASSWORD"])
def test_what_is_missing_is_named(missing: str) -> None:
    environment = {k: v for k, v in ENVIRONMENT.items() if k != missing}
    with pytest.raises(PlanError, match=f"{missing} is not set"):
        MachineSettings.from_environ(environment)


def test_settings_show_no_password() -> None:
    assert PASSWORD not in repr(MachineSettings.from_environ(ENVIRONMENT))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Machine:
    """A machine's process with its ports."""

    def __init__(self, folder: Path, region: str, *, port: int = 0, primary: int = 0) -> None:
        self.port, self.check_port = port or free_port(), free_port()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "loadtest.world.postgres"],
            env={
                **os.environ,
                **ENVIRONMENT,
                "FLY_REGION": region,
                "PG_FOLDER": str(folder / region),
                "LISTEN": "127.0.0.1",
                "PG_PORT": str(self.port),
                "CHECK_PORT": str(self.check_port),
                **({"PRIMARY_ADDRESS": f"127.0.0.1:{primary}"} if primary else {}),
            },
            stderr=subprocess.PIPE,
        )

    def check(self) -> tuple[int, str]:
        url = f"http://127.0.0.1:{self.check_port}/flycheck/pg"
        try:
            with urllib.request.urlopen(url, timeout=10) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()
        except OSError as error:
            return 0, str(error)

    def session(self) -> psycopg.Connection[Any]:
        return psycopg.connect(
            host="127.0.0.1",
            port=self.port,
            user="postgres",
            password=PASSWORD,
            dbname="recipes",
            autocommit=True,
        )


def until(condition: Callable[[], bool], machine: Machine) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert machine.process.poll() is None, machine.process.stderr.read()  # type: ignore[union-attr]
        assert time.monotonic() < end, machine.check()
        time.sleep(0.05)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for part in (tmp_path, *tmp_path.parents):
        if part.stat().st_uid == os.geteuid() and part.is_relative_to("/tmp/pytest-of-root"):
            part.chmod(0o755)  # the server's account has to pass through
    return tmp_path


@pytest.mark.contract
def test_a_replica_waits_for_its_primary_streams_and_all_ends_without_rest(folder: Path) -> None:
    port = free_port()
    machines = [early := Machine(folder, "syd", primary=port)]
    try:
        until(lambda: early.check()[0] == 503, early)  # it waits, and says that it does
        machines.append(primary := Machine(folder, "cdg", port=port))
        until(lambda: primary.check() == (200, "working"), primary)
        until(lambda: early.check() == (200, "working"), early)
        with primary.session() as session:
            session.execute("CREATE TABLE told (what text)")
            session.execute("INSERT INTO told VALUES ('hello')")
        with early.session() as session:

            def arrived() -> bool:
                found = session.execute("SELECT to_regclass('told')").fetchone()
                return found is not None and found[0] is not None

            until(arrived, early)
            with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
                session.execute("INSERT INTO told VALUES ('no')")
        for machine in machines:
            machine.process.send_signal(signal.SIGTERM)
            assert machine.process.wait(30) == 0
        assert [machine.check()[0] for machine in machines] == [0, 0]
    finally:
        for machine in machines:
            machine.process.kill()
            machine.process.wait()
            machine.process.stderr.close()  # type: ignore[union-attr]
