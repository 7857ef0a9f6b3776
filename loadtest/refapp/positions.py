"""
Read your writes by the database's own position, in place of some seconds in the primary region.

After a write the primary's position in its log (LSN) goes into a cookie.  A later read in another
region waits until its replica has replayed that far, for a little while, and is replayed in the
primary region only if it has not: what a visitor wrote is never missing, and most reads stay near.

Sources: PostgreSQL documentation, 9.28 (pg_current_wal_lsn, pg_last_wal_replay_lsn) and 8.20
(pg_lsn: two hexadecimal numbers of up to eight digits).
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import Final

from loadtest.refapp.regional_policy import RegionalSettings, cookie_values

LSN_COOKIE: Final = "fly-replay-lsn"
LSN_AGE_S: Final = 300
"""How long a browser keeps a position; a replica that lags longer is none to read from."""

WAIT_S: Final = 0.25
"""How long a read waits for its replica: about the way to the primary region and back."""

WRITTEN: Final = "SELECT pg_current_wal_lsn()::text"
REPLAYED: Final = "SELECT COALESCE(pg_last_wal_replay_lsn()::text, pg_current_wal_lsn()::text)"

_LSN: Final = re.compile(r"([0-9A-Fa-f]{1,8})/([0-9A-Fa-f]{1,8})")
_LOOK_EVERY_S: Final = 0.005

Ask = Callable[[str], object]
AskAsync = Callable[[str], Awaitable[object]]


def parse_lsn(text: str) -> int | None:
    """Return a position as a number of bytes, None where the text is none."""
    found = _LSN.fullmatch(text.strip())
    return None if found is None else int(found[1], 16) << 32 | int(found[2], 16)


def newest_lsn(cookie_headers: Iterable[str]) -> int | None:
    """Return the furthest position that a visitor's cookies name; None without one."""
    found = (parse_lsn(text) for text in cookie_values(LSN_COOKIE, cookie_headers))
    return max((lsn for lsn in found if lsn is not None), default=None)


def lsn_cookie(position: str) -> str:
    """Return the Set-Cookie header that remembers a position."""
    return f"{LSN_COOKIE}={position}; Max-Age={LSN_AGE_S}; Path=/; HttpOnly; SameSite=Lax"


class DatabasePosition:
    """
    Where the database of this region is, asked by one SQL statement each time.

    Args:
        ask: Runs a statement on the database that pages read from, and returns its only value.
        wait_s: How long `reached` waits at most.
        monotonic: Clock, in seconds.
        sleep: Waits some seconds.
    """

    def __init__(
        self,
        ask: Ask,
        wait_s: float = WAIT_S,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        self._ask = ask
        self._wait_s = wait_s
        self._monotonic = monotonic
        self._sleep = sleep

    def written(self) -> str:
        """Return the primary's position: all that was committed is before it."""
        return str(self._ask(WRITTEN))

    def reached(self, lsn: int) -> bool:
        """Wait until the replica has replayed as far as ``lsn``; tell whether it has in time."""
        end_s = self._monotonic() + self._wait_s
        while (parse_lsn(str(self._ask(REPLAYED))) or 0) < lsn:
            if self._monotonic() >= end_s:
                return False
            self._sleep(_LOOK_EVERY_S)
        return True


class AsyncDatabasePosition:
    """
    The same for apps that wait asynchronously, see `DatabasePosition`.

    Args:
        ask: Runs a statement on the database that pages read from, and returns its only value.
        wait_s: How long `reached` waits at most.
        monotonic: Clock, in seconds.
        sleep: Waits some seconds.
    """

    def __init__(
        self,
        ask: AskAsync,
        wait_s: float = WAIT_S,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self._ask = ask
        self._wait_s = wait_s
        self._monotonic = monotonic
        self._sleep = sleep

    async def written(self) -> str:
        """Return the primary's position: all that was committed is before it."""
        return str(await self._ask(WRITTEN))

    async def reached(self, lsn: int) -> bool:
        """Wait until the replica has replayed as far as ``lsn``; tell whether it has in time."""
        end_s = self._monotonic() + self._wait_s
        while (parse_lsn(str(await self._ask(REPLAYED))) or 0) < lsn:
            if self._monotonic() >= end_s:
                return False
            await self._sleep(_LOOK_EVERY_S)
        return True


def position_to_wait_for(
    settings: RegionalSettings, cookie_headers: Iterable[str], *, replay_failed: bool
) -> int | None:
    """Return the position that this region's replica has to have reached; None where none."""
    if not settings.secondary or replay_failed:
        return None
    return newest_lsn(cookie_headers)
