"""What the servers of one world share: programs that their account reaches, and a template."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Sequence
from pathlib import Path

from loadtest.errors import WorldError
from loadtest.kernel.namespaces import mount_memory
from loadtest.world.postgres.binaries import (
    Account,
    PostgresBinaries,
    find_postgres,
    server_account,
)
from loadtest.world.postgres.cluster import (
    blank_beside,
    copy_binaries,
    let_enter,
    make_blank,
    make_template,
)

_sharing = threading.Lock()


def templates_dir(base: Path) -> Path:
    """Return where the data directories are that those of servers are made from."""
    return base / "postgres-templates"


def begin_early(base: Path, bin_dir: Path | None, *, shares: bool) -> None:
    """
    Begin to make what the first database of a world needs, in a thread of its own.

    Args:
        base: The world's folder.
        bin_dir: As for `PostgresSpec`.
        shares: As there; templates are in memory then, as they are written once and read by all.
    """
    folder = templates_dir(base.resolve())
    if shares:
        with contextlib.suppress(OSError):  # then they are on the disk
            folder.mkdir(exist_ok=True)
            mount_memory(folder, 0o711)

    def begin() -> None:
        with contextlib.suppress(WorldError, OSError), _sharing:  # told when a server is wanted
            account = server_account()
            binaries = _reachable(bin_dir, account, base.resolve())
            _let_through(folder)
            make_blank(blank_beside(folder / "any"), binaries, account)

    threading.Thread(target=begin, name="blank-database", daemon=True).start()


def _reachable(bin_dir: Path | None, account: Account, base: Path) -> PostgresBinaries:
    """Return programs that the account can run, and let it into the world's folder."""
    let_enter(base, account)
    binaries = find_postgres(bin_dir)
    if account.closed_dir(binaries.bin_dir):
        binaries = copy_binaries(binaries, base / "postgres-program")
    return binaries


def make_shared(
    base: Path,
    bin_dir: Path | None,
    account: Account,
    *,
    template: Path,
    databases: Sequence[str],
    superuser_password: str,
    replication_password: str,
) -> PostgresBinaries:
    """
    Make what all servers of a world share, once: programs that the account reaches, and a template.

    Args:
        base: The world's folder, resolved.
        bin_dir: As for `PostgresSpec`.
        account: Who runs the servers.
        template: As for `make_template`, as what follows.
        databases: Names of the databases that exist from the start.
        superuser_password: For the role ``postgres``.
        replication_password: For the role ``replicator``.

    Raises:
        WorldError: No server program, no permission, no space, or a step failed.
    """
    with _sharing:
        binaries = _reachable(bin_dir, account, base)
        _let_through(template.parent)
        make_template(
            template,
            binaries,
            account,
            databases=databases,
            superuser_password=superuser_password,
            replication_password=replication_password,
        )
        return binaries


def _let_through(folder: Path) -> None:
    """Make a folder that every account may pass through; what is in it is private."""
    folder.mkdir(exist_ok=True)
    folder.chmod(folder.stat().st_mode | 0o011)
