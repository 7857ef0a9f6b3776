"""
Refuses calls beyond the rates that Fly documents.

Which header tells when to come back is documented nowhere; Retry-After is the one that HTTP has
(RFC 9110, 10.2.3).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from starlette.middleware.base import BaseHTTPMiddleware
from starlette.requests import Request
from starlette.responses import Response

from loadtest.clock import Clock, SystemClock
from loadtest.fly.pacing import Pacer
from loadtest.units import NS_PER_S
from loadtest.world.api.answers import Next, error_answer


class RateLimits(BaseHTTPMiddleware):
    """
    Counts the calls of each action on each app or machine.

    Args:
        app: The application behind it.
        clock: Where time is read.
        lenient: Asked at each call whether there are no limits.
    """

    def __init__(
        self, app: Any, *, clock: Clock | None = None, lenient: Callable[[], bool] = bool
    ) -> None:
        super().__init__(app)
        self._clock = clock or SystemClock()
        self._lenient = lenient
        self._pacer = Pacer()

    async def dispatch(self, request: Request, call_next: Next) -> Response:
        """Count a call, then go on or refuse it."""
        if self._lenient():
            return await call_next(request)
        call, now_ns = (request.method, request.url.path), self._clock.monotonic_ns()
        if wait_ns := self._pacer.wait_ns(*call, now_ns):
            response = error_answer(429, f"rate limit exceeded for {' '.join(call)}", "unknown")
            response.headers["retry-after"] = str(-(-wait_ns // NS_PER_S))
            return response
        self._pacer.reserve(*call, now_ns)
        return await call_next(request)
