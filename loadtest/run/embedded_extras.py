"""What an embedded world has beside the Machines API: its own routes, asked for and read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar
from urllib.parse import urlsplit

import httpx

from loadtest.errors import PlanError, RecordsError, WorldError
from loadtest.frozen import read
from loadtest.plan.order import Target
from loadtest.records.watch import FaultTouches, MachineLogs, PathFacts, WatchFacts, WorldGlance
from loadtest.records.world_facts import LinkFacts, MeasuredLinks, WorldCounts, WorldFacts

WORLD_TOKEN_VARIABLE = "LOADTEST_WORLD_TOKEN"  # noqa: S105 - the name of a variable
WORLD_TIMEOUT_S = 60.0
GONE_S = 10.0
"""A world that has let a question time out once is hardly asked for longer again."""

T = TypeVar("T")


class EmbeddedExtras:
    """The routes that an embedded world has beside the Machines API."""

    def __init__(self, api_url: str, token: str, *, name: str = "--world") -> None:
        self._url = api_url
        try:
            self._http = httpx.Client(
                base_url=api_url,
                headers={"Authorization": f"Bearer {token}"},
                timeout=WORLD_TIMEOUT_S,
                trust_env=False,
                verify=not api_url.startswith("http:"),  # nobody shows a certificate there
            )
        except httpx.InvalidURL as error:
            raise PlanError(f"{name}: {api_url!r} is no URL: {error}") from error

    def close(self) -> None:
        """Close the connection."""
        self._http.close()

    def describe(self) -> WorldFacts:
        """Return regions, links, edges, machines, versions."""
        return self._told(WorldFacts, "GET", "/world")

    @contextmanager
    def hurry(self) -> Iterator[None]:
        """Wait for no answer for long: somebody else has waited already."""
        usual, self._http.timeout = self._http.timeout, httpx.Timeout(GONE_S)
        yield
        self._http.timeout = usual

    def measure(self) -> tuple[LinkFacts, ...]:
        """Measure every pair of regions through real links; return configured and measured."""
        return self._told(MeasuredLinks, "POST", "/world/measure").links

    def way_to(self, url: str, at: str, region: str) -> Target:
        """
        Open the way from a region to a URL as if its host stood in another one.

        Args:
            url: Base URL of a running deployment, as this machine reaches it.
            at: Region that its host stands in.
            region: Region of the clients.
        """
        parts = urlsplit(url)
        port = parts.port or {"http": 80, "https": 443}[parts.scheme]
        body = {"host": parts.hostname, "port": port, "at": at, "from": region}
        near = self._get("POST", "/world/ways", body)["port"]
        return Target(url=f"{parts.scheme}://127.0.0.1:{near}", host=parts.netloc)

    def glance(self) -> WorldGlance:
        """Return the latest round trips of its links and what happened to its machines."""
        return self._told(WorldGlance, "GET", "/world/glance")

    def be_strict(self) -> None:
        """Let its API limit calls from now on, as Fly does."""
        self._get("POST", "/world/strict")

    def counters(self) -> WorldCounts:
        """Return what passed the links and the edges so far."""
        return self._told(WorldCounts, "GET", "/world/counters")

    def logs(self) -> MachineLogs:
        """Return the end of what its machines printed."""
        return self._told(MachineLogs, "GET", "/world/logs")

    def visitor(self, region: str) -> int:
        """Return the process id of what stands in a region for commands to run beside."""
        return int(self._get("POST", "/world/visitors", {"region": region})["pid"])

    def fault(
        self, what: str, *, for_s: float = 0.0, at_wall_ns: int | None = None
    ) -> FaultTouches:
        """
        Let something go wrong.

        Args:
            what: The words, see `loadtest.faults`.
            for_s: Seconds until it is over; 0 for until it is healed.
            at_wall_ns: When; None for now.
        """
        body = {"what": what, "for_s": for_s, "at_wall_ns": at_wall_ns}
        return self._told(FaultTouches, "POST", "/world/faults", body)

    def watch(self) -> PathFacts:
        """Begin to watch over a load; return where machines' connections lead."""
        return self._told(PathFacts, "POST", "/world/watch")

    def watched(self, *, over: bool) -> WatchFacts:
        """Return what the watch has seen; end it if the load is ``over``."""
        return self._told(WatchFacts, "DELETE" if over else "GET", "/world/watch")

    def _told(
        self, kind: type[T], method: str, path: str, body: Mapping[str, object] | None = None
    ) -> T:
        """Return what the world answers, as its type."""
        try:
            return read(kind, self._get(method, path, body), path)
        except RecordsError as error:
            raise WorldError(f"the world is of another version: {error}") from error

    def _get(
        self, method: str, path: str, body: Mapping[str, object] | None = None
    ) -> dict[str, Any]:
        try:
            response = self._http.request(method, path, json=body)
        except httpx.HTTPError as error:
            if isinstance(error, httpx.TimeoutException):
                self._http.timeout = GONE_S
            reason = str(error) or type(error).__name__
            raise WorldError(f"the world at {self._url} does not answer: {reason}") from error
        if not response.is_success:
            raise WorldError(f"the world: {method} {path}: {_refusal(response)}")
        try:
            answer = response.json()
        except ValueError:
            answer = None
        if not isinstance(answer, dict):
            raise WorldError(f"{self._url} is not the Machines API of a world: no JSON at {path}")
        return answer


def _refusal(response: httpx.Response) -> str:
    """Return the reason in an answer that is no success."""
    try:
        reason = str(response.json()["error"])
    except (ValueError, KeyError, TypeError):
        reason = response.text[:300]
    advice = f"; set {WORLD_TOKEN_VARIABLE}" if response.status_code == 401 else ""
    return f"HTTP {response.status_code}: {reason}{advice}"
