"""Real PostgreSQL servers: one primary and streaming replicas, started and stopped as machines."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from loadtest.errors import WorldError
from loadtest.world.guard.shared_memory import clear_shared_memory
from loadtest.world.postgres.binaries import Account, PostgresBinaries, server_account
from loadtest.world.postgres.cluster import (
    SUPERUSER,
    make_private_dir,
    server_environment,
    write_standby,
)
from loadtest.world.postgres.copies import copy_cluster, share_cluster
from loadtest.world.postgres.shared import make_shared

Role = Literal["primary", "replica"]

_LOG = "log"
_POLL_S = 0.02
_STATUS_LINE = 7
_STOP_STEPS = ((signal.SIGINT, 3.0), (signal.SIGQUIT, 1.5), (signal.SIGKILL, 1.0))


@dataclass(frozen=True, slots=True)
class PostgresSpec:
    """
    What one server is to be.

    Args:
        machine_id: Name of its folder, and how a replica introduces itself to the primary.
        region: Where it is said to stand; used in messages.
        role: A replica streams from ``primary_address``.
        base_dir: The world's folder; the server keeps to ``postgres/<machine_id>`` in it.
        port: Port on 127.0.0.1.
        template_dir: The data directory that all servers of a world are made from; made by
            whichever starts first, with that server's passwords and database.
        shares: This process has a mount namespace of its own, so servers may share the template's
            files; where not, each has a copy.
        superuser_password: Of the role ``postgres``.
        replication_password: Of the role ``replicator``.
        database: Name of the database that exists from the start.
        more_databases: Names of others beside it.
        primary_address: Where a replica streams from: the near end of its link to the primary.
        bin_dir: Folder with the server's programs; None to search (`find_postgres`).
    """

    machine_id: str
    region: str
    role: Role
    base_dir: Path
    port: int
    template_dir: Path
    superuser_password: str
    replication_password: str
    database: str = "recipes"
    more_databases: tuple[str, ...] = ()
    primary_address: tuple[str, int] | None = None
    bin_dir: Path | None = None
    shares: bool = False

    def __post_init__(self) -> None:
        """Refuse a replica of nothing, and a server that anybody may enter."""
        if not self.superuser_password or not self.replication_password:
            raise WorldError(f"PostgreSQL {self.machine_id}: a password is empty")
        if self.role == "replica" and self.primary_address is None:
            raise WorldError(f"PostgreSQL {self.machine_id}: a replica needs primary_address")

    def __repr__(self) -> str:
        """Return who and where, without the passwords."""
        return f"PostgresSpec({self.machine_id}, {self.region}, {self.role}, port={self.port})"


class RunningPostgres:
    """
    A server that was started.

    Attributes:
        process: The server's first process, its own session.
        binaries: Which installation it runs from.
        data_dir: Its data directory.
        log_path: What it printed.
    """

    def __init__(
        self,
        spec: PostgresSpec,
        process: subprocess.Popen[bytes],
        binaries: PostgresBinaries,
        home: Path,
    ) -> None:
        self._spec = spec
        self.process = process
        self.binaries = binaries
        self.data_dir = home / "data"
        self.log_path = home / _LOG
        self._doing = "starting"

    @property
    def pid(self) -> int:
        """Return the process id of the server."""
        return self.process.pid

    @property
    def role(self) -> Role:
        """Return what the server was started as."""
        return self._spec.role

    async def wait(self) -> int:
        """Return the exit code once the server has ended; negative for a signal."""
        while (code := self.process.poll()) is None:
            await _ended_or(_POLL_S, self.pid)
        return code

    async def ready(self, deadline_s: float) -> None:
        """
        Wait until the server does its work: a replica must also stream from its primary.

        Args:
            deadline_s: How long to wait at most.

        Raises:
            WorldError: It ended, or is not ready in time; the message has its last lines.
        """
        try:
            async with asyncio.timeout(deadline_s):
                while not self._accepts_connections():
                    self._check_alive()
                    await asyncio.sleep(_POLL_S)
                self._doing = "opening its first session"
                await self._first_session()
        except TimeoutError:
            raise WorldError(
                f"PostgreSQL {self._name()} was still {self._doing} after {deadline_s:g} s:"
                f" its last lines were\n{self.last_lines()}"
            ) from None

    async def stop(self) -> None:
        """
        End the server: sessions are closed at once, then it is told to quit, then killed.

        Returns when it is gone; takes 0.1 s as a rule.
        """
        for sign, patience_s in _STOP_STEPS:
            if self.process.poll() is not None:
                break
            self.process.send_signal(sign)
            try:
                await asyncio.wait_for(self.wait(), patience_s)
            except TimeoutError:
                continue
        await asyncio.to_thread(clear_shared_memory, self.data_dir)

    def last_lines(self, count: int = 12) -> str:
        """Return the end of the server's log, without passwords."""
        try:
            lines = self.log_path.read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError:
            return "(no log)"
        text = "\n".join(lines[-count:])
        for secret in (self._spec.superuser_password, self._spec.replication_password):
            text = text.replace(secret, "***")
        return text or "(nothing)"

    def _name(self) -> str:
        """Return the server's name for a sentence."""
        return f"{self.role} {self._spec.machine_id} in {self._spec.region}"

    def _check_alive(self) -> None:
        """Raise WorldError if the server has ended."""
        if (code := self.process.poll()) is not None:
            raise WorldError(
                f"PostgreSQL {self._name()} (127.0.0.1:{self._spec.port}) ended with exit code"
                f" {code} while {self._doing}: its last lines were\n{self.last_lines()}"
            )

    def _accepts_connections(self) -> bool:
        """Read from postmaster.pid, as pg_ctl does, whether the server takes connections."""
        try:
            lines = (self.data_dir / "postmaster.pid").read_text().splitlines()
            return int(lines[0]) == self.pid and lines[_STATUS_LINE].strip() == "ready"
        except (OSError, IndexError, ValueError):
            return False

    async def _first_session(self) -> None:
        """Prove with a real session that password and database are right, and the WAL arrives."""
        import psycopg

        try:
            async with await psycopg.AsyncConnection.connect(
                host="127.0.0.1",
                port=self._spec.port,
                user=SUPERUSER,
                password=self._spec.superuser_password,
                dbname=self._spec.database,
                sslmode="disable",
                gssencmode="disable",
                autocommit=True,
            ) as connection:
                self._doing = "connecting to its primary"
                while self.role == "replica":
                    cursor = await connection.execute(
                        "SELECT 1 FROM pg_stat_wal_receiver WHERE status = 'streaming'"
                    )
                    if await cursor.fetchone():
                        break
                    await asyncio.sleep(_POLL_S)
        except psycopg.Error as error:
            self._check_alive()
            raise WorldError(
                f"PostgreSQL {self._name()} refuses a session: {str(error).strip()};"
                f" its last lines were\n{self.last_lines()}"
            ) from error


async def start_postgres(spec: PostgresSpec) -> RunningPostgres:
    """
    Start a server; `RunningPostgres.ready` tells when it works.

    A data directory that an earlier start of the same machine left is used again.

    Args:
        spec: What it is to be.

    Raises:
        WorldError: No server program, no permission, no space.
    """
    account = server_account()
    base = spec.base_dir.resolve()
    home = _home(base, spec.machine_id)

    def start() -> RunningPostgres:
        binaries = make_shared(
            base,
            spec.bin_dir,
            account,
            template=spec.template_dir,
            databases=(spec.database, *spec.more_databases),
            superuser_password=spec.superuser_password,
            replication_password=spec.replication_password,
        )
        _prepare(spec, account, home)
        return RunningPostgres(spec, _launch(spec, binaries, account, home), binaries, home)

    starting = asyncio.create_task(asyncio.to_thread(start))
    try:
        return await asyncio.shield(starting)
    except asyncio.CancelledError:
        with contextlib.suppress(WorldError):  # nobody will know of what comes of it
            await (await starting).stop()
        raise


async def _ended_or(pause_s: float, pid: int) -> None:
    """Return once a child has ended; after a pause where this system does not tell of that."""
    try:
        descriptor = os.pidfd_open(pid)
    except (AttributeError, OSError):
        await asyncio.sleep(pause_s)
        return
    loop, ended = asyncio.get_running_loop(), asyncio.Event()
    try:
        loop.add_reader(descriptor, ended.set)
        await ended.wait()
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)


def postgres_log(base: Path, machine_id: str) -> Path:
    """Return where the server of a machine prints to, in a world's folder."""
    return _home(base, machine_id) / _LOG


def _home(base: Path, machine_id: str) -> Path:
    return base / "postgres" / machine_id


def _prepare(spec: PostgresSpec, account: Account, home: Path) -> None:
    """Make a server's folder, unless an earlier start did."""
    make_private_dir(home.parent, account)
    make_private_dir(home, account)
    data = home / "data"
    if not data.exists() and not (spec.shares and share_cluster(spec.template_dir, data, account)):
        copy_cluster(spec.template_dir, data, account)
    if spec.primary_address is not None and spec.role == "replica":
        write_standby(
            data, spec.primary_address, spec.machine_id, spec.replication_password, account
        )


def _launch(
    spec: PostgresSpec, binaries: PostgresBinaries, account: Account, home: Path
) -> subprocess.Popen[bytes]:
    """Start the server's process in a session of its own."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW
    descriptor = os.open(home / _LOG, flags, 0o600)
    with os.fdopen(descriptor, "ab") as log:
        return subprocess.Popen(
            [
                str(binaries.bin_dir / "postgres"),
                *("-D", str(home / "data"), "-p", str(spec.port)),
                *("-c", f"cluster_name={spec.machine_id}"),
            ],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd="/",
            env=server_environment(),
            start_new_session=True,
            **account.options(),
        )
