"""Where the requests of one user go: its targets, and other hosts that a scenario names."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final
from urllib.parse import SplitResult, urlsplit

from loadtest.engine.client.cookies import CookieJar
from loadtest.engine.client.origin import TargetLike, origin_of
from loadtest.engine.client.state import TargetState
from loadtest.engine.client.tls import TlsChoice

_DEFAULT_PORTS: Final = {"http": ":80", "https": ":443"}


class Places:
    """
    What a user has at each place that it asked.

    Args:
        tls: What connections trust and show; another host is shown no certificate.
        known_as: URLs that mean the target in use, besides its own.
    """

    def __init__(self, tls: TlsChoice, known_as: Iterable[str] = ()) -> None:
        self._tls = tls
        self._known_as = tuple(known_as)
        self._targets: dict[tuple[str, str, str, str], TargetState] = {}
        self._elsewhere: dict[tuple[TargetState, str], TargetState] = {}

    def __iter__(self) -> Iterator[TargetState]:
        yield from self._targets.values()
        yield from self._elsewhere.values()

    def of(self, target: TargetLike) -> TargetState:
        """
        Return what the user has at a target.

        Raises:
            EngineError: Its URL or CA file cannot be used.
        """
        key = (target.url, target.host, target.ca_file, target.http)
        place = self._targets.get(key)
        if place is None:
            origin = origin_of(*key, self._tls)
            place = self._targets[key] = TargetState(origin, CookieJar())
            scheme = urlsplit(origin.url).scheme
            names = (origin.url, f"{scheme}://{origin.host_header}", *self._known_as)
            place.names = frozenset(base_of(name) for name in names)
        return place

    def led_to(self, here: TargetState, url: str) -> tuple[TargetState, str]:
        """
        Return where a whole URL leads, and its path; cookies are those of the target in use.

        Args:
            here: What the user has there.
            url: URL, or a path; one that begins with its query is that of the first page.

        Raises:
            ValueError: It is neither.
        """
        if url[:1] in ("", "?", "#"):
            return here, f"/{url}"
        if (path := home_path(here, url))[:1] == "/":
            return here, path
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.netloc:
            raise ValueError(f"path {url!r}: need /PATH, http://HOST/PATH or https://HOST/PATH")
        base = f"{parts.scheme}://{parts.netloc}"
        found = self._elsewhere.get((here, base))
        if found is None:
            known = here.origin
            origin = origin_of(base, "", known.ca_file, known.http, self._tls.for_others())
            found = self._elsewhere[(here, base)] = TargetState(origin, here.cookies)
        return found, _path_of(parts)


def home_path(here: TargetState, url: str) -> str:
    """
    Return the path of a URL of the target, by any of its names; others, and paths, as they are.

    It is what tells a request to the target, which is measured as its deployment's, from one to
    another host: for requests, for redirects, and for the sessions of locustfiles.
    """
    parts = urlsplit(url)
    if not parts.netloc:
        return url
    return _path_of(parts) if _base_of(parts) in here.names else url


def base_of(url: str) -> str:
    """Return scheme, host and port of a URL, spelt as `TargetState.names` spells them."""
    return _base_of(urlsplit(url))


def _base_of(parts: SplitResult) -> str:
    place = parts.netloc.lower()
    return f"{parts.scheme}://{place.removesuffix(_DEFAULT_PORTS.get(parts.scheme, ' '))}"


def _path_of(parts: SplitResult) -> str:
    return (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
