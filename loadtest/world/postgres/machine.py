"""
One database machine that stands by itself: a primary, or a replica copied from it over the network.

For a platform whose machines share no disk.  The machine of the primary region makes a cluster; the
others copy it by base backup and stream.  There is no fail-over: a test database ends with its run.
"""

from __future__ import annotations

import http.server
import logging
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import psycopg

from loadtest.errors import PlanError, WorldError
from loadtest.world.guard.ownership import is_own_folder
from loadtest.world.guard.reaper import die_with_parent
from loadtest.world.postgres.binaries import Account, find_postgres, server_account
from loadtest.world.postgres.cluster import (
    REPLICATION_USER,
    SUPERUSER,
    copy_binaries,
    let_enter,
    make_private_dir,
    make_template,
    server_environment,
    write_private,
    write_standby,
)

SERVER_PORT = 5433
CHECK_PORT = 5500
_RETRY_S = 0.5
_QUIT_S = 10.0
_SESSION_S = 5
_log = logging.getLogger("loadtest.database")


@dataclass(frozen=True, slots=True, repr=False)
class MachineSettings:
    """
    What the environment of a database machine says.

    Args:
        name: The machine's id, by which a replica introduces itself.
        replica: Whether it copies a primary elsewhere.
        primary: Host and port that a replica copies from.
        superuser_password: Of the role ``postgres``.
        replication_password: Of the role ``replicator``.
        database: Name of the database that exists from the start.
        more_databases: Names of others beside it.
        folder: Where its files live.
        listen: ``*`` on a platform's private network, or one address.
        allowed: Networks that may connect, with a password.
        port: Port of the server.
        check_port: Port of its health check.
    """

    name: str
    replica: bool
    primary: tuple[str, int]
    superuser_password: str
    replication_password: str
    database: str
    more_databases: tuple[str, ...]
    folder: Path
    listen: str
    allowed: tuple[str, ...]
    port: int = SERVER_PORT
    check_port: int = CHECK_PORT

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> MachineSettings:
        """
        Read the environment.

        Raises:
            PlanError: With every variable that is missing or wrong.
        """
        wanted = ("FLY_REGION", "PRIMARY_REGION", "OPERATOR_PASSWORD", "REPL_PASSWORD")
        faults = [f"{name} is not set" for name in wanted if not environ.get(name)]
        replica = environ.get("FLY_REGION") != environ.get("PRIMARY_REGION")
        app = environ.get("FLY_APP_NAME", "")
        told = environ.get("PRIMARY_ADDRESS", "")
        if replica and not app and not told:
            faults.append("FLY_APP_NAME is not set: a replica finds its primary by it")
        for key in ("PG_PORT", "CHECK_PORT"):
            if not _is_port(environ.get(key) or "1"):
                faults.append(f"{key}: {environ[key]!r} is no port")
        if told and not _is_port(told.rpartition(":")[2]):
            faults.append(f"PRIMARY_ADDRESS: {told!r} is no HOST:PORT")
        if faults:
            raise PlanError(*(f"database machine: {fault}" for fault in faults))
        host, _, port = told.rpartition(":")
        return cls(
            name=environ.get("FLY_MACHINE_ID") or environ["FLY_REGION"],
            replica=replica,
            primary=(host, int(port))
            if told
            else (f"{environ['PRIMARY_REGION']}.{app}.internal", SERVER_PORT),
            superuser_password=environ["OPERATOR_PASSWORD"],
            replication_password=environ["REPL_PASSWORD"],
            database=environ.get("DATABASE_NAME") or "recipes",
            more_databases=tuple(filter(None, environ.get("MORE_DATABASES", "").split(","))),
            folder=Path(environ.get("PG_FOLDER") or "/tmp/database"),  # noqa: S108 - a root disk
            listen=environ.get("LISTEN") or "*",
            # 6PN is fdaa::/16: no address of the internet is among them
            allowed=tuple((environ.get("ALLOWED") or "fdaa::/16,127.0.0.1/32,::1/128").split(",")),
            port=int(environ.get("PG_PORT") or SERVER_PORT),
            check_port=int(environ.get("CHECK_PORT") or CHECK_PORT),
        )


def _is_port(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) <= 5 and 0 < int(text) < 65_536


class DatabaseMachine:
    """
    The server of one machine.

    Args:
        settings: What it is to be.
    """

    def __init__(self, settings: MachineSettings) -> None:
        self._settings = settings
        self._process: subprocess.Popen[bytes] | None = None
        self._ending = threading.Event()

    def run(self) -> int:
        """
        Serve until a signal or until the server ends.

        Returns:
            0 after a signal, else the server's own exit code.

        Raises:
            WorldError: The cluster could not be made or copied.
        """
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._end)
        checks = threading.Thread(target=self._serve_checks, name="checks", daemon=True)
        checks.start()
        account = server_account()
        folder = self._settings.folder
        folder.mkdir(mode=0o711, parents=True, exist_ok=True)
        if not is_own_folder(folder):
            raise WorldError(f"{folder}: is not this user's own folder; set PG_FOLDER to one")
        let_enter(folder, account)
        binaries = find_postgres()
        if account.closed_dir(binaries.bin_dir):
            binaries = copy_binaries(binaries, folder / "program")
        data = folder / "data"
        if self._settings.replica:
            self._copy_primary(binaries.bin_dir, data, account)
        else:
            self._make_primary(data, account)
        if self._ending.is_set():
            return 0
        self._process = subprocess.Popen(
            [str(binaries.bin_dir / "postgres"), "-D", str(data), "-p", str(self._settings.port)],
            stdin=subprocess.DEVNULL,
            cwd="/",
            env=server_environment(),
            preexec_fn=die_with_parent(),  # noqa: PLW1509 - one prctl, loaded before the fork
            **account.options(),
        )
        code = self._wait()
        return 0 if self._ending.is_set() else code or 1

    def working(self) -> str:
        """Return nothing when the server does its work, else what is wrong, for a person."""
        settings = self._settings
        if self._process is None:
            return "not started yet"
        try:
            with psycopg.connect(
                host="127.0.0.1",
                port=settings.port,
                user=SUPERUSER,
                password=settings.superuser_password,
                dbname=settings.database,
                sslmode="disable",
                connect_timeout=_SESSION_S,
            ) as connection:
                if not settings.replica:
                    return ""
                streaming = connection.execute(
                    "SELECT 1 FROM pg_stat_wal_receiver WHERE status = 'streaming'"
                ).fetchone()
                return "" if streaming else f"no stream from {settings.primary[0]}"
        except psycopg.Error as error:
            return str(error).strip()

    def _end(self, _number: int, _frame: FrameType | None) -> None:
        self._ending.set()
        if self._process is not None:
            self._process.send_signal(signal.SIGINT)  # "fast": sessions are closed at once

    def _wait(self) -> int:
        """Return the server's exit code; after a signal of ours it has some seconds."""
        assert self._process is not None
        while not self._ending.is_set():
            try:
                return self._process.wait(timeout=1.0)
            except subprocess.TimeoutExpired:
                continue
        try:
            return self._process.wait(timeout=_QUIT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()

    def _make_primary(self, data: Path, account: Account) -> None:
        settings = self._settings
        if data.exists():
            return
        make_template(
            data,
            find_postgres(),
            account,
            databases=(settings.database, *settings.more_databases),
            superuser_password=settings.superuser_password,
            replication_password=settings.replication_password,
        )
        rules = "".join(
            f"host  {what:<12} {who:<11} {network}  scram-sha-256\n"
            for network in settings.allowed
            for what, who in (("all", "all"), ("replication", REPLICATION_USER))
        )
        write_private(data / "pg_hba.conf", rules, account)
        with (data / "postgresql.conf").open("a", encoding="utf-8") as file:
            file.write(f"listen_addresses = '{settings.listen}'\n")

    def _copy_primary(self, bin_dir: Path, data: Path, account: Account) -> None:
        """Copy the primary, however long it takes to come up: the platform's deadline decides."""
        settings = self._settings
        if (data / "standby.signal").exists():
            return
        shutil.rmtree(
            data, ignore_errors=True
        )  # a copy that is no standby yet would lead by itself
        host, port = settings.primary
        unfinished = data.with_name("data.unfinished")
        passfile = data.with_name("pgpass")
        escaped = settings.replication_password.replace("\\", "\\\\").replace(":", "\\:")
        write_private(passfile, f"*:*:*:{REPLICATION_USER}:{escaped}\n", account)
        told = ""
        while not self._ending.is_set():
            make_private_dir(unfinished, account)
            done = subprocess.run(
                [
                    *(str(bin_dir / "pg_basebackup"), "-h", host, "-p", str(port)),
                    *("-U", REPLICATION_USER, "-D", str(unfinished), "-X", "stream", "-c", "fast"),
                    *("--no-password", "--no-sync"),
                ],
                capture_output=True,
                text=True,
                cwd="/",
                env={**server_environment(), "PGPASSFILE": str(passfile), "PGCONNECT_TIMEOUT": "5"},
                check=False,
                **account.options(),
            )
            if done.returncode == 0:
                break
            reason = " ".join(done.stderr.split())
            if reason != told:
                told = reason
                _log.warning("waiting for the primary at %s:%d: %s", host, port, reason)
            shutil.rmtree(unfinished)  # a copy that broke off half-way
            time.sleep(_RETRY_S)
        else:
            return
        unfinished.rename(data)
        write_standby(data, settings.primary, settings.name, settings.replication_password, account)

    def _serve_checks(self) -> None:
        machine = self
        address = "::" if self._settings.listen == "*" else self._settings.listen

        class Handler(http.server.BaseHTTPRequestHandler):
            """Answers 200 when the server does its work, 503 and the reason otherwise."""

            def do_GET(self) -> None:
                wrong = machine.working()
                body = (wrong or "working").encode()
                self.send_response(503 if wrong else 200)
                self.send_header("content-type", "text/plain; charset=utf-8")
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Say nothing about each check."""

        class Server(http.server.ThreadingHTTPServer):
            """Listens to IPv6 and IPv4 alike: the platform's checks may come by either."""

            address_family = socket.AF_INET6 if ":" in address else socket.AF_INET

        Server((address, self._settings.check_port), Handler).serve_forever()
