"""
The HTTP client of a scenario: Locust's manners, a measuring instrument's stamps.

    self.client.get("/recipes", name="GET /recipes")

What it does not do, on purpose: follow redirects unasked (each hop is a request of its own, with
its own sample), send a request twice unasked (a stale connection is the one exception, see
``request``), or raise because a request failed (that is a sample; ``raise_for_status`` turns it
into an exception).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from loadtest.engine.client.concluding import Concluding
from loadtest.engine.client.cookies import CookieJar
from loadtest.engine.client.courier import Courier
from loadtest.engine.client.limits import Limits
from loadtest.engine.client.long_lived import LongLived
from loadtest.engine.client.names import AddressResolver
from loadtest.engine.client.options import (
    UNSAID,
    Asked,
    Credentials,
    Timeout,
    basic_credentials,
    cookie_header,
    settle,
    time_outs,
    without_credentials,
)
from loadtest.engine.client.origin import TargetLike
from loadtest.engine.client.places import Places, home_path
from loadtest.engine.client.redirects import Following, Hop
from loadtest.engine.client.request import (
    Body,
    Params,
    jar_header,
    with_query,
)
from loadtest.engine.client.response import CaughtResponse, Response
from loadtest.engine.client.sample import RequestSample
from loadtest.engine.client.streamed import StreamedResponse
from loadtest.engine.client.tls import PLAIN, TlsChoice
from loadtest.engine.client.verbs import Verbs
from loadtest.engine.client.writing import Writing

_monotonic_ns = time.monotonic_ns

Recorder = Callable[[RequestSample], object]


class TTFBClient(Verbs, Following, LongLived, Writing, Concluding):
    """
    The client of one user.

    Connections and cookies are kept apart by target, also where targets differ by port alone, so
    that deployments under comparison on one machine cannot meet through a cookie.

    Args:
        target: Where paths lead; see ``use``.
        record: Called with the RequestSample of every request when its outcome is known.
        limits: Time-outs and sizes.
        resolver: Shared by the users of a process; says when names are looked up.
        headers: Sent with every request to a target, never to another host that a scenario names:
            they may be secret. A request's own headers win.
        tls: What connections trust and show; another host is shown no certificate.
        known_as: URLs that mean the target besides its own, such as what the plan calls it.
    """

    def __init__(
        self,
        target: TargetLike,
        record: Recorder,
        *,
        limits: Limits | None = None,
        resolver: AddressResolver | None = None,
        headers: Mapping[str, str] | None = None,
        tls: TlsChoice = PLAIN,
        known_as: Iterable[str] = (),
    ) -> None:
        self._record = record
        self._tls = tls
        self._limits = limits or Limits()
        self._courier = Courier(self._limits, resolver or AddressResolver(), record)
        self._headers = dict(headers or {})
        self._headers_key: tuple[tuple[str, str], ...] | None = tuple(self._headers.items())
        self._auth: Credentials | None = None
        self._places = Places(tls, known_as)
        self._unrecorded: CaughtResponse | None = None
        self._long_lived = []
        self._streams: list[StreamedResponse] = []
        self._intended_ns = 0
        self._context: object = None
        self._cold = self._first_visit = False
        self.use(target)

    # What the schedule player calls.

    def use(self, target: TargetLike) -> None:
        """
        Send from now on to another target; its connections and cookies are as they were left.

        Raises:
            EngineError: Its URL or CA file cannot be used.
        """
        self._place = self._places.of(target)

    def begin(
        self,
        intended_ns: int,
        context: object = None,
        *,
        new_connection: bool = False,
        first_visit: bool = False,
        goes_on: bool = False,
    ) -> None:
        """
        Begin an arrival.

        Args:
            intended_ns: Its intended start, CLOCK_MONOTONIC; its first request's ``queue`` counts
                from there.
            context: Whatever ``record`` wants to find again in ``sample.context``.
            new_connection: Its first request opens a connection of its own, as ``request`` does.
            first_visit: The plan wants no connection to be open: opening one is no part of TTFB.
            goes_on: The task before does: bodies that it reads stay open.
        """
        if self._streams and not goes_on:
            self._close_streams()
        self._intended_ns = intended_ns
        self._first_visit = first_visit
        self._cold = new_connection
        self._context = context

    @property
    def asked(self) -> bool:
        """Whether the arrival under way has sent a request."""
        return not self._intended_ns

    @property
    def target_url(self) -> str:
        """Base URL in use."""
        return self._place.origin.url

    @property
    def headers(self) -> dict[str, str]:
        """Headers of every request to the target; what a scenario puts in is sent from then on."""
        self._headers_key = None
        return self._headers

    @property
    def auth(self) -> Credentials | None:
        """User and password that every request to the target carries; None for none."""
        return self._auth

    @auth.setter
    def auth(self, pair: Credentials | None) -> None:
        self._auth = pair
        self.headers.pop("Authorization", None)
        if pair is not None:
            self._headers["Authorization"] = basic_credentials(pair)

    @property
    def cookies(self) -> CookieJar:
        """Cookies of the target in use."""
        return self._place.cookies

    def close(self) -> None:
        """Close every connection, and record what a scenario left unrecorded."""
        self._settle_unrecorded()
        self._close_long_lived()
        self._close_streams()
        for place in self._places:
            place.close()

    # What a scenario calls, besides the verbs.

    def request(
        self,
        method: str,
        path: str,
        *,
        name: str | None = None,
        params: Params | None = None,
        headers: Mapping[str, str] | None = None,
        data: Body | None = None,
        json: object = None,
        timeout: Timeout = None,
        new_connection: bool = False,
        catch_response: bool = False,
        **options: object,
    ) -> Response:
        """
        Send one request and return its response; a failure is a response too, and a sample.

        A sample with ``attempts`` 2, see `courier`, is no measurement of TTFB.

        Args:
            method: HTTP method, upper case.
            path: Path with or without a query, or a whole URL.
            name: Name in the tables; by default the path without its query.
            params: Appended to the query.
            headers: Sent besides, and instead of, the client's own.
            data: Body: bytes, text, or a mapping or pairs sent as a form.
            json: Body: anything that JSON can say. Not together with ``data``.
            timeout: Seconds to the last response byte, see ``Limits``; or a pair, the first of
                which bounds each phase of opening a connection.
            new_connection: Open a connection for this request and close it after: a first visitor.
            catch_response: Return a context manager that lets the scenario judge the answer.
            options: Of Locust's clients, see `settle`; where redirects are followed each hop is a
                row, later ones ``NAME (redirected)``; ``stream`` returns a ``StreamedResponse``.

        Returns:
            The response; ``error`` says what went wrong, ``status_code`` is 0 if no answer came.

        Raises:
            OptionError: The client cannot do what an option says.
            ValueError: The request itself cannot be sent, such as a header with a line break in it.
        """
        start_ns, asked = _monotonic_ns(), None
        if path[:1] != "/":
            path, headers = without_credentials(path, headers)
        if options:
            asked = settle(options, headers, data, insecure=self._tls.insecure)
            headers, data = asked.headers, asked.data
            if asked.follow:
                return self._follow(
                    Hop(method, with_query(path, params or ""), headers, data, json, asked.cookies),
                    name=name, timeout=timeout, new_connection=new_connection,
                    catch_response=catch_response, stream=asked.stream,
                )  # fmt: skip
        return self._ask(
            method, path, start_ns=start_ns, name=name, params=params, headers=headers, data=data,
            json=json, timeout=timeout, new_connection=new_connection,
            catch_response=catch_response, asked=asked,
        )  # fmt: skip

    # How it is done.

    def _ask(
        self,
        method: str,
        path: str,
        *,
        start_ns: int,
        name: str | None,
        params: Params | None,
        headers: Mapping[str, str] | None,
        data: Body | None,
        json: object,
        timeout: Timeout,
        new_connection: bool,
        catch_response: bool,
        asked: Asked | None,
    ) -> Response:
        """Send one request whose options are settled; `request` tells of the others."""
        if self._unrecorded is not None:
            self._settle_unrecorded()
        place = self._place
        if params or path[:1] != "/":
            place, path = self._where(path, params)
        if asked is not None and asked.cookies:
            kept = jar_header(place.cookies, place.origin, path)
            asked.headers["Cookie"] = cookie_header(asked.cookies, kept)
        request, default_name = self._written(
            place, method, path, headers=headers, data=data, json=json
        )
        label: Any = name or default_name
        if not isinstance(label, str):
            label = str(label)  # it may be lost, the request may not
        sample = self._sample(label, method, start_ns)
        if self._cold:
            self._cold, new_connection = False, True
        sample.cold = new_connection or self._first_visit
        carried = self._courier.carry(
            place, request, sample, UNSAID if timeout is None else time_outs(timeout),
            new_connection=new_connection, stream=asked is not None and asked.stream,
        )  # fmt: skip
        return self._conclude(
            place, path, sample, carried, cold=new_connection, catch_response=catch_response
        )

    def home_path(self, url: str) -> str:
        """Return the path of a URL of the target in use; one that leads elsewhere as it is."""
        return home_path(self._place, url)

    def _new_sample(self, name: str, method: str) -> RequestSample:
        """Return the sample of what begins now."""
        self._settle_unrecorded()
        return self._sample(name, method, _monotonic_ns())

    def _sample(self, name: str, method: str, start_ns: int) -> RequestSample:
        """Return a sample; the first one of an arrival opens it."""
        sample = RequestSample(name, method, start_ns, self._intended_ns, self._context)
        self._intended_ns = 0
        return sample
