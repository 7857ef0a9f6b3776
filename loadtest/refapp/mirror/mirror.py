"""
``python -m loadtest.refapp mirror``: carries a cache's writes to those of the other regions.

One stands beside the cache of each region, which is a stock Valkey and knows nothing of it.  It
follows the cache's writes as a replica would, sends them to its peers, and applies what they send.
What cannot be told from its stream is carried, too: a key that a full cache evicts is deleted
everywhere.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import signal
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from valkey.asyncio import Valkey
from valkey.exceptions import ResponseError, ValkeyError

from loadtest.refapp.mirror.merge import Effect, Merge
from loadtest.refapp.mirror.peers import Peer, Receiver
from loadtest.refapp.mirror.source import CHANNEL, Follower, Told
from loadtest.refapp.resp import ProtocolError
from loadtest.refapp.settings import SettingsError, cache_url, number, pairs, place

_RETRY_S = 0.2
_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class MirrorSettings:
    """
    A mirror's settings.

    Args:
        host: Address to listen on: FLY_PRIVATE_IP, else this machine only.
        port: Port to listen on: MIRROR_PORT.
        region: Where this process runs: FLY_REGION.
        url: The cache beside it: CACHE_URL, else REDIS_URL.
        peers: Where the others listen, by region: MIRROR_PEERS; the own region may be among them.
        last_wins: Numbers of the databases in which the last write wins: MIRROR_LWW.
        backlog: Writes that are kept for a region that does not answer: MIRROR_BACKLOG.
    """

    host: str
    port: int
    region: str
    url: str
    peers: Mapping[str, tuple[str, int]]
    last_wins: frozenset[int]
    backlog: int

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> MirrorSettings:
        """
        Read the settings.

        Raises:
            SettingsError: A variable is missing or has a value that cannot be meant.
        """
        url = cache_url(environ, "CACHE_URL") or cache_url(environ, "REDIS_URL")
        region = environ.get("FLY_REGION", "")
        if not url or not region:
            raise SettingsError(
                "a mirror needs CACHE_URL (redis://host:6379/0) and FLY_REGION (such as cdg)"
            )
        numbers = [text.strip() for text in environ.get("MIRROR_LWW", "").split(",")]
        if not all(text.isascii() and text.isdigit() for text in numbers if text):
            raise SettingsError(
                f"MIRROR_LWW is {environ['MIRROR_LWW']!r}: expected numbers of databases, as 1,2"
            )
        return cls(
            host=environ.get("FLY_PRIVATE_IP") or "127.0.0.1",
            port=int(number(environ, "MIRROR_PORT", 7400, 1, 65_535)),
            region=region,
            url=url,
            peers={
                name: place("MIRROR_PEERS", text)
                for name, text in pairs(environ, "MIRROR_PEERS").items()
                if name != region
            },
            last_wins=frozenset(int(text) for text in numbers if text),
            backlog=int(number(environ, "MIRROR_BACKLOG", 100_000, 1, 10_000_000)),
        )


class Mirror:
    """One region's mirror."""

    def __init__(self, settings: MirrorSettings) -> None:
        self._settings = settings
        self._merge = Merge(settings.region, settings.last_wins)
        run = secrets.token_hex(8)
        self._peers = [
            Peer(settings.region, run, region, place, settings.backlog)
            for region, place in settings.peers.items()
        ]
        self._caches: dict[int, Any] = {}
        self._again: asyncio.Queue[Effect] = asyncio.Queue()

    async def run(self) -> None:
        """Mirror until cancelled: the port is open as soon as the cache's writes are followed."""
        receiver = Receiver(self._take)
        server: asyncio.Server | None = None
        async with asyncio.TaskGroup() as tasks:
            try:
                for peer in self._peers:
                    tasks.create_task(peer.keep_sending())
                tasks.create_task(self._keep_applying())
                while True:
                    try:
                        async with Follower(self._settings.url).follow() as told:
                            if server is None:
                                server = await asyncio.start_server(
                                    receiver.serve, self._settings.host, self._settings.port
                                )
                            await self._follow(told)
                    except (OSError, EOFError, ProtocolError, ValueError) as error:
                        _logger.warning("the cache's writes are not followed: %s", error)
                    await asyncio.sleep(_RETRY_S)
            finally:
                if server is not None:
                    server.close()
                for cache in self._caches.values():
                    await cache.aclose()

    async def _follow(self, told: AsyncIterator[Told]) -> None:
        async for event in told:
            if event.applied is not None:
                again = self._merge.applied(event.applied)
                if again is not None:
                    self._again.put_nowait(again)
            for database, words in event.writes:
                for effect in self._merge.local(database, words, time.time_ns()):
                    for peer in self._peers:
                        peer.put(effect)

    async def _take(self, effect: Effect) -> None:
        if self._merge.remote(effect):
            await self._apply(effect)

    async def _keep_applying(self) -> None:
        while True:
            await self._apply(await self._again.get())

    async def _apply(self, effect: Effect) -> None:
        """Apply one, with its stamp beside it so that it is known when the cache tells of it."""
        if effect.database not in self._caches:
            # a database in the URL would be preferred to the one that is asked for
            url = urlsplit(self._settings.url)._replace(path="").geturl()
            self._caches[effect.database] = Valkey.from_url(
                url, db=effect.database, protocol=2, lib_name=None, lib_version=None
            )
        mark = b"%d %b" % (effect.stamp.time_ns, effect.stamp.origin.encode())
        while True:
            try:
                async with self._caches[effect.database].pipeline(transaction=True) as block:
                    block.execute_command(*effect.words)
                    block.execute_command("PUBLISH", CHANNEL, mark)
                    await block.execute()
                return
            except ResponseError as error:
                _logger.error("a write of %s is refused here: %s", effect.stamp.origin, error)
                return
            except (ValkeyError, OSError) as error:
                _logger.warning("the cache does not answer: %s", error)
                await asyncio.sleep(_RETRY_S)


def mirror(settings: MirrorSettings) -> int:
    """Mirror until a signal; return the exit code."""

    async def until_signal() -> None:
        task = asyncio.ensure_future(Mirror(settings).run())
        loop = asyncio.get_running_loop()
        for sign in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(sign, task.cancel)
        with contextlib.suppress(asyncio.CancelledError):
            await task

    asyncio.run(until_signal())
    return 0
