"""
Refuses calls beyond the rates that Fly documents: one a second, five for reading one machine.

Source: fly.io/docs/machines/api/working-with-machines-api, "Rate limits".  Which header tells when
to come back is documented nowhere; Retry-After is the one that HTTP has (RFC 9110, 10.2.3).
"""

from __future__ import annotations

from typing import Any

from starlette.middleware.base import BaseHTTPMiddleware
from starlette.requests import Request
from starlette.responses import Response

from loadtest.clock import Clock, SystemClock
from loadtest.fly.pacing import Pacer
from loadtest.units import NS_PER_S
from loadtest.world.api.answers import Next, error_answer

_MACHINE_PLACE = 4


class RateLimits(BaseHTTPMiddleware):
    """
    Counts the calls of each action on each app or machine.

    Args:
        app: The application behind it.
        on: Whether to refuse at all.
        clock: Where time is read.
    """

    def __init__(self, app: Any, *, on: bool, clock: Clock | None = None) -> None:
        super().__init__(app)
        self._on = on
        self._clock = clock or SystemClock()
        self._pacer = Pacer()

    async def dispatch(self, request: Request, call_next: Next) -> Response:
        """Count a call, then go on or refuse it."""
        if not self._on or not request.url.path.startswith("/v1/"):
            return await call_next(request)
        action, identifier = action_of(request.method, request.url.path)
        bucket, now_ns = self._pacer.bucket(action, identifier), self._clock.monotonic_ns()
        if wait_ns := bucket.wait_ns(now_ns):
            response = error_answer(429, f"rate limit exceeded for {action}", "unknown")
            response.headers["retry-after"] = str(-(-wait_ns // NS_PER_S))
            return response
        bucket.reserve(now_ns)
        return await call_next(request)


def action_of(method: str, path: str) -> tuple[str, str]:
    """
    Return the action that a call counts as, and what it is about: a machine, an app, or nothing.

    Args:
        method: Its method.
        path: Its path, which begins with ``/v1/``.
    """
    parts = path.strip("/").split("/")
    machine = parts[_MACHINE_PLACE] if len(parts) > _MACHINE_PLACE else ""
    if parts[1] != "apps" or len(parts) == 2:
        return f"{method} {'/'.join(parts[1:])}", ""
    kinds, identifier = parts[3:4], parts[2]
    if machine:
        identifier = machine
        kinds = ["{id}" if place == 1 else part for place, part in enumerate(parts[3:])][:3]
        if method == "GET" and kinds == ["machines", "{id}"]:
            return "get", identifier
    return f"{method} apps/{'/'.join(kinds)}", identifier
