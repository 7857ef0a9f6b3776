"""The world's hand on its links: starts the links process, opens links, asks how they fare."""

from __future__ import annotations

import asyncio
import dataclasses
import itertools
import json
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from loadtest.errors import WorldError
from loadtest.faults import Road, RoadCondition
from loadtest.world.links.address import LinkAddress
from loadtest.world.links.children import end, spawn

LinkKind = Literal["stream", "backhaul", "bulk"]

_ANSWER_TIMEOUT_S = 10.0
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
class Strays:
    """
    Connections and where they lead.

    Args:
        live: How many connections each link has, by its id.
        leads_to: Where those lead that lead elsewhere than their link, by the link's id.
    """

    live: Mapping[str, int]
    leads_to: Mapping[str, Sequence[LinkAddress]]


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
        control = cls(await spawn("loadtest.world.links.process", enters_places=enters_places))
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
        ends: Road | None = None,
    ) -> int:
        """
        Open a link and return the port to dial.

        Args:
            link_id: A name not in use.
            target: Host and port that connections lead to; None refuses them.
            one_way_ns: Delay of each direction in nanoseconds: half the round-trip time.
            kind: ``stream`` models handshake and slow start as well; ``backhaul`` has no handshake,
                and its connections are opened at its far end, where the first bytes arrive;
                ``bulk`` models no slow start, for set-up work whose duration is not measured.
            listen: Where it is dialled; None for any port of loopback that is free.
            ends: Regions of who calls and of the target, whose roads it takes; None for a way on
                which nothing bad is to happen.
        """
        port = await self._ask(
            "open",
            link=link_id,
            target=target,
            one_way_ns=one_way_ns,
            kind=kind,
            listen=listen,
            ends=ends,
        )
        return int(port)

    async def forget(self, place: str) -> None:
        """Let go of a network namespace, so that it can end."""
        await self._ask("forget", place=place)

    async def retarget(
        self,
        link_id: str,
        target: LinkAddress | None,
        one_way_ns: int | None = None,
        ends: Road | None = None,
    ) -> None:
        """
        Lead new connections of a link to ``target``; None refuses them after one round trip.

        ``one_way_ns`` is their delay when the new target stands elsewhere, ``ends`` the regions
        whose roads they take then; None keeps either.
        """
        await self._ask("retarget", link=link_id, target=target, one_way_ns=one_way_ns, ends=ends)

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

    async def strays(self, whole: Sequence[str] = ()) -> Strays:
        """
        Return which connections lead elsewhere than their link does by now.

        Args:
            whole: Ids of links whose connections are strays wherever they lead.
        """
        answer = await self._ask("strays", whole=list(whole))
        return Strays(
            live=answer["live"],
            leads_to={
                name: [LinkAddress(*target) for target in targets]
                for name, targets in answer["strays"].items()
            },
        )

    async def lateness(self) -> Mapping[str, int]:
        """Return by how much deliveries were late since the last call, see `Lateness.merge`."""
        late: Mapping[str, int] = await self._ask("lateness")
        return late

    async def set_road(self, road: Road, condition: RoadCondition, seed: str) -> None:
        """
        Let one direction of a pair be bad, or heal it with ``RoadCondition()``.

        Args:
            road: Region that sends, region that receives.
            condition: What it does from now on, to every link that takes it.
            seed: Of what is drawn from then on, where the road was in order.
        """
        told = dataclasses.asdict(condition)
        await self._ask("road", road=road, condition=told, seed=seed)

    async def counters(self) -> dict[str, LinkCounters]:
        """Return what has passed over every open link, by link id."""
        answer = await self._ask("counters")
        return {name: LinkCounters(*values) for name, values in answer.items()}

    async def status(self) -> LinkStatus:
        """Return how the links process fares."""
        return LinkStatus(**await self._ask("status"))

    async def stop(self) -> None:
        """End the links process and wait for its end; calling it twice is harmless."""
        await end(self._process)
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
