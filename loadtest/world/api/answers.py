"""How the Machines API of the world says no: Fly's error bodies, statuses and request ids."""

from __future__ import annotations

import hmac
import json
import secrets
from collections.abc import Awaitable, Callable
from typing import Any

from starlette.exceptions import HTTPException
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response

from loadtest.errors import LoadtestError

Next = Callable[[Request], Awaitable[Response]]


class ApiError(Exception):
    """
    An answer that is an error.

    Args:
        status: HTTP status.
        text: The sentence in the body.
        code: The API's word for it, ``unknown`` unless there is one.
    """

    def __init__(self, status: int, text: str, code: str = "unknown") -> None:
        self.status = status
        self.text = text
        self.code = code
        super().__init__(text)


async def body_of(request: Request) -> dict[str, Any]:
    """
    Return a request's JSON object, empty when there is no body.

    Raises:
        ApiError: 400 when it is something else.
    """
    try:
        raw = await request.body()
    except ClientDisconnect:  # nobody hears the answer; it must not look like a fault of ours
        raise ApiError(400, "the request broke off") from None
    if not raw.strip():
        return {}
    try:
        data = json.loads(raw)
    except ValueError as error:
        raise ApiError(400, f"invalid request body: {error}") from error
    if not isinstance(data, dict):
        raise ApiError(400, "invalid request body: a JSON object is wanted")
    return data


def number_query(request: Request, key: str, default: int, low: int, high: int) -> int:
    """
    Return a whole number of the query, kept within bounds.

    Raises:
        ApiError: 400 when it is no number.
    """
    text = request.query_params.get(key, "")
    if not text:
        return default
    try:
        return max(low, min(high, int(float(text.removesuffix("s")))))
    except (ValueError, OverflowError) as error:
        raise ApiError(400, f"{key} {text!r} is not a number of seconds") from error


class Gatekeeper(BaseHTTPMiddleware):
    """Lets nobody in without the token and gives every answer a request id."""

    def __init__(self, app: Any, token: str) -> None:
        super().__init__(app)
        self._token = token.encode()

    async def dispatch(self, request: Request, call_next: Next) -> Response:
        """Check the token, then go on."""
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        known = scheme.lower() in ("bearer", "flyv1")
        if known and hmac.compare_digest(token.strip().encode(), self._token):
            response = await call_next(request)
        else:
            response = error_answer(401, "unauthorized: the token is missing or wrong", "unknown")
        response.headers["fly-request-id"] = secrets.token_hex(13).upper()
        return response


def error_answer(status: int, text: str, code: str) -> JSONResponse:
    """Return an error as the API tells it."""
    return JSONResponse({"error": text, "status": code}, status_code=status)


async def _api_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, ApiError)
    return error_answer(error.status, error.text, error.code)


async def _our_error(_: Request, error: Exception) -> Response:
    return error_answer(500, str(error), "unknown")


async def _http_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return error_answer(error.status_code, str(error.detail), "unknown")


EXCEPTION_HANDLERS: dict[Any, Callable[[Request, Exception], Awaitable[Response]]] = {
    ApiError: _api_error,
    LoadtestError: _our_error,
    HTTPException: _http_error,
}
