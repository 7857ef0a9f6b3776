"""
Decides when a request is replayed in the primary region, for any kind of server.

An app runs in several regions; its database takes writes in the primary region only and is
replicated to the others.  Reads use the replica nearby.  A request that writes is answered with
a ``fly-replay`` header, and Fly's proxy runs it again in the primary region.

Nothing here touches a socket or a clock: what is needed comes as arguments.
Protocol: https://fly.io/docs/networking/dynamic-request-routing/
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping, MutableMapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit, urlunsplit

WRITE_METHODS = frozenset({"POST", "PUT", "PATCH", "DELETE"})
COOKIE_NAME = "fly-replay-threshold"
DEFAULT_WINDOW_S = 5.0
REPLICA_PORT = 5433
READ_ONLY_SQLSTATE = "25006"

HTTP_METHOD = "http_method"
THRESHOLD = "threshold"
LSN = "lsn"
CAPTURED_WRITE = "captured_write"

_WROTE = frozenset({HTTP_METHOD, CAPTURED_WRITE})
_SKEW_S = 60.0
_REGION = re.compile(r"[a-z0-9]{2,8}")
_MOMENT = re.compile(r"[0-9]{1,12}(?:\.[0-9]{1,6})?")
_POSTGRES_SCHEMES = frozenset({"postgres", "postgresql"})


@dataclass(frozen=True, slots=True)
class RegionalSettings:
    """
    Where this process runs and how it behaves there.

    Args:
        primary_region: The region whose database takes writes.
        current_region: The region this process runs in.
        window_s: How long after a write a visitor's reads go to the primary region too: longer
            than the replicas lag.
        replay_methods: Methods that are replayed before the app sees them.
        cookie_name: The cookie that remembers a write.

    Raises:
        ValueError: A region is not a region code, or the window is not positive.
    """

    primary_region: str
    current_region: str
    window_s: float = DEFAULT_WINDOW_S
    replay_methods: frozenset[str] = WRITE_METHODS
    cookie_name: str = COOKIE_NAME

    def __post_init__(self) -> None:
        """Check the values: the regions end up in a header."""
        for name in ("primary_region", "current_region"):
            if not _REGION.fullmatch(getattr(self, name)):
                raise ValueError(f"{name} is {getattr(self, name)!r}: expected a code such as cdg")
        if not 0 < self.window_s <= 86_400:
            raise ValueError(f"window_s is {self.window_s}: expected seconds above 0, up to a day")

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> RegionalSettings | None:
        """
        Return the settings of a machine on Fly, or None outside of one.

        Reads PRIMARY_REGION, FLY_REGION and, if set, REPLAY_THRESHOLD_SECONDS.

        Raises:
            ValueError: One of them has a value that cannot be meant.
        """
        primary, current = environ.get("PRIMARY_REGION", ""), environ.get("FLY_REGION", "")
        if not primary or not current:
            return None
        window = environ.get("REPLAY_THRESHOLD_SECONDS") or str(DEFAULT_WINDOW_S)
        try:
            window_s = float(window)
        except ValueError:
            raise ValueError(
                f"REPLAY_THRESHOLD_SECONDS is {window!r}: expected seconds, such as 5"
            ) from None
        return cls(primary, current, window_s)

    @property
    def secondary(self) -> bool:
        """Tell whether this process runs outside the primary region."""
        return self.primary_region != self.current_region


ERROR_KEY = "loadtest.read-only-error"
"""Where a request carries the error that `note_error` was told of."""


@dataclass(frozen=True, slots=True)
class ReplayAnswer:
    """The answer that makes the proxy run a request elsewhere: status 409, no body."""

    region: str
    state: str

    @property
    def header(self) -> str:
        """Return the value of the ``fly-replay`` header."""
        return f"region={self.region};state={self.state}"


@dataclass(frozen=True, slots=True)
class ReplayOrigin:
    """Where a replayed request comes from, as the proxy tells in ``fly-replay-src``."""

    instance: str = ""
    region: str = ""
    state: str = ""


def parse_replay_source(header: str | None) -> ReplayOrigin | None:
    """Return the content of a ``fly-replay-src`` header; unknown keys are ignored."""
    if header is None:
        return None
    fields: dict[str, str] = {}
    for part in header.split(";"):
        key, equals, value = part.partition("=")
        if equals:
            fields.setdefault(key.strip().lower(), value.strip().strip('"'))
    return ReplayOrigin(
        fields.get("instance", ""), fields.get("region", ""), fields.get("state", "")
    )


def replay_before(
    settings: RegionalSettings,
    method: str,
    cookie_headers: Iterable[str],
    now_s: float,
    *,
    replay_failed: bool = False,
) -> ReplayAnswer | None:
    """
    Decide before the app runs.

    Args:
        settings: Where this process runs.
        method: The request's method.
        cookie_headers: The values of its Cookie headers.
        now_s: Seconds since the UNIX epoch.
        replay_failed: The request carries ``fly-replay-failed``: the proxy gave it back, and it
            may not be replayed again.

    Returns:
        The replay, or None to run the app.
    """
    if not settings.secondary or replay_failed:
        return None
    if method in settings.replay_methods:
        return ReplayAnswer(settings.primary_region, HTTP_METHOD)
    latest = max(_moments(settings.cookie_name, cookie_headers), default=0.0)
    # A moment further ahead than any window was not set by us; it must not pin a visitor to the
    # primary region for ever.
    if now_s < latest <= now_s + settings.window_s + _SKEW_S:
        return ReplayAnswer(settings.primary_region, THRESHOLD)
    return None


def replay_after(
    settings: RegionalSettings, error: BaseException, *, replay_failed: bool = False
) -> ReplayAnswer | None:
    """
    Decide after the app failed: a write that met a read-only database is replayed.

    Never in the primary region: a primary that is read-only (its disk is full) would be asked
    again and again.

    Args:
        settings: Where this process runs.
        error: What the app raised.
        replay_failed: As for `replay_before`.

    Returns:
        The replay, or None to let the error take its course.
    """
    if settings.secondary and not replay_failed and is_read_only_error(error):
        return ReplayAnswer(settings.primary_region, CAPTURED_WRITE)
    return None


def note_error(request: MutableMapping[str, Any], error: BaseException) -> None:
    """
    Tell the middleware of an error that a framework turns into a page of its own.

    Args:
        request: The WSGI environ or ASGI scope of the request.
        error: What the view raised; it counts if it is a refused write.
    """
    if is_read_only_error(error):
        request.setdefault(ERROR_KEY, error)


def threshold_cookie(
    settings: RegionalSettings, method: str, source: ReplayOrigin | None, now_s: float
) -> str | None:
    """
    Return the Set-Cookie header of an answer, or None.

    It is set for every write that was handled in the primary region, replayed or direct, whatever
    its status: an app may have written before it failed.  A read that was replayed because of
    the cookie does not prolong it.

    Args:
        settings: Where this process runs.
        method: The request's method.
        source: Where the request was replayed from; None if it came directly.
        now_s: Seconds since the UNIX epoch at the moment of the answer.
    """
    if not wrote(settings, method, source):
        return None
    # Milliseconds, rounded up: whole seconds would cut the window by up to one.
    until = math.ceil((now_s + settings.window_s) * 1000) / 1000
    age = math.ceil(settings.window_s)
    return f"{settings.cookie_name}={until:.3f}; Max-Age={age}; Path=/; HttpOnly; SameSite=Lax"


def wrote(settings: RegionalSettings, method: str, source: ReplayOrigin | None) -> bool:
    """Tell whether a request that was handled here is a write in the primary region."""
    if settings.secondary:
        return False
    return method in settings.replay_methods or bool(source and source.state in _WROTE)


def is_read_only_error(error: BaseException) -> bool:
    """
    Tell whether an error, or one it wraps, is a write refused by a read-only database.

    Recognises SQLSTATE 25006 as psycopg, asyncpg (``sqlstate``), psycopg2 (``pgcode``) and pg8000
    (a dict) carry it, and SQLite's SQLITE_READONLY, wrapped by SQLAlchemy (``orig``), Django
    (``__cause__``) or a group.
    """
    seen: set[int] = set()
    to_see: list[BaseException] = [error]
    while to_see:
        current = to_see.pop()
        if id(current) in seen:
            continue
        seen.add(id(current))
        if READ_ONLY_SQLSTATE in _sqlstates(current):
            return True
        to_see += _wrapped(current)
    return False


def database_url(environ: Mapping[str, str], settings: RegionalSettings | None) -> str | None:
    """
    Return the URL of the database that this process should read from.

    In the primary region, or with no settings, that is DATABASE_URL.  Elsewhere it is
    REPLICA_DATABASE_URL or, without one, the nearest replica that `replica_url` derives.
    """
    url = environ.get("DATABASE_URL") or None
    if settings is None or not settings.secondary:
        return url
    return environ.get("REPLICA_DATABASE_URL") or (url and replica_url(url))


def replica_url(url: str) -> str:
    """
    Return the URL of the nearest replica of a PostgreSQL app on Fly.

    ``<anything>.<app>.internal`` and ``<app>.flycast`` become ``top1.nearest.of.<app>.internal``
    on port 5433, where every machine serves its own copy of the data, whatever driver the scheme
    names (``postgresql+psycopg``) and however many hosts of the app stand in the URL.  Other URLs
    stay as they are: nothing is known about where their replicas would be.
    """
    parts = urlsplit(url)
    login, at, places = parts.netloc.rpartition("@")
    hosts = [place.partition(":")[0].lower().split(".") for place in places.split(",")]
    known = all(len(labels) >= 2 and labels[-1] in ("internal", "flycast") for labels in hosts)
    scheme, _, _driver = parts.scheme.partition("+")
    if scheme not in _POSTGRES_SCHEMES or not known or len({labels[-2] for labels in hosts}) > 1:
        return url
    host = f"top1.nearest.of.{hosts[0][-2]}.internal:{REPLICA_PORT}"
    return urlunsplit(parts._replace(netloc=f"{login}{at}{host}"))


def cookie_values(name: str, cookie_headers: Iterable[str]) -> Iterator[str]:
    """Yield the value of every cookie of that name."""
    for header in cookie_headers:
        for pair in re.split("[;,]", header):  # some proxies join several Cookie headers by commas
            key, _, value = pair.partition("=")
            if key.strip() == name:
                yield value.strip().strip('"')


def _moments(name: str, cookie_headers: Iterable[str]) -> Iterator[float]:
    """Yield the value of every cookie of that name that is a moment in time."""
    for text in cookie_values(name, cookie_headers):
        if _MOMENT.fullmatch(text):
            yield float(text)


def _sqlstates(error: BaseException) -> Iterator[object]:
    """Yield what an error carries where drivers put the SQLSTATE."""
    yield getattr(error, "sqlstate", None)
    yield getattr(error, "pgcode", None)
    if str(getattr(error, "sqlite_errorname", "")).startswith("SQLITE_READONLY"):
        yield READ_ONLY_SQLSTATE
    if error.args and isinstance(error.args[0], dict):
        yield error.args[0].get("C")


def _wrapped(error: BaseException) -> Iterator[BaseException]:
    """Yield the errors that an error stands for."""
    candidates = [error.__cause__, getattr(error, "orig", None)]
    if not error.__suppress_context__:
        candidates.append(error.__context__)
    if isinstance(error, BaseExceptionGroup):
        candidates += error.exceptions
    yield from (found for found in candidates if isinstance(found, BaseException))
