"""The world's hand on its links: starts the links process, opens links, measures them."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import math
import os
import sys
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from loadtest.errors import WorldError
from loadtest.kernel.namespaces import keep_admin_after_exec
from loadtest.units import NS_PER_MS, NS_PER_S
from loadtest.world.links.connection import LinkAddress

LinkKind = Literal["stream", "bulk"]

_ANSWER_TIMEOUT_S = 10.0
_END_TIMEOUT_S = 2.0
_LINE_LIMIT = 16 * 1024 * 1024
_LAST_WORDS = 10


@dataclass(frozen=True, slots=True)
class LinkCounters:
    """
    What has passed over one link.

    Args:
        connections: Connections that clients opened.
        flights: Times that the client spoke after the server had (or first of all): round trips
            begun.
        bytes_out: Bytes from client to target.
        bytes_in: Bytes from target to client.
    """

    connections: int
    flights: int
    bytes_out: int
    bytes_in: int


@dataclass(frozen=True, slots=True)
class LinkStatus:
    """
    How the links process fares.

    Args:
        clock: ``kernel`` when arrivals are stamped by the kernel, ``user`` otherwise.
        priority: ``realtime``, ``favoured`` or ``ordinary``: how promptly the kernel wakes it.
        lead_ns: By how much deliveries are brought forward, because waking up takes that long.
        deliveries: Deliveries made on time's call so far.
        links: Links open.
    """

    clock: str
    priority: str
    lead_ns: int
    deliveries: int
    links: int


@dataclass(frozen=True, slots=True)
class LinkMeasure:
    """
    The round trip of one pair of regions, as measured through a real link.

    Args:
        source: Region that calls.
        target: Region that answers.
        configured_rtt_ms: What the link was told.
        measured_rtt_p50_ms: Median, nearest rank; NaN when no ping came back.
        measured_rtt_p95_ms: 95th percentile, nearest rank.
        n: Pings that came back.
    """

    source: str
    target: str
    configured_rtt_ms: float
    measured_rtt_p50_ms: float
    measured_rtt_p95_ms: float
    n: int

    def within(self, tolerance_ms: float, tolerance_share: float) -> bool:
        """Tell whether the median is off by no more than the larger of both tolerances."""
        allowed = max(tolerance_ms, tolerance_share * self.configured_rtt_ms)
        return self.n > 0 and abs(self.measured_rtt_p50_ms - self.configured_rtt_ms) <= allowed


class LinkControl:
    """
    A running links process, commanded from an asyncio program.

    Every method raises WorldError when the process has ended or refuses a command.
    """

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._numbers = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._last_words: deque[str] = deque(maxlen=_LAST_WORDS)
        self._measuring = asyncio.Lock()
        self._tasks = [
            asyncio.create_task(self._read_answers(), name="links-answers"),
            asyncio.create_task(self._read_errors(), name="links-errors"),
        ]

    @classmethod
    async def start(cls, *, enters_places: bool = False) -> LinkControl:
        """
        Start the links process, in a session of its own, and wait until it answers.

        Args:
            enters_places: Addresses will name network namespaces that this process may enter.
        """
        control = cls(await _spawn("loadtest.world.links.process", enters_places))
        try:
            await control.status()
        except BaseException:
            await control.stop()
            raise
        return control

    @property
    def pid(self) -> int:
        """Process id of the links process."""
        return self._process.pid

    async def wait(self) -> int:
        """Return the exit status of the links process once it has ended, for whatever reason."""
        return await self._process.wait()

    async def open(
        self,
        link_id: str,
        target: LinkAddress | None,
        one_way_ns: int,
        *,
        kind: LinkKind = "stream",
        listen: LinkAddress | None = None,
    ) -> int:
        """
        Open a link and return the port to dial.

        Args:
            link_id: A name not in use.
            target: Host and port that connections lead to; None refuses them.
            one_way_ns: Delay of each direction in nanoseconds: half the round-trip time.
            kind: ``stream`` models slow start as well; ``bulk`` has a delay only, for set-up
                work whose duration is not measured.
            listen: Where it is dialled; None for any port of loopback that is free.
        """
        port = await self._ask(
            "open", link=link_id, target=target, one_way_ns=one_way_ns, kind=kind, listen=listen
        )
        return int(port)

    async def forget(self, place: str) -> None:
        """Let go of a network namespace, so that it can end."""
        await self._ask("forget", place=place)

    async def retarget(
        self, link_id: str, target: LinkAddress | None, one_way_ns: int | None = None
    ) -> None:
        """
        Lead new connections of a link to ``target``; None refuses them after one round trip.

        ``one_way_ns`` is their delay when the new target stands elsewhere; None keeps it.
        """
        await self._ask("retarget", link=link_id, target=target, one_way_ns=one_way_ns)

    async def close(self, link_id: str) -> None:
        """Close a link; its connections are reset."""
        await self._ask("close", link=link_id)

    async def settle(self, whole: Sequence[str] = ()) -> int:
        """
        Reset every connection that leads elsewhere than its link does by now.

        Args:
            whole: Ids of links whose connections are reset wherever they lead.

        Returns:
            How many connections were reset.
        """
        return int(await self._ask("settle", whole=list(whole)))

    async def cut(self, link_id: str) -> None:
        """Stop delivering both ways; connections stay, bytes are held."""
        await self._ask("cut", link=link_id)

    async def heal(self, link_id: str) -> None:
        """Undo :meth:`cut`; what was held is delivered at once."""
        await self._ask("heal", link=link_id)

    async def counters(self) -> dict[str, LinkCounters]:
        """Return what has passed over every open link, by link id."""
        answer = await self._ask("counters")
        return {name: LinkCounters(*values) for name, values in answer.items()}

    async def status(self) -> LinkStatus:
        """Return how the links process fares."""
        return LinkStatus(**await self._ask("status"))

    async def measure(self, pairs: Sequence[tuple[str, str, int]], pings: int) -> list[LinkMeasure]:
        """
        Measure the round trip of every pair through a link of its own, opened for this.

        Pings of one pair follow each other; pairs are measured side by side.

        Args:
            pairs: Calling region, answering region, one-way time in nanoseconds.
            pings: Round trips to count per pair, after one that opens the connection.

        Returns:
            One measure per pair, in order.
        """
        async with self._measuring:
            probe = await _spawn("loadtest.world.links.probe")
            names = [f"probe/{number}" for number in range(len(pairs))]
            opened: list[str] = []
            try:
                echo = LinkAddress("127.0.0.1", int((await _read_line(probe))["echo_port"]))
                ports = []
                for name, (_, _, one_way_ns) in zip(names, pairs, strict=True):
                    ports.append(await self.open(name, echo, one_way_ns))
                    opened.append(name)
                slowest_s = max((2 * one_way for _, _, one_way in pairs), default=0) / NS_PER_S
                timeout_s = 2.0 + 1.5 * max(slowest_s, 0.03) * (pings + 2)
                job = {"ports": ports, "pings": pings, "timeout_s": timeout_s}
                assert probe.stdin is not None
                probe.stdin.write(json.dumps(job).encode() + b"\n")
                result = await asyncio.wait_for(_read_line(probe), timeout_s + _ANSWER_TIMEOUT_S)
            except TimeoutError:
                raise WorldError("the probe of the links did not answer in time") from None
            finally:
                await _end(probe)
                for name in opened:
                    with contextlib.suppress(WorldError):
                        await self.close(name)
        return [
            _measured(*pair, round_trips)
            for pair, round_trips in zip(pairs, result["round_trips_ns"], strict=True)
        ]

    async def stop(self) -> None:
        """End the links process and wait for its end; calling it twice is harmless."""
        await _end(self._process)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _ask(self, operation: str, **arguments: Any) -> Any:
        if self._process.returncode is not None or self._tasks[0].done():
            raise WorldError(self._obituary())
        number = next(self._numbers)
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting[number] = answer
        assert self._process.stdin is not None
        try:
            command = {"id": number, "op": operation, **arguments}
            self._process.stdin.write(json.dumps(command).encode() + b"\n")
            await self._process.stdin.drain()
            return await asyncio.wait_for(answer, _ANSWER_TIMEOUT_S)
        except TimeoutError:
            raise WorldError(
                f"the links process (pid {self.pid}) did not answer {operation!r} "
                f"within {_ANSWER_TIMEOUT_S:.0f} s"
            ) from None
        except OSError:
            raise WorldError(self._obituary()) from None
        finally:
            self._waiting.pop(number, None)

    async def _read_answers(self) -> None:
        assert self._process.stdout is not None
        try:
            while line := await self._process.stdout.readline():
                message = json.loads(line)
                waiting = self._waiting.get(message["id"])
                if waiting is None or waiting.done():
                    continue
                if "error" in message:
                    waiting.set_exception(WorldError(f"links: {message['error']}"))
                else:
                    waiting.set_result(message["ok"])
        finally:
            for waiting in self._waiting.values():
                if not waiting.done():
                    waiting.set_exception(WorldError(self._obituary()))

    async def _read_errors(self) -> None:
        assert self._process.stderr is not None
        while line := await self._process.stderr.readline():
            self._last_words.append(line.decode(errors="replace").rstrip())

    def _obituary(self) -> str:
        words = "; its last words: " + " | ".join(self._last_words) if self._last_words else ""
        return f"the links process (pid {self.pid}) has ended{words}"


def _measured(source: str, target: str, one_way_ns: int, round_trips_ns: list[int]) -> LinkMeasure:
    ordered = sorted(round_trips_ns)
    n = len(ordered)

    def rank_ms(p: int) -> float:
        return ordered[math.ceil(p * n / 100) - 1] / NS_PER_MS if n else math.nan

    return LinkMeasure(source, target, 2 * one_way_ns / NS_PER_MS, rank_ms(50), rank_ms(95), n)


async def _spawn(module: str, enters_places: bool = False) -> asyncio.subprocess.Process:
    # The package is found wherever this one was, whatever folder the world runs in.
    root = str(Path(__file__).resolve().parents[3])
    path = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))
    try:
        return await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            module,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": path},
            start_new_session=True,
            preexec_fn=keep_admin_after_exec if enters_places else None,
            limit=_LINE_LIMIT,
        )
    except OSError as error:
        raise WorldError(f"cannot start {module} with {sys.executable}: {error}") from None


async def _read_line(process: asyncio.subprocess.Process) -> dict[str, Any]:
    assert process.stdout is not None
    line = await process.stdout.readline()
    if not line:
        assert process.stderr is not None
        words = (await process.stderr.read()).decode(errors="replace").strip()
        raise WorldError(f"the probe of the links ended early: {words or 'it said nothing'}")
    answer: dict[str, Any] = json.loads(line)
    return answer


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.stdin is not None:
        process.stdin.close()
    try:
        await asyncio.wait_for(process.wait(), _END_TIMEOUT_S)
    except TimeoutError:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
