"""The machines that one request meets, one after the other, until one answers."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from loadtest.fly.replay import FailureReason
from loadtest.turns import Turns
from loadtest.world.edge.body import RequestBody
from loadtest.world.edge.http import (
    AnswerHead,
    Caller,
    Headers,
    RequestHead,
    request_lines,
)
from loadtest.world.edge.memory import ReplayMemory
from loadtest.world.edge.route import EdgeError, Route
from loadtest.world.edge.types import Backend, EdgeSettings, MachineResolver
from loadtest.world.edge.upstream import Pool, Upstream, UpstreamError, UpstreamLostError


@dataclass(slots=True)
class Tally:
    """Counts of one app at one edge, as they grow."""

    requests: int = 0
    replays: int = 0
    errors: int = 0
    upstream_connections: int = 0
    served: Counter[str] = field(default_factory=Counter)
    """Region of a machine -> requests sent to machines there."""


@dataclass(frozen=True, slots=True)
class EdgeContext:
    """What all requests of one app at one edge share."""

    region: str
    app: str
    resolver: MachineResolver
    settings: EdgeSettings
    pool: Pool
    tally: Tally
    memory: ReplayMemory
    turns: Turns = field(default_factory=Turns)


class ClientSide(Protocol):
    """The way back to the client, as an exchange sees it."""

    caller: Caller

    def inform(self, answer: AnswerHead) -> None:
        """Send an interim answer (1xx)."""
        ...

    def start_answer(
        self,
        request: RequestHead,
        answer: AnswerHead,
        identity: bytes,
        body: bytes,
        *,
        whole: bool,
        keep: bool,
    ) -> bool:
        """
        Send the head of an answer and what there is of its body.

        Args:
            request: What is answered.
            answer: The head as the machine sent it.
            identity: The request's id.
            body: First part of the body; left out where the answer has none.
            whole: That is all of it.
            keep: The client may use its connection again.

        Returns:
            Whether it can.
        """
        ...

    def send_body(self, data: bytes) -> None:
        """Send more of the body."""
        ...

    def end_body(self) -> None:
        """Send the end of a body that was not whole when it began."""
        ...

    def hold(self, reason: str, held: bool) -> None:
        """Stop reading from the client for ``reason``, or no longer for that reason."""
        ...

    def tunnel(self, sink: Callable[[bytes], None]) -> None:
        """Give ``sink`` whatever the client sends from now on, and what has come since its head."""
        ...

    def abort(self) -> None:
        """Break the connection: the answer cannot be completed."""
        ...

    def exchange_over(self, *, keep: bool) -> None:
        """Take the next request, or close the connection."""
        ...


class HopError(Exception):
    """No machine of a route could be reached."""

    def __init__(self, reason: FailureReason, sentence: str) -> None:
        super().__init__(sentence)
        self.reason: FailureReason = reason


class Hops:
    """
    A request on its way from machine to machine.

    Args:
        context: The edge.
        client: The connection that the request came by.
        body: The request's body.
        identity: The request's id.
        start_us: When the edge took it, microseconds since the epoch.
    """

    def __init__(
        self,
        context: EdgeContext,
        client: ClientSide,
        body: RequestBody,
        *,
        identity: bytes,
        start_us: int,
    ) -> None:
        self.upstream: Upstream | None = None
        self.backend: Backend
        self._context = context
        self._client = client
        self._body = body
        self._identity = identity
        self._start_us = start_us
        self._old_client = False
        self._keeps = True

    async def ask(
        self, head: RequestHead, route: Route, added: Headers, timeout_s: float | None = None
    ) -> AnswerHead:
        """
        Ask the machines of ``route`` in turn until one answers.

        Args:
            head: The request.
            route: Where it may go.
            added: Headers for this hop only.
            timeout_s: Longest time to spend on reaching a machine.

        Returns:
            The head of the answer; its body waits in :attr:`upstream`.

        Raises:
            HopError: No machine could be reached.
            EdgeError: A machine was reached and gave no proper answer.
        """
        loop = asyncio.get_running_loop()
        end_s = None if timeout_s is None else loop.time() + timeout_s
        failure = ""
        self._keeps = not self._context.turns.take(route.settings.new_connection_share)
        for backend in route.backends[: self._context.settings.attempts]:
            fresh = not self._keeps
            while True:
                reused = None if fresh else self._context.pool.idle(backend)
                limit_s = route.settings.connect_timeout_s
                if end_s is not None:
                    limit_s = min(limit_s, end_s - loop.time())
                    if limit_s <= 0:
                        raise HopError("timeout", failure or "the replay's time was over")
                try:
                    upstream = reused or await self._connect(backend, limit_s)
                    return await self._send(head, upstream, route, added)
                except UpstreamLostError as error:
                    self.drop()
                    if not (error.silent and head.idempotent and self._body.replayable):
                        raise EdgeError(502, "PU02", str(error)) from None
                    failure = str(error)
                except UpstreamError as error:
                    failure = str(error)
                if reused is None:
                    break
                fresh = True  # the kept connection was stale: once more on a new one
        late = end_s is not None and loop.time() >= end_s
        raise HopError("timeout" if late else "retries_exhausted", failure)

    async def _connect(self, backend: Backend, timeout_s: float) -> Upstream:
        self._context.tally.upstream_connections += 1
        return await self._context.pool.connect(backend, timeout_s)

    async def _send(
        self, head: RequestHead, upstream: Upstream, route: Route, added: Headers
    ) -> AnswerHead:
        self.upstream, self.backend = upstream, upstream.backend
        self._context.tally.served[upstream.backend.region] += 1
        upstream.on_room = self._on_room
        upstream.on_informational = self._on_informational
        self._old_client = head.version == "1.0"
        upstream.begin(bodyless=head.method == b"HEAD", upgrade=bool(head.upgrade))
        lines = request_lines(
            head,
            self._client.caller,
            identity=self._identity,
            start_us=self._start_us,
            added=[*route.headers, *added],
            close=not self._keeps,
        )
        self._body.send_to(upstream, lines)
        limit_s = route.settings.answer_timeout_s
        try:
            async with asyncio.timeout(limit_s):
                return await upstream.head
        except TimeoutError:
            raise EdgeError(
                502, "PU02", f"machine {self.backend.machine_id} did not answer in {limit_s:g} s"
            ) from None

    def _on_room(self, room: bool) -> None:
        self._client.hold("machine", not room)

    def _on_informational(self, answer: AnswerHead) -> None:
        if not self._old_client:
            self._client.inform(answer)

    def leave(self) -> None:
        """Let go of a machine whose answer does not count, keeping the connection if possible."""
        upstream, self.upstream = self.upstream, None
        assert upstream is not None
        self._body.detach()
        self._client.hold("machine", False)
        if not self._body.complete or not self._keeps:
            upstream.close()
            return
        upstream.stream_to(lambda _: None)
        upstream.done.add_done_callback(_releaser(self._context.pool, upstream))

    def drop(self) -> None:
        """Let go of the machine at hand and of the connection to it."""
        upstream, self.upstream = self.upstream, None
        if upstream is not None:
            self._body.detach()
            self._client.hold("machine", False)
            upstream.close()

    def finish(self, *, reusable: bool) -> None:
        """End a completed exchange, keeping the connection for the next one if possible."""
        upstream, self.upstream = self.upstream, None
        assert upstream is not None
        self._client.hold("machine", False)
        if reusable and self._body.complete and self._keeps:
            self._context.pool.release(upstream, asyncio.get_running_loop().time())
        else:
            upstream.close()


def _releaser(pool: Pool, upstream: Upstream) -> Callable[[asyncio.Future[bool]], None]:
    def release(done: asyncio.Future[bool]) -> None:
        if not done.cancelled() and done.exception() is None and done.result():
            pool.release(upstream, asyncio.get_running_loop().time())
        else:
            upstream.close()

    return release
