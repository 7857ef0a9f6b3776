"""Makes a PostgreSQL data directory by initdb that those of all servers are made from."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from loadtest.errors import WorldError
from loadtest.world.postgres.binaries import Account, PostgresBinaries

SUPERUSER = "postgres"
REPLICATION_USER = "replicator"

_BASE_SETTINGS: Mapping[str, str] = {
    # Loopback only: no server of the embedded world is reachable from another machine.
    "listen_addresses": "'127.0.0.1'",
    "unix_socket_directories": "''",
    "password_encryption": "'scram-sha-256'",
    # A world lives for minutes and is thrown away, so nothing waits for a disk.  Commits stay
    # synchronous all the same: with synchronous_commit=off the WAL sender waits for the WAL
    # writer's 200 ms round, and a replica would lag by that much instead of by its link.
    "fsync": "off",
    "full_page_writes": "off",
    "synchronous_commit": "on",
    # As Fly's postgres-flex.  A standby must not have less than its primary, so all have the same.
    "max_connections": "300",
    "max_wal_senders": "50",
    "wal_level": "replica",
    "hot_standby": "on",
    "wal_keep_size": "'512MB'",  # a replica that starts late still finds what it missed
    "max_wal_size": "'64MB'",
    "min_wal_size": "'8MB'",  # at least two segments
    "wal_receiver_status_interval": "'1s'",
    "wal_retrieve_retry_interval": "'200ms'",  # the default of 5 s makes a healed link look cut
    "wal_receiver_timeout": "'10s'",
    "wal_sender_timeout": "'10s'",
    "shared_buffers": "'16MB'",
    # POSIX shared memory in /dev/shm would outlive a kill -9; files in the data directory do not.
    "dynamic_shared_memory_type": "'mmap'",
    "huge_pages": "off",
    # Background work that a small database does not need and that would steal CPU from the test.
    "jit": "off",
    "max_parallel_workers": "0",
    "max_logical_replication_workers": "0",
    "autovacuum_max_workers": "1",
    "timezone": "'UTC'",
    "log_timezone": "'UTC'",
    "log_checkpoints": "off",
    "log_line_prefix": "'%m [%p] '",
}

_ACCESS_RULES = f"""\
# Loopback and passwords only.
host  all          all                 127.0.0.1/32  scram-sha-256
host  replication  {REPLICATION_USER}  127.0.0.1/32  scram-sha-256
"""


def server_settings(major: int) -> str:
    """Return the content of postgresql.conf, shared by every server of a world."""
    settings = dict(_BASE_SETTINGS)
    if major >= 18:
        settings["io_method"] = "'sync'"  # the default starts three I/O workers per server
    return "".join(f"{name} = {value}\n" for name, value in settings.items())


def quote_setting(value: str) -> str:
    """Return a string as a value of a PostgreSQL configuration file."""
    doubled = value.replace("\\", "\\\\").replace("'", "''")
    return f"'{doubled}'"


def quote_conninfo(value: str) -> str:
    """Return a string as a value of a libpq connection string."""
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def server_environment() -> dict[str, str]:
    """
    Return the environment of a server.

    Nothing of the caller's PG* variables may reach it: the WAL receiver is a libpq client.
    """
    kept = {k: os.environ[k] for k in ("PATH", "LD_LIBRARY_PATH", "TMPDIR") if k in os.environ}
    return {**kept, "LC_ALL": "C", "TZ": "UTC"}


def write_private(path: Path, content: str, account: Account) -> None:
    """Write a file that only the account may read; it is never open to others, not even briefly."""
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(content)
    account.own(path)


def let_enter(base: Path, account: Account) -> None:
    """
    Let the account pass through the world's folder, without letting it list what is there.

    Raises:
        WorldError: A folder further up is closed to the account, which is not ours to change.
    """
    if account.closed_dir(base) == base:
        base.chmod(base.stat().st_mode | 0o011)
    if closed := account.closed_dir(base):
        raise WorldError(
            f"PostgreSQL runs as {account.name!r}, which may not enter {closed}: point TMPDIR to"
            " a folder that every user may enter, such as /tmp, or do not run as root"
        )


def make_private_dir(path: Path, account: Account) -> None:
    """
    Make a folder that only the account may enter, if there is none.

    Raises:
        WorldError: It cannot be made.
    """
    try:
        path.mkdir(mode=0o700, exist_ok=True)
        account.own(path)
    except OSError as error:
        raise WorldError(
            f"cannot make the folder {path} for PostgreSQL ({error.strerror}): check the"
            " permissions and the free space, or point TMPDIR elsewhere"
        ) from error


def make_blank(blank: Path, binaries: PostgresBinaries, account: Account) -> None:
    """
    Make an empty data directory that `make_template` may take, which is most of its work.

    The directory appears whole or not at all.  Blocks for about a second.

    Args:
        blank: The directory to make; nothing happens if it is there.
        binaries: The server to use.
        account: Who owns it.

    Raises:
        WorldError: A step failed; the message has its last lines.
    """
    if blank.exists():
        return
    unfinished = blank.with_name(blank.name + ".unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    make_private_dir(unfinished, account)
    run_tool(
        # C locale: no locale data needed, and the same order everywhere.  Small WAL segments:
        # a fresh copy is 30 MB instead of 45.
        [
            *(binaries.bin_dir / "initdb", "-D", unfinished, "-U", SUPERUSER, "-A", "trust"),
            *("-E", "UTF8", "--locale=C", "--no-sync", "--wal-segsize=1", "--no-instructions"),
        ],
        account,
    )
    write_private(unfinished / "postgresql.conf", server_settings(binaries.major), account)
    # Who may connect is said before any server runs: with a password, as it is set by then.
    write_private(unfinished / "pg_hba.conf", _ACCESS_RULES, account)
    unfinished.rename(blank)


def make_template(
    template: Path,
    binaries: PostgresBinaries,
    account: Account,
    *,
    databases: Sequence[str],
    superuser_password: str,
    replication_password: str,
) -> None:
    """
    Make a cleanly shut down data directory with the passwords and the databases in it.

    The directory appears whole or not at all.  Blocks for about a second, less where a blank one
    stands beside it, which is used up.

    Args:
        template: The directory to make; nothing happens if it is there.
        binaries: The server to use.
        account: Who owns it.
        databases: Names of the databases to create.
        superuser_password: For the role ``postgres``.
        replication_password: For the role ``replicator``.

    Raises:
        WorldError: A step failed; the message has its last lines.
    """
    if template.exists():
        return
    blank = blank_beside(template)
    make_blank(blank, binaries, account)
    secrets = (superuser_password, replication_password)
    role = quote_identifier(REPLICATION_USER)
    statements = [
        f"ALTER ROLE {quote_identifier(SUPERUSER)} PASSWORD {_literal(superuser_password)}\n",
        f"CREATE ROLE {role} LOGIN REPLICATION PASSWORD {_literal(replication_password)}\n",
        *(f"CREATE DATABASE {quote_identifier(name)}\n" for name in databases),
    ]
    unfinished = template.with_name(template.name + ".unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    blank.rename(unfinished)
    run_tool(
        [
            *(binaries.bin_dir / "postgres", "--single", "-D", unfinished),
            *("-c", "exit_on_error=on", "postgres"),
        ],
        account,
        secrets,
        "".join(statements),
    )
    unfinished.rename(template)


def blank_beside(template: Path) -> Path:
    """Return where the blank data directory stands that a template is made from."""
    return template.with_name("postgres-blank")


def copy_binaries(binaries: PostgresBinaries, target: Path) -> PostgresBinaries:
    """
    Copy an installation to where every account may run it, unless that was done before.

    A wheel keeps shared libraries in a folder beside its package and finds them by a relative
    path, so the copy has the same shape.

    Args:
        binaries: What to copy.
        target: Folder to copy to, on a path that every account may enter.

    Returns:
        The copy.
    """
    package = binaries.install_dir.parent
    copied = PostgresBinaries(
        target / package.name / binaries.install_dir.name / "bin", binaries.version, binaries.source
    )
    if target.exists():
        return copied
    unfinished = target.with_name(target.name + ".unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    shutil.copytree(
        binaries.install_dir,
        unfinished / package.name / binaries.install_dir.name,
        symlinks=True,
        ignore=shutil.ignore_patterns("include", "__pycache__"),
    )
    libraries = package.with_name(package.name + ".libs")
    if libraries.is_dir():
        shutil.copytree(libraries, unfinished / libraries.name, symlinks=True)
    for path in [unfinished, *unfinished.rglob("*")]:
        if not path.is_symlink():
            path.chmod(path.stat().st_mode | (0o055 if path.is_dir() else 0o044))
            if path.stat().st_mode & 0o100:
                path.chmod(path.stat().st_mode | 0o011)
    unfinished.rename(target)
    return copied


def write_standby(
    data: Path, primary: tuple[str, int], name: str, password: str, account: Account
) -> None:
    """
    Make a copied data directory a streaming standby of ``primary``.

    The password stays in a file of its own, where no view of the server shows it.

    Args:
        data: The data directory.
        primary: Address to stream from: the near end of a link, or the primary itself.
        name: How the standby introduces itself, visible in ``pg_stat_replication``.
        password: Of the role ``replicator``.
        account: Who owns the files.
    """
    passfile = data / "replication.pgpass"
    escaped = password.replace("\\", "\\\\").replace(":", "\\:")
    write_private(passfile, f"*:*:*:{REPLICATION_USER}:{escaped}\n", account)
    host, port = primary
    conninfo = (
        f"host={quote_conninfo(host)} port={port} user={REPLICATION_USER}"
        f" application_name={quote_conninfo(name)} passfile={quote_conninfo(str(passfile))}"
        " sslmode=disable gssencmode=disable"
    )
    settings = f"primary_conninfo = {quote_setting(conninfo)}\n"
    write_private(data / "postgresql.auto.conf", settings, account)
    write_private(data / "standby.signal", "", account)


def quote_identifier(name: str) -> str:
    """Return a name as an SQL identifier."""
    doubled = name.replace('"', '""')
    return f'"{doubled}"'


def _literal(value: str) -> str:
    """Return a string as an SQL literal, whatever characters are in it."""
    doubled = value.replace("\\", "\\\\").replace("'", "''")
    return f"E'{doubled}'"


def run_tool(
    command: Sequence[str | Path], account: Account, secrets: tuple[str, ...] = (), stdin: str = ""
) -> None:
    """
    Run a tool to its end.

    Args:
        command: The program and its arguments.
        account: Who runs it.
        secrets: What must not be shown.
        stdin: What it reads.

    Raises:
        WorldError: It failed; with its last lines.
    """
    name = Path(command[0]).name
    try:
        done = subprocess.run(
            command,
            input=stdin,
            capture_output=True,
            text=True,
            cwd="/",
            env=server_environment(),
            timeout=60,
            check=False,
            **account.options(),
        )
    except subprocess.TimeoutExpired:
        raise WorldError(f"{name} did not finish within 60 s: the machine is overloaded") from None
    except OSError as error:
        raise WorldError(f"{name} could not be started: {error.strerror} ({command[0]})") from error
    if done.returncode != 0:
        lines = "\n".join((done.stdout + done.stderr).strip().splitlines()[-8:])
        for secret in secrets:
            lines = lines.replace(secret, "***")
        raise WorldError(f"{name} failed with exit code {done.returncode}:\n{lines}")
