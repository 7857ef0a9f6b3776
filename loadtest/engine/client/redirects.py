"""
Follows redirects where a scenario asks for it: each hop is a request of its own, with its own row.

Source: RFC 9110, 15.4; which method goes on, and which headers, is as requests has it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final
from urllib.parse import quote, urljoin, urlsplit

from loadtest.engine.client.options import without_credentials
from loadtest.engine.client.request import Body
from loadtest.engine.client.response import CaughtResponse, Response
from loadtest.engine.client.state import TargetState
from loadtest.errors import EngineError

MOST_REDIRECTS: Final = 30
REDIRECTS: Final = frozenset((301, 302, 303, 307, 308))
_OF_BODY: Final = frozenset(("content-type", "content-length", "transfer-encoding"))
_SECRET: Final = frozenset(("authorization", "cookie"))
_ASCII: Final = bytes(range(0x21, 0x7F))


@dataclass(frozen=True, slots=True)
class Hop:
    """
    One request of a chain.

    Args:
        method: HTTP method.
        url: Path, or a whole URL.
        headers: Of the request itself.
        data: Body, as for a request.
        json: The same.
        cookies: Sent besides those that are kept.
        number: 0 for the first one.
    """

    method: str
    url: str
    headers: Mapping[str, str]
    data: Body | None = None
    json: object = None
    cookies: Mapping[str, str] | None = None
    number: int = 0

    def label(self, name: str) -> str:
        """Return the name of its row."""
        return f"{name} (redirected)" if self.number else name


def follow(
    first: Hop, send: Callable[[Hop], CaughtResponse], where: Callable[[str], str]
) -> tuple[CaughtResponse, list[CaughtResponse]]:
    """
    Send a request and follow where its answers lead.

    Args:
        first: The request.
        send: Sends one hop, to be judged.
        where: Returns the path of a URL of the target; one that leads elsewhere as it is. Raises
            ValueError or EngineError where nobody can be asked.

    Returns:
        The last answer, not recorded yet; those that led to it, recorded as successes.
    """
    hop, history = first, list[CaughtResponse]()
    while True:
        answer = send(hop)
        location = _location(answer)
        if not location:
            return answer, history
        if len(history) == MOST_REDIRECTS:
            answer.failure(f"more than {MOST_REDIRECTS} redirects")
            return answer, history
        try:
            after = _after(hop, answer, location, where)
        except (ValueError, EngineError) as error:
            answer.failure(f"a redirect to {location!r}, which leads nowhere: {error}")
            return answer, history
        answer.success()
        answer.record()
        history.append(answer)
        hop = after


class Following:
    """What a client does where it is asked to follow."""

    _place: TargetState
    request: Callable[..., Response]
    _resolve_place: Callable[[str], tuple[TargetState, str]]

    def _follow(
        self,
        first: Hop,
        *,
        name: str | None,
        new_connection: bool,
        catch_response: bool,
        **others: Any,
    ) -> Response:
        """Send a request and follow its redirects; its own secrets go to no other host."""
        title = str(name) if name else urlsplit(first.url).path or "/"

        def send(hop: Hop) -> CaughtResponse:
            caught = self.request(
                hop.method,
                hop.url,
                name=hop.label(title),
                headers=hop.headers,
                data=hop.data,
                json=hop.json,
                cookies=hop.cookies,
                catch_response=True,
                new_connection=new_connection and not hop.number,
                **others,
            )
            assert isinstance(caught, CaughtResponse)
            return caught

        answer, hops = follow(first, send, self.followed_to)
        answer.hops = hops
        if not catch_response:
            answer.conclude()
        return answer

    def followed_to(self, url: str) -> str:
        """
        Return where a redirect leads, as `follow` asks for it.

        Raises:
            ValueError: It is no URL of HTTP.
            EngineError: Nobody can be asked there.
        """
        place, path = self._resolve_place(url)
        return path if place is self._place else url


def _location(answer: CaughtResponse) -> str:
    """Return where an answer leads, the first that it says; empty if it leads nowhere."""
    if answer.error or answer.status_code not in REDIRECTS:
        return ""
    named = (value for name, value in answer.headers.pairs if name.lower() == "location")
    # as the bytes came: servers send UTF-8, which a head has no word for, or what it once was
    raw = next(named, "").encode("latin-1", "replace")
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return quote(raw, safe=_ASCII)


def _after(hop: Hop, answer: CaughtResponse, location: str, where: Callable[[str], str]) -> Hop:
    """Return the request that a redirect asks for."""
    status, headers, method = answer.status_code, dict(hop.headers), hop.method
    url, said = without_credentials(urljoin(answer.url, location))
    to_get = (status == 303 and method != "HEAD") or (
        (status == 302 and method not in ("GET", "HEAD")) or (status == 301 and method == "POST")
    )
    if to_get:
        method, hop = "GET", replace(hop, data=None, json=None)
        headers = _without(headers, _OF_BODY)
    led = where(url)
    if led[:1] != "/" and _place(url) != _place(answer.url):
        hop, headers = replace(hop, cookies=None), _without(headers, _SECRET)
    headers |= said or {}
    return replace(hop, method=method, url=led, headers=headers, number=hop.number + 1)


def _without(headers: Mapping[str, str], names: frozenset[str]) -> dict[str, str]:
    return {name: value for name, value in headers.items() if name.lower() not in names}


def _place(url: str) -> str:
    return "".join(urlsplit(url)[:2]).lower()
