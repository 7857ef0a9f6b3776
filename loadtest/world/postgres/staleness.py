"""
How long after its commit a write is seen in a database's replicas, probed while there is load.

The write changes nothing: an empty message in the primary's log, committed like any other.  A
replica has seen it once it has replayed as far as the primary's log was then.

Source: PostgreSQL documentation, 9.28 (pg_logical_emit_message, pg_last_wal_replay_lsn).
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from loadtest.world.postgres.cluster import SUPERUSER

EVERY_S: Final = 1.0
WITHIN_S: Final = 5.0
_EARLY_S: Final = 0.002
_FIRST_PAUSE_S: Final = 0.0003
_LONGEST_PAUSE_S: Final = 0.02
_CONNECT_S: Final = 2
_COMMIT: Final = "SELECT pg_logical_emit_message(true, 'loadtest', '')"
_REACHED: Final = "SELECT pg_current_wal_flush_lsn()::text"
_SEEN: Final = "SELECT pg_last_wal_replay_lsn() >= %s::pg_lsn"


@dataclass(frozen=True, slots=True, repr=False)
class ProbedServer:
    """A server of this world, as the world itself reaches it; how far it is from its primary."""

    region: str
    port: int
    password: str
    database: str
    one_way_ns: int


class StalenessProbe:
    """
    Probes the replicas of one database.

    Args:
        primary: The server that takes writes.
        replicas: Those that follow it.

    ``seen`` has for each replica when a write was committed, CLOCK_MONOTONIC, and how many
    nanoseconds later it was seen there; None where that took ``WITHIN_S`` or the replica was away.
    """

    def __init__(self, primary: ProbedServer, replicas: Sequence[ProbedServer]) -> None:
        self.primary = primary
        self.replicas = tuple(replicas)
        self.seen: list[list[tuple[int, int | None]]] = [[] for _ in replicas]
        self._open: dict[int, Any] = {}

    async def run(self) -> None:
        """Probe again and again; never returns.  A primary that is away is asked the next time."""
        import psycopg

        try:
            while True:
                await asyncio.sleep(EVERY_S)
                with contextlib.suppress(psycopg.Error):
                    await self._value(self.primary, _COMMIT)
                    sent_ns = time.monotonic_ns()
                    position = await self._value(self.primary, _REACHED)
                    looks = (self._look(n, sent_ns, position) for n in range(len(self.replicas)))
                    await asyncio.gather(*looks)
        finally:
            for connection in self._open.values():
                await connection.close()

    async def _look(self, number: int, sent_ns: int, position: object) -> None:
        """Look, from shortly before a write can be there, until it is."""
        import psycopg

        replica, pause_s, took_ns = self.replicas[number], _FIRST_PAUSE_S, None
        until_ns = sent_ns + round(WITHIN_S * 1e9)
        due_s = (sent_ns + replica.one_way_ns - time.monotonic_ns()) / 1e9 - _EARLY_S
        await asyncio.sleep(max(0.0, due_s))
        with contextlib.suppress(psycopg.Error):
            while took_ns is None and time.monotonic_ns() < until_ns:
                if await self._value(replica, _SEEN, position):
                    took_ns = time.monotonic_ns() - sent_ns
                else:
                    await asyncio.sleep(pause_s)
                    pause_s = min(pause_s * 1.1, _LONGEST_PAUSE_S)
        self.seen[number].append((sent_ns, took_ns))

    async def _value(self, server: ProbedServer, statement: str, *parameters: object) -> object:
        """Return what a statement gives; a connection that fails is opened anew the next time."""
        import psycopg

        connection = self._open.pop(server.port, None)
        if connection is None:
            connection = await psycopg.AsyncConnection.connect(
                host="127.0.0.1",
                port=server.port,
                user=SUPERUSER,
                password=server.password,
                dbname=server.database,
                sslmode="disable",
                gssencmode="disable",
                connect_timeout=_CONNECT_S,
                application_name="loadtest",
                autocommit=True,
            )
        try:
            row = await (await connection.execute(statement, parameters or None)).fetchone()
        except BaseException:
            await connection.close()
            raise
        self._open[server.port] = connection
        return None if row is None else row[0]
