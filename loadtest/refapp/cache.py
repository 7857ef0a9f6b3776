"""The reference app's cache and queue: every round trip is meant, counted and timed."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Any

from valkey.asyncio import BlockingConnectionPool, Valkey
from valkey.exceptions import ResponseError, ValkeyError

from loadtest.refapp.ledger import Distance, Ledger

_TIMEOUT_S = 5.0
_RETRY_S = 0.2
_logger = logging.getLogger(__name__)


class CacheAwayError(Exception):
    """The cache does not answer."""


class QueueFullError(Exception):
    """The server has no memory for another job, and says so: nothing of it was taken."""


class Cache:
    """
    One Redis-compatible server.

    Args:
        url: ``redis://host:6379/0``
        size: Connections kept open, so that none is opened while load is on.
    """

    def __init__(self, url: str, size: int) -> None:
        # the client's name and library are not told: two round trips of a new connection
        pool: Any = BlockingConnectionPool.from_url(
            url,
            max_connections=size,
            timeout=_TIMEOUT_S,
            socket_timeout=_TIMEOUT_S,
            socket_connect_timeout=_TIMEOUT_S,
            protocol=2,
            lib_name=None,
            lib_version=None,
        )
        self._client: Any = Valkey(connection_pool=pool)
        self._size = size
        self._distance = Distance()
        self._filling: asyncio.Task[None] | None = None
        self.ready = False

    def open(self) -> None:
        """Begin to connect, all connections at once; `ready` tells when all of them are there."""
        self._filling = asyncio.create_task(self._fill())

    async def close(self) -> None:
        """Close every connection."""
        if self._filling is not None:
            self._filling.cancel()
        await self._client.connection_pool.disconnect()

    async def ask(self, ledger: Ledger, *words: str | int) -> Any:
        """
        Send one command in one round trip and return its answer.

        Raises:
            CacheAwayError: It does not answer.
            QueueFullError: It has no memory left, and is set to refuse what needs more.
        """
        begun_ns, answered = time.monotonic_ns(), True
        try:
            return await self._client.execute_command(*words)
        except ResponseError as error:
            if str(error).startswith("OOM") or "maxmemory" in str(error):
                raise QueueFullError(str(error)) from error
            raise
        except (ValkeyError, OSError, TimeoutError) as error:
            answered = False
            raise CacheAwayError(str(error)) from error
        finally:
            took_ns = time.monotonic_ns() - begun_ns
            ledger.cache_ns += took_ns
            ledger.cache_round_trips += 1
            if answered:
                ledger.away_ns += self._distance.note(took_ns)

    async def _fill(self) -> None:
        pool = self._client.connection_pool
        while not self.ready:
            asked = (pool.get_connection("PING") for _ in range(self._size))
            got = await asyncio.gather(*asked, return_exceptions=True)
            held = [one for one in got if not isinstance(one, BaseException)]
            # all of them, also where one failed: what is not given back is missing for good
            await asyncio.gather(*(pool.release(connection) for connection in held))
            failed = [one for one in got if isinstance(one, BaseException)]
            if not failed:
                self.ready = True
                return
            if not isinstance(failed[0], (ValkeyError, OSError, TimeoutError)):
                raise failed[0]
            _logger.warning("the cache does not answer yet: %s", failed[0])
            await pool.disconnect()
            await asyncio.sleep(_RETRY_S)
