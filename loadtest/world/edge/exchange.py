"""One request through an edge: route it, replay it as a machine wishes, pass the answer on."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import random
import time

from loadtest.fly.replay import (
    REPLAY_CONTENT_TYPE,
    Replay,
    ReplayError,
    ReplaySource,
    format_replay_failure,
    format_replay_source,
    parse_replay,
    parse_replay_json,
)
from loadtest.fly.replay_cache import keep_in_headers
from loadtest.world.edge.body import RequestBody
from loadtest.world.edge.hop import ClientSide, EdgeContext, HopError, Hops
from loadtest.world.edge.http import (
    SWITCHING,
    AnswerHead,
    Headers,
    RequestHead,
    error_answer,
    find,
    request_id,
)
from loadtest.world.edge.memory import Remembered
from loadtest.world.edge.route import (
    EdgeError,
    Route,
    fallback_route,
    first_route,
    replay_route,
)
from loadtest.world.edge.statics import static_answer
from loadtest.world.edge.upstream import Upstream, UpstreamError, UpstreamLostError

_logger = logging.getLogger(__name__)
_JSON_BYTES = 65_536
_CACHE_STATUS = b"fly-replay-cache-status"
_NOBODY = ("PA04", "PR01", "PR02")
"""Codes of what nobody was asked for: the request can still go elsewhere."""


class EdgeExchange:
    """
    One request and its answer.

    Args:
        context: The edge.
        client: The connection that the request came by.
        head: The request.
        body: Its body, still coming perhaps.
    """

    def __init__(
        self, context: EdgeContext, client: ClientSide, head: RequestHead, body: RequestBody
    ) -> None:
        self._context = context
        self._client = client
        self._head = head
        self._body = body
        self._start_us = time.time_ns() // 1_000
        self._identity = request_id(self._start_us // 1_000, random.getrandbits(80), context.region)
        self._hops = Hops(context, client, body, identity=self._identity, start_us=self._start_us)
        self._answering = False
        self._known: Remembered | None = None

    async def run(self) -> None:
        """Carry the exchange through; whatever goes wrong stays within it."""
        keep = False
        self._context.tally.requests += 1
        try:
            keep = await self._serve()
        except EdgeError as error:
            keep = self._answer_self(error)
        except UpstreamError as error:  # the answer had begun: only its end can tell the client
            _logger.info("%s", error)
            self._context.tally.errors += 1
            self._client.abort()
        except Exception:
            _logger.exception("request %s failed in the edge", self._identity.decode())
            keep = self._answer_self(EdgeError(500, "", "the edge failed"))
        finally:
            self._hops.drop()
            self._client.exchange_over(keep=keep)

    def pause_answer(self, paused: bool) -> None:
        """Hold the machine back while the client does not read."""
        if self._hops.upstream is not None:
            self._hops.upstream.pause(paused)

    async def _serve(self) -> bool:
        context = self._context
        route = first_route(context.resolver, context.app, context.region, self._head.headers)
        if statics := route.backends[0].statics:
            file = static_answer(statics, self._head, context.region)
            if file is not None:
                return self._answer_whole(*file)
        route, answer = await self._ask_first(route)
        hops = 0
        while (replay := await self._replay_asked(answer)) is not None:
            hops += 1
            if hops > context.settings.replay_hops:
                raise EdgeError(502, "PA02", f"the request was replayed more than {hops - 1} times")
            context.tally.replays += 1
            told = self._remember(replay, answer)
            route, answer, given_back = await self._replay(route, replay, told)
            if given_back and _wants_replay(answer):
                raise EdgeError(
                    502, "PA03", "a request given back by a failed replay may not be replayed"
                )
        return await self._forward(answer)

    async def _ask_first(self, route: Route) -> tuple[Route, AnswerHead]:
        """Ask where a replay of before led, if one is remembered, else where requests go."""
        context = self._context
        issuer, now_s = route.backends[0], time.monotonic()
        known = context.memory.recall(self._head, issuer.sessions, now_s)
        status: Headers = []
        if known is not None and known.allow_bypass and _wants_no_memory(self._head):
            status = [(_CACHE_STATUS, b"bypass")]
        elif known is not None:
            try:
                target = replay_route(
                    context.resolver, context.app, context.region, known.replay, issuer
                )
                answer = await self._hops.ask(self._head, target, [(_CACHE_STATUS, b"hit")])
            except HopError:
                context.memory.forget(known)  # whoever it was is not there any more
            except EdgeError as error:
                if error.code not in _NOBODY:
                    raise
                context.memory.forget(known)
            else:
                self._known = known
                return target, answer
        try:
            return route, await self._hops.ask(self._head, route, status)
        except HopError as error:
            raise EdgeError(502, "PC07", str(error)) from None

    # -- replays -----------------------------------------------------------------------------

    def _remember(self, replay: Replay, answer: AnswerHead) -> Headers:
        """Keep a replay, or forget the one that led here; return what the target is told of it."""
        memory = self._context.memory
        keep = replay.keep or keep_in_headers(lambda name: find(answer.headers, name))
        if keep is not None and keep.invalidate:
            if self._known is not None:
                memory.forget(self._known)
            return []
        sessions = self._hops.backend.sessions
        if keep is None and not sessions:
            return []
        kept = memory.keep(self._head, replay, keep, sessions, time.monotonic())
        return [(_CACHE_STATUS, b"miss")] if kept else []

    async def _replay_asked(self, answer: AnswerHead) -> Replay | None:
        try:
            if (header := find(answer.headers, b"fly-replay")) is not None:
                return parse_replay(header.decode("latin-1"))
            if _is_replay_json(answer):
                return parse_replay_json(await self._small_body())
        except ReplayError as error:
            raise EdgeError(502, "PA03", str(error)) from None
        return None

    async def _small_body(self) -> bytes:
        upstream = self._hops.upstream
        assert upstream is not None
        parts: list[bytes] = []
        parts.append(upstream.stream_to(parts.append))
        try:
            async with asyncio.timeout(self._context.settings.head_timeout_s):
                await upstream.done
        except (TimeoutError, UpstreamLostError):
            raise EdgeError(502, "PA03", "the replay's body was cut off") from None
        body = b"".join(parts)
        if len(body) > _JSON_BYTES:
            raise EdgeError(502, "PA03", f"the replay's body exceeds {_JSON_BYTES} bytes")
        return body

    async def _replay(
        self, route: Route, replay: Replay, told: Headers
    ) -> tuple[Route, AnswerHead, bool]:
        """Follow ``replay``; return the route taken, the answer, and whether it was given back."""
        context, issuer = self._context, self._hops.backend
        self._hops.leave()
        if not self._body.replayable:
            limit = context.settings.replay_body_bytes
            raise EdgeError(
                502, "PA01", f"a request body of more than {limit} bytes cannot be replayed"
            )
        self._head = _transformed(self._head, replay)
        source = ReplaySource(
            issuer.machine_id, issuer.region, time.time_ns() // 1_000, replay.state
        )
        added = [(b"fly-replay-src", format_replay_source(source).encode("latin-1")), *told]
        began = time.monotonic_ns()
        try:
            target = replay_route(context.resolver, route.app, context.region, replay, issuer)
            return target, await self._hops.ask(self._head, target, added, replay.timeout_s), False
        except HopError as error:
            if replay.fallback is None:
                raise EdgeError(502, "PC07", str(error)) from None
            reason = error.reason
        except EdgeError as error:
            if replay.fallback is None or error.code not in ("PR01", "PR02"):
                raise
            reason = "no_candidate"
        elapsed_ms = (time.monotonic_ns() - began) // 1_000_000
        failure = format_replay_failure(source, replay, reason, elapsed_ms)
        own = fallback_route(context.resolver, route.app, context.region, replay, issuer)
        try:
            answer = await self._hops.ask(
                self._head, own, [(b"fly-replay-failed", failure.encode("latin-1"))]
            )
        except HopError as error:
            raise EdgeError(502, "PC07", str(error)) from None
        return own, answer, True

    # -- the answer --------------------------------------------------------------------------

    async def _forward(self, answer: AnswerHead) -> bool:
        upstream, client = self._hops.upstream, self._client
        assert upstream is not None
        if answer.status == SWITCHING:
            return await self._tunnel(upstream, answer)
        self._answering = True
        held = upstream.stream_to(client.send_body)
        whole = upstream.done.done() and upstream.done.exception() is None
        keep = client.start_answer(
            self._head, answer, self._identity, held, whole=whole, keep=self._body.complete
        )
        reusable = await upstream.done
        if not whole:
            client.end_body()
        self._hops.finish(reusable=reusable)
        return keep

    async def _tunnel(self, upstream: Upstream, answer: AnswerHead) -> bool:
        """Pass bytes both ways until one side ends; nothing is replayed after an upgrade."""
        client = self._client
        self._answering = True
        client.start_answer(self._head, answer, self._identity, b"", whole=True, keep=True)
        if held := upstream.stream_to(client.send_body):
            client.send_body(held)
        client.tunnel(upstream.write)
        await upstream.done
        return False

    def _answer_self(self, error: EdgeError) -> bool:
        self._context.tally.errors += 1
        if self._answering:
            self._client.abort()
            return False
        _logger.info("%s %s: %s", error.status, error.code, error.sentence)
        return self._answer_whole(*error_answer(error.status, error.code, error.sentence))

    def _answer_whole(self, answer: AnswerHead, body: bytes) -> bool:
        return self._client.start_answer(
            self._head, answer, self._identity, body, whole=True, keep=self._body.complete
        )


def _is_replay_json(answer: AnswerHead) -> bool:
    content_type = find(answer.headers, b"content-type") or b""
    return content_type.split(b";")[0].strip().lower() == REPLAY_CONTENT_TYPE.encode()


def _wants_no_memory(head: RequestHead) -> bool:
    return (find(head.headers, b"fly-replay-cache-control") or b"").strip().lower() == b"skip"


def _wants_replay(answer: AnswerHead) -> bool:
    return find(answer.headers, b"fly-replay") is not None or _is_replay_json(answer)


def _transformed(head: RequestHead, replay: Replay) -> RequestHead:
    change = replay.transform
    if change.path is None and not change.delete_headers and not change.set_headers:
        return head
    added = [(name.encode(), value.encode()) for name, value in change.set_headers]
    gone = {name.lower().encode() for name in change.delete_headers}
    gone |= {name.lower() for name, _ in added}
    headers = [pair for pair in head.headers if pair[0].lower() not in gone]
    target = head.target if change.path is None else change.path.encode()
    return dataclasses.replace(head, target=target, headers=headers + added)
