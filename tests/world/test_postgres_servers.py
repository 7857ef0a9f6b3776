"""Real servers: start, replicate, fail, restart, and leave nothing behind."""

import asyncio
import dataclasses
import os
import shutil
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from loadtest.errors import WorldError
from loadtest.world.guard.shared_memory import clear_shared_memory
from loadtest.world.postgres import staleness
from loadtest.world.postgres.binaries import Account, find_postgres
from loadtest.world.postgres.server import PostgresSpec, RunningPostgres, start_postgres

pytestmark = pytest.mark.contract

PASSWORD = "s'e\\c:r et"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def base() -> Iterator[Path]:
    """A world's folder, closed to others as mkdtemp makes it; the template is made in it once."""
    directory = Path(tempfile.mkdtemp(prefix="postgres-test-"))
    yield directory
    clear_shared_memory(directory)
    shutil.rmtree(directory)


def primary_of(base: Path, name: str) -> PostgresSpec:
    return PostgresSpec(
        machine_id=name,
        region="cdg",
        role="primary",
        base_dir=base,
        port=free_port(),
        template_dir=base / "template",
        superuser_password=PASSWORD,
        replication_password="r'e:p\\l",
    )


def replica_of(primary: PostgresSpec, name: str) -> PostgresSpec:
    return dataclasses.replace(
        primary,
        machine_id=name,
        region="syd",
        role="replica",
        port=free_port(),
        primary_address=("127.0.0.1", primary.port),
    )


def run(
    body: Callable[[list[RunningPostgres]], Awaitable[None]], *specs: PostgresSpec
) -> list[RunningPostgres]:
    """Start servers at once, run a test on them, stop what still runs."""

    async def play() -> list[RunningPostgres]:
        servers = list(await asyncio.gather(*(start_postgres(spec) for spec in specs)))
        try:
            await body(servers)
        finally:
            await asyncio.gather(*(server.stop() for server in servers))
        return servers

    return asyncio.run(play())


async def session(spec: PostgresSpec) -> psycopg.AsyncConnection[tuple[Any, ...]]:
    return await psycopg.AsyncConnection.connect(
        host="127.0.0.1",
        port=spec.port,
        user="postgres",
        password=spec.superuser_password,
        dbname=spec.database,
        autocommit=True,
        connect_timeout=5,
    )


async def rows(spec: PostgresSpec, statement: str) -> list[tuple[Any, ...]]:
    async with await session(spec) as connection:
        cursor = await connection.execute(statement.encode())
        return await cursor.fetchall() if cursor.description else []


async def until(spec: PostgresSpec, statement: str, expected: list[tuple[Any, ...]]) -> None:
    async with asyncio.timeout(10):
        while True:
            try:
                if await rows(spec, statement) == expected:
                    return
            except psycopg.Error:
                pass
            await asyncio.sleep(0.02)


def test_writes_reach_the_replica_which_takes_none(base: Path) -> None:
    primary = dataclasses.replace(primary_of(base, "p1"), more_databases=("other",))
    replica = replica_of(primary, "r1")

    async def body(servers: list[RunningPostgres]) -> None:
        await asyncio.gather(*(server.ready(30) for server in servers))
        assert [server.role for server in servers] == ["primary", "replica"]
        await rows(primary, "CREATE TABLE t AS SELECT 7 AS n")
        await until(replica, "SELECT n FROM t", [(7,)])
        with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
            await rows(replica, "INSERT INTO t VALUES (8)")
        assert await rows(primary, "SELECT application_name, state FROM pg_stat_replication") == [
            ("r1", "streaming")
        ]
        assert await rows(primary, "SHOW fsync") == [("off",)]
        assert await rows(dataclasses.replace(primary, database="other"), "SELECT 1") == [(1,)]

    run(body, primary, replica)


def test_a_commit_is_seen_in_the_replica_and_one_that_stands_still_is_told_as_late(
    base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    primary = primary_of(base, "probed")
    replica = replica_of(primary, "probed-replica")
    monkeypatch.setattr(staleness, "EVERY_S", 0.02)
    monkeypatch.setattr(staleness, "WITHIN_S", 0.2)

    def probed(spec: PostgresSpec) -> staleness.ProbedServer:
        return staleness.ProbedServer(spec.region, spec.port, PASSWORD, spec.database, 0)

    async def body(servers: list[RunningPostgres]) -> None:
        await asyncio.gather(*(server.ready(30) for server in servers))
        probe = staleness.StalenessProbe(probed(primary), [probed(replica)])
        probing = asyncio.create_task(probe.run())
        (seen,) = probe.seen
        try:
            while len(seen) < 5:
                await asyncio.sleep(0.01)
            assert all(took is not None and 0 < took < 200_000_000 for _, took in seen[1:5])
            await rows(replica, "SELECT pg_wal_replay_pause()::text")
            while seen[-1][1] is not None:
                await asyncio.sleep(0.01)
            await rows(replica, "SELECT pg_wal_replay_resume()::text")
            while seen[-1][1] is None:
                await asyncio.sleep(0.01)
            await servers[1].stop()
            while seen[-1][1] is not None:
                await asyncio.sleep(0.01)
        finally:
            probing.cancel()
            await asyncio.gather(probing, return_exceptions=True)

    run(body, primary, replica)


def test_only_passwords_open_the_door(base: Path) -> None:
    primary = primary_of(base, "p2")

    async def body(servers: list[RunningPostgres]) -> None:
        await servers[0].ready(30)
        for user, password in (("postgres", "wrong"), ("nobody", "x"), ("replicator", PASSWORD)):
            with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
                await psycopg.AsyncConnection.connect(
                    host="127.0.0.1",
                    port=primary.port,
                    user=user,
                    password=password,
                    dbname="recipes",
                    connect_timeout=5,
                )
        hashed = await rows(
            primary, "SELECT rolname FROM pg_authid WHERE rolpassword LIKE 'SCRAM%'"
        )
        assert sorted(hashed) == [("postgres",), ("replicator",)]

    (server,) = run(body, primary)
    command = " ".join(map(str, server.process.args))  # type: ignore[arg-type]
    assert PASSWORD not in command
    assert PASSWORD not in server.log_path.read_text()


def test_files_are_closed_to_others_and_no_password_file_stays(base: Path) -> None:
    primary = primary_of(base, "p3")
    replica = replica_of(primary, "r3")

    async def body(servers: list[RunningPostgres]) -> None:
        await asyncio.gather(*(server.ready(30) for server in servers))

    run(body, primary, replica)
    assert stat.S_IMODE((base / "postgres").stat().st_mode) == 0o700
    passfile = base / "postgres" / "r3" / "data" / "replication.pgpass"
    assert stat.S_IMODE(passfile.stat().st_mode) == 0o600
    assert [path.name for path in base.iterdir() if path.suffix] == []


def test_a_stopped_server_starts_again_with_its_data(base: Path) -> None:
    primary = primary_of(base, "p4")

    async def write(servers: list[RunningPostgres]) -> None:
        await servers[0].ready(30)
        await rows(primary, "CREATE TABLE kept AS SELECT 1 AS n")

    async def read(servers: list[RunningPostgres]) -> None:
        await servers[0].ready(30)
        assert await rows(primary, "SELECT n FROM kept") == [(1,)]

    run(write, primary)
    run(read, primary)


def test_after_a_kill_nothing_is_lost_or_left(base: Path) -> None:
    """A primary is killed and started again: its commits are there, and the replica follows."""
    primary = primary_of(base, "p5")
    replica = replica_of(primary, "r5")

    async def body(servers: list[RunningPostgres]) -> None:
        await asyncio.gather(*(server.ready(30) for server in servers))
        await rows(primary, "CREATE TABLE kept AS SELECT 1 AS n")
        servers[0].process.kill()
        assert await servers[0].wait() == -9
        again = await start_postgres(primary)
        try:
            await again.ready(30)
            assert await rows(primary, "SELECT n FROM kept") == [(1,)]
            await rows(primary, "INSERT INTO kept VALUES (2)")
            await until(replica, "SELECT count(*) FROM kept", [(2,)])
        finally:
            again.process.kill()
            await again.wait()
            await again.stop()  # clears what a kill leaves in the kernel

    run(body, primary, replica)
    if sys.platform == "linux":
        assert not segments_of(base)


def segments_of(base: Path) -> set[str]:
    """Return the shared memory segments that data directories below a folder still own."""
    owned = {
        words[1]
        for pid_file in base.rglob("postmaster.pid")
        if len(lines := pid_file.read_text().splitlines()) > 6
        and len(words := lines[6].split()) == 2
    }
    table = Path("/proc/sysvipc/shm").read_text().splitlines()[1:]
    return owned & {line.split()[1] for line in table}


def test_shared_memory_of_a_living_server_is_left_alone(base: Path) -> None:
    primary = primary_of(base, "p6")

    async def body(servers: list[RunningPostgres]) -> None:
        await servers[0].ready(30)
        assert clear_shared_memory(servers[0].data_dir) == 0
        assert await rows(primary, "SELECT 1") == [(1,)]

    run(body, primary)


def test_a_port_in_use_is_named(base: Path) -> None:
    primary = primary_of(base, "p7")

    async def body(servers: list[RunningPostgres]) -> None:
        with pytest.raises(WorldError) as caught:
            await servers[0].ready(30)
        assert f"127.0.0.1:{primary.port}" in str(caught.value)
        assert "Address already in use" in str(caught.value)

    with socket.create_server(("127.0.0.1", primary.port)):
        run(body, primary)


def test_a_replica_without_a_primary_says_what_it_waits_for(base: Path) -> None:
    replica = replica_of(primary_of(base, "p8"), "r8")

    async def body(servers: list[RunningPostgres]) -> None:
        with pytest.raises(WorldError) as caught:
            await servers[0].ready(1.5)
        assert "was still connecting to its primary after 1.5 s" in str(caught.value)
        assert "Connection refused" in str(caught.value)
        assert "r'e:p" not in str(caught.value)

    run(body, replica)


def test_programs_out_of_reach_are_copied() -> None:
    """A wheel in a folder of root's that nobody else may enter."""
    if os.geteuid() != 0:
        pytest.skip("only root changes to another account")
    original = find_postgres()
    package = original.install_dir.parent
    base = Path(tempfile.mkdtemp(prefix="postgres-test-"))
    closed = Path(tempfile.mkdtemp(prefix="postgres-test-closed-"))
    try:
        shutil.copytree(original.install_dir, closed / package.name / original.install_dir.name)
        libraries = package.with_name(package.name + ".libs")
        if libraries.is_dir():
            (closed / libraries.name).symlink_to(libraries)
        bin_dir = closed / package.name / original.install_dir.name / "bin"
        primary = dataclasses.replace(primary_of(base, "p9"), bin_dir=bin_dir)

        async def body(servers: list[RunningPostgres]) -> None:
            await servers[0].ready(30)
            assert servers[0].binaries.bin_dir.is_relative_to(base)

        run(body, primary)
    finally:
        shutil.rmtree(base)
        shutil.rmtree(closed)


def test_an_ordinary_user_may_run_it_too() -> None:
    """The same as another user from the start, in a process of that user's."""
    if os.geteuid() != 0:
        pytest.skip("every other test here is that test then")
    python = _python_for_everyone()
    if python is None:
        pytest.skip("user 65534 cannot reach a Python of this version")
    base = Path(tempfile.mkdtemp(prefix="postgres-test-"))
    os.chown(base, 65_534, 65_534)
    port = free_port()
    program = f"""
import asyncio, pathlib
from loadtest.world.postgres.server import PostgresSpec, start_postgres
async def main():
    base = pathlib.Path({str(base)!r})
    spec = PostgresSpec("p", "cdg", "primary", base, {port}, base / "template", "a", "b")
    server = await start_postgres(spec)
    try:
        await server.ready(30)
        print("ready", server.process.pid > 0)
    finally:
        await server.stop()
asyncio.run(main())
"""
    try:
        done = subprocess.run(
            [python, "-c", program],
            env={"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            cwd="/",
            user=65_534,
            group=65_534,
            extra_groups=[],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    finally:
        shutil.rmtree(base)
    assert "ready True" in done.stdout, done.stderr


def _python_for_everyone() -> str | None:
    """Return an interpreter of this version that user 65534 may run, or None."""
    nobody = Account("nobody", 65_534, 65_534, switch=True)
    for path in (sys.executable, f"/usr/bin/python{sys.version_info[0]}.{sys.version_info[1]}"):
        real = Path(path).resolve()
        if real.exists() and nobody.closed_dir(real.parent) is None:
            return str(real)
    return None
