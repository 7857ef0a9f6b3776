"""Sends requests to the Machines API: token, pacing, retries, and one kind of error."""

from __future__ import annotations

import asyncio
import ipaddress
import random
from collections.abc import Awaitable, Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

import httpx

from loadtest.clock import Clock, SystemClock
from loadtest.errors import WorldError
from loadtest.fly.pacing import Pacer
from loadtest.units import NS_PER_S

LIMITED = 429
TRANSIENT = frozenset({408, 429, 500, 502, 503, 504})
_ATTEMPTS = 5
_MOST_LIMITED = 30
_FIRST_BACKOFF_S = 0.25
_LONGEST_BACKOFF_S = 8.0
_WAY_S = 0.1  # calls are counted as they arrive, and the one before may have been on its way longer

Sleep = Callable[[float], Awaitable[None]]
QueryValue = str | int | float | bool


class MachinesApiError(WorldError):
    """
    The Machines API refused, or could not be reached.

    Args:
        sentence: What a person needs to know.
        status: HTTP status; 0 when there was no answer at all.
        code: The API's own word for it, such as ``name_taken``.
        request_id: Id that Fly's support asks for.
    """

    def __init__(
        self, sentence: str, *, status: int = 0, code: str = "", request_id: str = ""
    ) -> None:
        self.status = status
        self.code = code
        self.request_id = request_id
        super().__init__(sentence)


class Transport:
    """
    An HTTP connection to one Machines API.

    Args:
        base_url: Such as ``https://api.machines.dev``; paths below begin with ``/v1``.
        token: Sent as it is when it begins with ``Bearer`` or ``FlyV1``, else as a bearer token.
        paced: Keep below Fly's rate limits from the first call on, not only once one was refused.
        clock: Where pacing reads time.
        sleep: How pacing and retries wait.
        http_transport: Stands in for the network in tests.
    """

    def __init__(
        self,
        base_url: str,
        token: str,
        *,
        paced: bool = True,
        clock: Clock | None = None,
        sleep: Sleep = asyncio.sleep,
        http_transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self.base_url = base_url.rstrip("/")
        local = is_loopback(base_url)
        self._pacer = Pacer() if paced else None
        self._clock = clock or SystemClock()
        self._sleep = sleep
        scheme = token.split(" ", 1)[0]
        self._http = httpx.AsyncClient(
            base_url=self.base_url,
            headers={
                "authorization": token if scheme in ("Bearer", "FlyV1") else f"Bearer {token}",
                "user-agent": "loadtest",
            },
            timeout=httpx.Timeout(30.0, connect=10.0),
            trust_env=not local,  # a proxy of the environment cannot reach our loopback
            # a list of authorities takes long to read, and nobody shows a certificate there
            verify=not (local and base_url.startswith("http:")),
            transport=http_transport,
        )

    async def close(self) -> None:
        """Close every connection."""
        await self._http.aclose()

    async def send(
        self,
        method: str,
        path: str,
        *,
        json: Any = None,
        params: Mapping[str, QueryValue] | None = None,
        timeout_s: float = 30.0,
        attempts: int = _ATTEMPTS,
    ) -> Any:
        """
        Send a request, wait its turn, try again after what passes by itself.

        Args:
            method: HTTP method.
            path: Path from the API's root.
            json: Body.
            params: Query.
            timeout_s: Longest wait for the answer.
            attempts: How often to try; 1 for requests whose repetition could do harm. What the rate
                limit refuses (429) is no try.

        Returns:
            The decoded answer, an empty dict when there is none.

        Raises:
            MachinesApiError: The answer is an error, or there is none.
        """
        attempt = limited = 0
        while True:
            attempt += 1
            await self._wait_for_turn(method, path)
            try:
                response = await self._http.request(
                    method, path, json=json, params=params, timeout=timeout_s
                )
            except httpx.TransportError as error:
                told = str(error) or type(error).__name__
                failure = MachinesApiError(
                    f"Machines API at {self.base_url}: no answer to {method} {path}: {told}"
                )
                pause_s = backoff_s(attempt)
            else:
                if response.is_success:
                    return _decode(response)
                failure = _error_of(response, method, path)
                pause_s = _retry_after_s(response) or backoff_s(attempt)
                if response.status_code not in TRANSIENT:
                    raise failure
                if response.status_code == LIMITED and limited < _MOST_LIMITED:
                    # Nothing was done, so that another try does no harm, in its turn.
                    limited, attempt = limited + 1, attempt - 1
                    self._keep_pace(method, path, pause_s)
                    continue
            if attempt == attempts:
                raise failure
            await self._sleep(pause_s)

    async def pause(self, attempt: int, *, first_s: float = _FIRST_BACKOFF_S) -> None:
        """Wait as long as is decent after a try that failed; ``attempt`` counts from 1."""
        await self._sleep(backoff_s(attempt, first_s))

    async def _wait_for_turn(self, method: str, path: str) -> None:
        if self._pacer is None:
            return
        wait_ns = self._pacer.reserve(method, path, self._clock.monotonic_ns())
        if wait_ns:
            await self._sleep(wait_ns / NS_PER_S + _WAY_S)

    def _keep_pace(self, method: str, path: str, wait_s: float) -> None:
        """Let a call that was refused, and all like it, wait as long as the API wants."""
        self._pacer = self._pacer or Pacer()
        wait_ns = round(wait_s * NS_PER_S)
        self._pacer.hold(method, path, self._clock.monotonic_ns(), wait_ns)


def backoff_s(attempt: int, first_s: float = _FIRST_BACKOFF_S) -> float:
    """Return seconds before the next try: doubling, with jitter so that clients spread out."""
    longest_s: float = min(_LONGEST_BACKOFF_S, first_s * 2 ** (attempt - 1))
    return longest_s * (0.5 + random.random() / 2)


def is_loopback(url: str) -> bool:
    """Tell whether a URL points to this machine."""
    try:
        host = urlsplit(url).hostname or ""
    except ValueError:  # no URL at all, which its first use says
        return False
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _decode(response: httpx.Response) -> Any:
    if not response.content:
        return {}
    try:
        return response.json()
    except ValueError as error:
        raise MachinesApiError(
            f"Machines API: {response.request.url} answered {response.status_code} with "
            "something that is not JSON; is this the address of a Machines API?",
            status=response.status_code,
        ) from error


def _error_of(response: httpx.Response, method: str, path: str) -> MachinesApiError:
    """Return our error for an answer that is not a success."""
    try:
        body = response.json()
    except ValueError:
        body = {}
    body = body if isinstance(body, dict) else {}
    text = str(body.get("error") or body.get("message") or response.text[:200] or "no reason given")
    request_id = response.headers.get("fly-request-id", "")
    advice = {
        401: "; check the token",
        403: "; the token may not act on this app or organization",
        429: "; the API's rate limit holds, try again later or with fewer machines",
    }.get(response.status_code, "")
    told = f" (request id {request_id})" if request_id else ""
    return MachinesApiError(
        f"Machines API: {method} {path} answered {response.status_code}: {text}{advice}{told}",
        status=response.status_code,
        code=str(body.get("status", "")),
        request_id=request_id,
    )


def _retry_after_s(response: httpx.Response) -> float:
    value = response.headers.get("retry-after", "")
    return min(float(value), 60.0) if value.isdigit() else 0.0
