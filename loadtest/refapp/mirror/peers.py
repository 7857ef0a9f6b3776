"""
Carries effects to the other regions: in order, kept until they are acknowledged, up to a limit.

    MIRROR <region> <run>                      -> :<number of the last effect that is known>
    <number> <time_ns> <database> <words...>   -> :<number>, once it is applied

A connection that breaks is opened again and goes on after what was acknowledged; what comes twice
is applied once, as long as neither side has restarted.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final

from loadtest.refapp.mirror.merge import Effect, Stamp
from loadtest.refapp.resp import ProtocolError, command, read_command, read_number

_RETRY_S: Final = 0.2
_SILENT_S: Final = 30.0
_LIMIT: Final = 1024 * 1024
_BROKEN = (OSError, ProtocolError, asyncio.IncompleteReadError, ValueError)
_logger = logging.getLogger(__name__)


class Backlog:
    """
    Effects for one region that it has not acknowledged, each with its number.

    Args:
        limit: How many are kept; the oldest makes room and is lost there.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._waiting: deque[tuple[int, Effect]] = deque()
        self._number = 0
        self.lost = 0

    def __len__(self) -> int:
        """Return how many wait."""
        return len(self._waiting)

    def put(self, effect: Effect) -> None:
        """Add the next effect."""
        self._number += 1
        self._waiting.append((self._number, effect))
        if len(self._waiting) > self._limit:
            self._waiting.popleft()
            self.lost += 1

    def acknowledge(self, number: int) -> None:
        """Forget all up to a number."""
        while self._waiting and self._waiting[0][0] <= number:
            self._waiting.popleft()

    def after(self, number: int) -> list[tuple[int, Effect]]:
        """Return what comes after a number."""
        newest = self._number - number
        if newest >= len(self._waiting):
            return list(self._waiting)
        return [self._waiting[at] for at in range(len(self._waiting) - newest, len(self._waiting))]


class Peer:
    """
    Another region's mirror, as this one sends to it.

    Args:
        origin: Our region.
        run: Tells this process's numbers from those of an earlier one.
        region: Its region.
        place: Where it listens: host and port.
        limit: See `Backlog`.
    """

    def __init__(
        self, origin: str, run: str, region: str, place: tuple[str, int], limit: int
    ) -> None:
        self._hello = command(["MIRROR", origin, run])
        self._region, self._place = region, place
        self.backlog = Backlog(limit)
        self._news = asyncio.Event()

    def put(self, effect: Effect) -> None:
        """Send an effect as soon as may be."""
        lost = self.backlog.lost
        self.backlog.put(effect)
        if self.backlog.lost > lost and not lost:
            _logger.error("writes to %s are lost: more wait than are kept", self._region)
        self._news.set()

    async def keep_sending(self) -> None:
        """Send for ever, over one connection after the other."""
        while True:
            try:
                await self._send()
            except (*_BROKEN, TimeoutError) as error:
                _logger.warning("%s does not answer: %s", self._region, error)
            await asyncio.sleep(_RETRY_S)

    async def _send(self) -> None:
        reader, writer = await asyncio.open_connection(*self._place, limit=_LIMIT)
        listening: asyncio.Task[None] | None = None
        try:
            writer.write(self._hello)
            async with asyncio.timeout(_SILENT_S):
                sent = await read_number(reader)
            self.backlog.acknowledge(sent)
            listening = asyncio.create_task(self._listen(reader))
            listening.add_done_callback(lambda _: self._news.set())
            while not listening.done():
                self._news.clear()
                for number, effect in self.backlog.after(sent):
                    stamp = effect.stamp
                    writer.write(command([number, stamp.time_ns, effect.database, *effect.words]))
                    sent = number
                await writer.drain()
                await self._news.wait()
            listening.result()
        finally:
            if listening is not None:
                listening.cancel()
                with contextlib.suppress(asyncio.CancelledError, TimeoutError, *_BROKEN):
                    await listening
            writer.close()

    async def _listen(self, reader: asyncio.StreamReader) -> None:
        """Take acknowledgements; a region that owes one and is silent for long is called anew."""
        while True:
            try:
                async with asyncio.timeout(_SILENT_S):
                    self.backlog.acknowledge(await read_number(reader))
            except TimeoutError:
                if len(self.backlog):
                    raise


@dataclass(slots=True)
class _Heard:
    """How far the effects of one region's run are applied."""

    run: bytes = b""
    number: int = 0
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


class Receiver:
    """
    Takes the effects of other regions.

    Args:
        apply: Applies one; returns when it is.
    """

    def __init__(self, apply: Callable[[Effect], Awaitable[None]]) -> None:
        self._apply = apply
        self._heard: dict[str, _Heard] = {}

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Take the effects that come over one connection, until it ends."""
        try:
            words, _ = await read_command(reader)
            if len(words) != 3 or words[0] != b"MIRROR":
                raise ProtocolError(f"expected MIRROR, region and run, not {words[:1]!r}")
            origin = words[1].decode()
            heard = self._heard.setdefault(origin, _Heard())
            async with heard.lock:
                if heard.run != words[2]:
                    heard.run, heard.number = words[2], 0
                writer.write(b":%d\r\n" % heard.number)
            while heard.run == words[2]:
                number, effect = _effect(origin, (await read_command(reader))[0])
                async with heard.lock:
                    if number > heard.number:
                        await self._apply(effect)
                        heard.number = number
                writer.write(b":%d\r\n" % number)
                await writer.drain()
        except (asyncio.IncompleteReadError, asyncio.CancelledError):
            return  # it went away, and will come again; or this mirror ends
        except _BROKEN as error:
            _logger.warning("a mirror was refused: %s", error)
        finally:
            writer.close()


def _effect(origin: str, words: tuple[bytes, ...]) -> tuple[int, Effect]:
    if len(words) < 4:
        raise ProtocolError(f"expected an effect, not {words[:3]!r}")
    number, time_ns, database = (int(word) for word in words[:3])
    return number, Effect(Stamp(time_ns, origin), database, words[3:])
