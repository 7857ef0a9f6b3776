"""The reference app's database sessions: every round trip is meant, counted and timed."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, LiteralString, TypeVar

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.rows import class_row
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from loadtest.refapp.ledger import Distance, Ledger
from loadtest.turns import Turns

Row = TypeVar("Row")
Connection = psycopg.AsyncConnection[tuple[Any, ...]]

# Each of these would cost round trips that nobody asked for: a transaction around every statement
# adds two, preparing a statement on its sixth use adds one.
_SESSION: dict[str, Any] = {"autocommit": True, "prepare_threshold": None}
_OUTLIVE_ANY_RUN_S = 86_400.0
_ACQUIRE_TIMEOUT_S = 10.0
_RETRY_S = 0.2
_logger = logging.getLogger(__name__)


class DatabaseSession:
    """One request's use of one connection."""

    def __init__(self, connection: Connection, ledger: Ledger, database: Database) -> None:
        self._connection = connection
        self._ledger = ledger
        self._database = database

    async def fetch(
        self, row: type[Row], query: LiteralString, parameters: dict[str, Any] | None = None
    ) -> list[Row]:
        """
        Run one statement in one round trip and return its rows.

        Args:
            row: Class of a row, made from the columns by name.
            query: The statement.
            parameters: Values of its named placeholders.
        """
        begun_ns = time.monotonic_ns()
        try:
            async with self._connection.cursor(row_factory=class_row(row)) as cursor:
                await cursor.execute(query, parameters)
                rows = await cursor.fetchall()
            # one that failed tells nothing of the distance: a broken connection fails at once
            self._ledger.away_ns += self._database.distance.note(time.monotonic_ns() - begun_ns)
            return rows
        finally:
            self._ledger.database_ns += time.monotonic_ns() - begun_ns
            self._ledger.round_trips += 1

    async def value(self, statement: str) -> object:
        """Return the only value that a statement gives; it is counted nowhere."""
        cursor = await self._connection.execute(statement.encode())
        row = await cursor.fetchone()
        return None if row is None else row[0]


class Database:
    """
    Sessions with one database, from a pool, some with a connection of their own.

    Args:
        url: The database's URL.
        size: Connections in the pool.  It neither grows nor shrinks, and connections are not
            replaced by age, so that no connection is opened while load is on.
        name: Shown by the server in ``pg_stat_activity``.
        new_share: Share of sessions that open a connection and close it; all others have theirs
            from the pool, and there is none where all do.
        new_url: Where those lead; empty for ``url``.
    """

    def __init__(
        self, url: str, *, size: int, name: str, new_share: float = 0.0, new_url: str = ""
    ) -> None:
        self._conninfo = connection_string(url, name)
        self._new_conninfo = connection_string(new_url or url, name)
        self._size = size
        self._pool: AsyncConnectionPool[Connection] | None = None
        self._filling: asyncio.Task[None] | None = None
        self._new_share = new_share
        self._turns = Turns()
        self._opened: list[Connection] = []
        self.distance = Distance()
        self.ready = False

    def open(self) -> None:
        """Begin to connect, all connections at once; `ready` tells when all of them are there."""
        if self._new_share < 1:
            self._pool = AsyncConnectionPool(
                self._conninfo,
                connection_class=_PooledConnection,
                kwargs={**_SESSION, "opened": self._opened},
                min_size=self._size,
                max_size=self._size,
                max_lifetime=_OUTLIVE_ANY_RUN_S,
                max_idle=_OUTLIVE_ANY_RUN_S,
                timeout=_ACQUIRE_TIMEOUT_S,
                num_workers=self._size,
                open=False,
            )
        self._filling = asyncio.create_task(self._fill())

    async def close(self) -> None:
        """Close every connection."""
        if self._filling is not None:
            self._filling.cancel()
        if self._pool is not None:
            await self._pool.close()

    @asynccontextmanager
    async def session(self, ledger: Ledger) -> AsyncIterator[DatabaseSession]:
        """
        Lend a connection; the time until it is there counts as time spent on the database.

        Raises:
            psycopg.OperationalError: The database cannot be reached, or the pool stayed empty.
        """
        begun_ns = time.monotonic_ns()
        pool = None if self._turns.take(self._new_share) else self._pool
        if pool is None:
            connection = await self._connect(self._new_conninfo)
            trips = connect_round_trips(connection)
            ledger.round_trips += trips
            ledger.away_ns += trips * self.distance.away_ns
        else:
            connection = await pool.getconn()
        ledger.database_ns += time.monotonic_ns() - begun_ns
        try:
            yield DatabaseSession(connection, ledger, self)
        finally:
            if pool is None:
                await connection.close()
            else:
                await pool.putconn(connection)

    async def value(self, statement: str) -> object:
        """
        Return the only value that a statement gives, on behalf of no request.

        Args:
            statement: SQL of ours; it has no parameters.
        """
        async with self.session(Ledger()) as session:
            return await session.value(statement)

    async def _connect(self, conninfo: str) -> Connection:
        """Open a connection outside any pool."""
        return await psycopg.AsyncConnection.connect(conninfo, **_SESSION)

    async def _fill(self) -> None:
        """
        Wait until a connection has succeeded and the pool, if there is one, is full.

        The pool's connections are opened here, all at once: it would wait ever longer after each
        that failed, and a first one to ask whether the database is up would double the way there.
        """
        while not self.ready:
            try:
                size = self._size if self._pool is not None else 1
                async with asyncio.TaskGroup() as group:
                    for _ in range(size):
                        group.create_task(self._open_one())
                if self._pool is not None:
                    await self._pool.open(wait=True, timeout=_ACQUIRE_TIMEOUT_S)
                await self._close_opened()
                self.ready = True
            except* (psycopg.OperationalError, PoolTimeout) as errors:
                _logger.warning("the database does not answer yet: %s", errors.exceptions[0])
                await self._close_opened()
                await asyncio.sleep(_RETRY_S)

    async def _open_one(self) -> None:
        self._opened.append(await self._connect(self._conninfo))

    async def _close_opened(self) -> None:
        while self._opened:
            await self._opened.pop().close()


class _PooledConnection(psycopg.AsyncConnection[tuple[Any, ...]]):
    """A connection of a pool that takes those first that are open already."""

    @classmethod
    async def connect(  # type: ignore[override]  # what the pool calls it with is ours
        cls, conninfo: str = "", *, opened: list[Connection], **kwargs: Any
    ) -> Connection:
        """Return an open connection, or open one."""
        return opened.pop() if opened else await super().connect(conninfo, **kwargs)


def connection_string(url: str, name: str) -> str:
    """
    Return a URL as a libpq connection string.

    On a private network libpq's defaults would ask the server for encryption first, one round trip
    that is always refused there; so it is not asked for, unless the URL says otherwise.

    Args:
        url: ``postgres://...``
        name: The application's name.

    Raises:
        psycopg.ProgrammingError: The URL cannot be parsed.
    """
    given = conninfo_to_dict(url)
    defaults: dict[str, Any] = {"application_name": name, "connect_timeout": 10}
    if _is_private(str(given.get("host") or "localhost")):
        defaults |= {"sslmode": "disable", "gssencmode": "disable"}
    return make_conninfo(url, **{k: v for k, v in defaults.items() if k not in given})


def connect_round_trips(connection: Connection) -> int:
    """
    Return how many round trips opening a connection took.

    TCP's handshake 1; asking for encryption 1 and, if granted, TLS 1.3 another 1; the start-up
    message 1; SCRAM 2 more.  Without encryption and with a SCRAM password: 4.
    """
    pgconn = connection.pgconn
    given = conninfo_to_dict(connection.info.dsn)
    asked = given.get("sslmode", "prefer") != "disable"
    return 2 + int(asked) + int(pgconn.ssl_in_use) + 2 * int(pgconn.used_password)


def _is_private(host: str) -> bool:
    """Tell whether a host is this machine or inside Fly's private network."""
    if host == "localhost" or host.endswith((".internal", ".flycast")) or host.startswith("/"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
