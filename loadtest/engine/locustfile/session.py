"""
The client of ``HttpUser`` and ``FastHttpUser``, by our own: every request is a record.

Redirects are followed as Locust's clients do; each hop is a request with a row of its own.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from types import SimpleNamespace
from typing import Any
from urllib.parse import unquote, urlsplit

from loadtest.engine.client.client import TTFBClient
from loadtest.engine.client.options import OptionError, Timeout, settle, without_credentials
from loadtest.engine.client.redirects import REDIRECTS, Hop, follow
from loadtest.engine.client.request import with_query
from loadtest.engine.client.response import CaughtResponse
from loadtest.engine.locustfile.answer import Answer
from loadtest.engine.locustfile.cookies import SessionCookies
from loadtest.errors import LoadtestError

_UNUSED = frozenset(("verify", "hooks"))
"""Options without an effect; the look at the file has told of those that would have had one."""


class UserClients:
    """
    All clients of one user: its own, and those of sessions that it makes itself.

    Args:
        make: Makes a client.
    """

    def __init__(self, make: Callable[[], TTFBClient]) -> None:
        self._make = make
        self.clients: list[TTFBClient] = []
        self._context: object = None
        self.again: Callable[[], object] = bool
        """Called before a further request of an arrival that has sent one: it is one of its own."""

    def open(self) -> TTFBClient:
        """Return a new client that belongs to the arrival under way."""
        client = self._make()
        client.begin(0, self._context)
        self.clients.append(client)
        return client

    def begin(self, intended_ns: int, context: object = None, *, goes_on: bool = False) -> None:
        """Begin an arrival, as `TTFBClient.begin` does."""
        self._context = context
        for client in self.clients:
            client.begin(intended_ns, context, goes_on=goes_on)

    def next_request(self) -> None:
        """Let the next request belong to an arrival that has sent none."""
        if self.asked:
            self.again()

    @property
    def asked(self) -> bool:
        """Whether the arrival under way has sent a request."""
        return any(client.asked for client in self.clients)

    def close(self) -> None:
        """Close every connection of every client."""
        for client in self.clients:
            client.close()


OPENING: ContextVar[UserClients | None] = ContextVar("OPENING", default=None)
"""Clients of the user whose greenlet this is."""


class Session:
    """
    Takes the place of ``HttpSession`` and ``FastHttpSession``.

    Args:
        base_url: In front of every relative path.
        request_event: Fired when the outcome of a request is known.
        user: Whose session it is.
        options: ``headers`` are sent with every request; others are of Locust's clients alone.

    Raises:
        LoadtestError: No user of a run makes it.
    """

    def __init__(
        self, base_url: str = "", request_event: Any = None, user: Any = None, **options: Any
    ) -> None:
        clients = OPENING.get()
        if clients is None:
            raise LoadtestError(
                "HttpSession: only a user of the run can measure; outside of one use requests"
            )
        parts = urlsplit(base_url or "")
        self.auth: Any = None
        if parts.username:
            self.auth = (unquote(parts.username), unquote(parts.password or ""))
            base_url = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
        self.base_url = base_url or ""
        self.headers: dict[str, Any] = dict(options.get("headers") or {})
        self.params: dict[str, Any] = {}
        self.user = user
        self.request_event = request_event
        self.request_name: str | None = None
        self.verify: Any = True
        self.trust_env = False
        self._clients = clients
        self._client = clients.open()

    @property
    def cookies(self) -> SessionCookies:
        """Cookies of the target, as a mapping."""
        return SessionCookies(self._client.cookies, self._host())

    @cookies.setter
    def cookies(self, values: Mapping[str, str]) -> None:
        self.cookies.clear()
        self.cookies.update(values)

    @contextmanager
    def rename_request(self, name: str) -> Iterator[None]:
        """Give the requests of a block one name."""
        before, self.request_name = self.request_name, name
        try:
            yield
        finally:
            self.request_name = before

    def close(self) -> None:
        """Close the connections; the next request opens another."""
        self._client.close()

    def get(self, url: str, **options: Any) -> Answer:
        """Send a GET; options as for ``request``, here and below."""
        return self.request("GET", url, **options)

    def options(self, url: str, **options: Any) -> Answer:
        """Send an OPTIONS."""
        return self.request("OPTIONS", url, **options)

    def head(self, url: str, **options: Any) -> Answer:
        """Send a HEAD; redirects are followed only if asked."""
        return self.request("HEAD", url, **{"allow_redirects": False, **options})

    def post(self, url: str, data: Any = None, json: Any = None, **options: Any) -> Answer:
        """Send a POST."""
        return self.request("POST", url, data=data, json=json, **options)

    def put(self, url: str, data: Any = None, **options: Any) -> Answer:
        """Send a PUT."""
        return self.request("PUT", url, data=data, **options)

    def patch(self, url: str, data: Any = None, **options: Any) -> Answer:
        """Send a PATCH."""
        return self.request("PATCH", url, data=data, **options)

    def delete(self, url: str, **options: Any) -> Answer:
        """Send a DELETE."""
        return self.request("DELETE", url, **options)

    def request(
        self,
        method: str,
        url: str,
        name: str | None = None,
        *,
        catch_response: bool = False,
        context: dict[str, Any] | None = None,
        params: Any = None,
        data: Any = None,
        json: Any = None,
        headers: Mapping[str, Any] | None = None,
        cookies: Mapping[str, str] | None = None,
        files: Any = None,
        auth: Any = None,
        timeout: Timeout = None,
        allow_redirects: bool = True,
        stream: bool = False,
        **others: Any,
    ) -> Answer:
        """
        Send a request with the options of ``requests``, and follow its redirects.

        Raises:
            OptionError: The client cannot honour an option.
        """
        _refuse(others)
        url, headers = without_credentials(url, headers)
        method = method.upper() or "GET"
        self._clients.next_request()
        title = name or self.request_name or url
        fields, signed = self._fields(headers), auth or self.auth
        if callable(signed):
            fields, signed = _signed(signed, method, fields), None
        options = {"auth": signed or None, "cookies": cookies, "files": files}
        settled = settle(options, fields, data or None)
        if settled.data and json is not None:
            json = None
        meta = self._meta(method, title, url, context)
        asked = {**self.params, **_pairs(params)} if self.params else params
        place = with_query(self._place(url), asked or "")
        first = Hop(method, place, settled.headers, settled.data, json, settled.cookies)
        send = partial(self._send, f"{method} {title}", timeout, stream)
        if allow_redirects:
            inner, hops = follow(first, send, self._client.followed_to)
        else:
            inner, hops = send(first), []
        history: list[Answer] = []
        for hop in hops:
            history.append(Answer(hop, meta, list(history), self._fire))
        answer = Answer(inner, meta, history, self._fire)
        return self._settle(answer, others.get("hooks"), caught=catch_response)

    def _send(self, name: str, timeout: Timeout, stream: bool, hop: Hop) -> CaughtResponse:
        """Send one hop of a request; its row waits for the verdict."""
        inner = self._client.request(
            hop.method,
            hop.url,
            name=hop.label(name),
            headers=hop.headers,
            data=hop.data,
            json=hop.json,
            cookies=hop.cookies,
            timeout=timeout,
            stream=stream,
            catch_response=True,
        )
        assert isinstance(inner, CaughtResponse)
        return inner

    def _settle(self, answer: Answer, hooks: Any, *, caught: bool) -> Answer:
        if answer.inner.status_code in REDIRECTS and not answer.inner.judged:
            # not to be followed: what was asked for came
            answer.inner.success()
        if not caught:
            answer.conclude()
        found = (hooks or {}).get("response") or ()
        for hook in found if isinstance(found, list | tuple) else (found,):
            hook(answer)
        return answer

    def _fields(self, headers: Mapping[str, Any] | None) -> dict[str, str]:
        own = {str(k).lower(): (str(k), v) for k, v in self.headers.items()}
        own |= {str(k).lower(): (str(k), v) for k, v in (headers or {}).items()}
        return {
            name: value.decode("latin-1") if isinstance(value, bytes) else str(value)
            for key, (name, value) in own.items()
            if value is not None and key != "content-length"
        }

    def _meta(
        self, method: str, title: str, url: str, context: dict[str, Any] | None
    ) -> dict[str, Any]:
        own = self.user.context() if self.user is not None else {}
        return {
            "request_type": method,
            "name": title,
            "context": {**own, **(context or {})},
            "start_time": time.time(),
            "url": url,
        }

    def _place(self, url: str) -> str:
        """Return a path of the target, or a whole URL that leads elsewhere."""
        whole = url if url.lower().startswith(("http://", "https://")) else self.base_url + url
        return self._client.home_path(whole)

    def _host(self) -> str:
        return urlsplit(self._client.target_url).hostname or ""

    def _fire(self, answer: Answer, error: str) -> None:
        """Tell the listeners of ``events.request`` how a request ended."""
        if self.request_event is None:
            return
        self.request_event.fire(
            **answer.request_meta,
            response=answer,
            response_time=answer.inner.elapsed_ms,
            response_length=answer.body_bytes,
            exception=ConnectionError(error) if error else None,
        )


def _refuse(others: Mapping[str, Any]) -> None:
    if strange := sorted(key for key in others if others[key] and key not in _UNUSED):
        raise OptionError(f"{strange[0]}=: the measuring client has no such option")


def _pairs(params: Any) -> dict[str, Any]:
    return dict(params) if params else {}


def _signed(auth: Any, method: str, fields: Mapping[str, str]) -> dict[str, str]:
    """Return headers with what an ``auth`` of ``requests`` adds that is a callable."""
    request = SimpleNamespace(headers=dict(fields), method=method, body=None, url="")
    return dict(auth(request).headers)
