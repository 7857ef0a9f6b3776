"""
A user's cookies, kept and sent as a browser does.

Source: RFC 6265 and 6265bis, sections 5.1 (dates, domains, paths), 5.2 (Set-Cookie), 5.3 (storage)
and 5.4 (Cookie).
There is no public-suffix list here: a Domain attribute needs a dot in it, which keeps a server from
setting a cookie for all of ``com``, but not for all of ``co.uk``.
"""

from __future__ import annotations

import calendar
import ipaddress
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

_MAX_COOKIE = 4096
_MAX_ATTRIBUTE = 1024
_MAX_COOKIES = 300
_NEVER = float("inf")
_DELIMITER = re.compile(r"[\x09\x20-\x2f\x3b-\x40\x5b-\x60\x7b-\x7e]+")
_TIME = re.compile(r"(\d{1,2}):(\d{1,2}):(\d{1,2})(?:\D.*)?$")
_DAY = re.compile(r"(\d{1,2})(?:\D.*)?$")
_YEAR = re.compile(r"(\d{2,4})(?:\D.*)?$")
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")  # what no header may carry
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")


@dataclass(slots=True)
class Cookie:
    """One cookie as it is stored."""

    name: str
    value: str
    domain: str
    path: str
    host_only: bool
    secure: bool
    http_only: bool
    expires_at: float
    """Seconds since the epoch; infinity for a cookie of the session."""
    created: int
    """Order of creation; replacing a cookie keeps it."""


class CookieJar:
    """
    The cookies of one user.

    Args:
        wall_s: Reads the time, seconds since the epoch, that expiry is judged by.
    """

    def __init__(self, wall_s: Callable[[], float] = time.time) -> None:
        self._wall_s = wall_s
        self._cookies: dict[tuple[str, str, str], Cookie] = {}
        self._created = 0

    def __len__(self) -> int:
        return len(self._cookies)

    def __iter__(self) -> Iterator[Cookie]:
        return iter(list(self._cookies.values()))

    def clear(self) -> None:
        """Forget every cookie."""
        self._cookies.clear()

    def get(self, name: str, default: str | None = None) -> str | None:
        """Return the value of the first unexpired cookie of that name."""
        now = self._wall_s()
        for cookie in self._cookies.values():
            if cookie.name == name and cookie.expires_at > now:
                return cookie.value
        return default

    def set(self, name: str, value: str, *, host: str, path: str = "/") -> None:
        """
        Keep a cookie of one's own making for the session, for one host.

        Raises:
            ValueError: Name or value would break out of the header.
        """
        if _CONTROL.search(name + value) or ";" in name + value or "=" in name or not name.strip():
            raise ValueError(
                f"cookie {name!r}: name and value may hold no control characters and no ';', "
                "the name no '='"
            )
        self._store(Cookie(name, value, host.lower(), path, True, False, False, _NEVER, 0))

    def store(self, header: str, *, host: str, request_path: str) -> bool:
        """
        Take in one Set-Cookie header.

        Args:
            header: Its value.
            host: Host that sent it, without a port.
            request_path: Path of the request that it answers; a query is passed over.

        Returns:
            False if it had to be ignored.
        """
        pair, *parts = header.split(";")
        name, equals, value = pair.partition("=")
        if not equals:  # a cookie without a name
            name, value = "", pair
        name, value = name.strip(" \t"), value.strip(" \t")
        if not name + value or len(name) + len(value) > _MAX_COOKIE:
            return False
        if _CONTROL.search(header):
            return False
        attributes = _attributes(parts)
        host = host.lower()
        domain = attributes.get("domain", "").removeprefix(".").lower()
        if domain and not _may_set(host, domain):
            return False
        path = attributes.get("path", "")
        if not _keeps_its_promise(name, attributes) or (not name and _promises(value)):
            return False
        return self._store(
            Cookie(
                name=name,
                value=value,
                domain=domain or host,
                path=path if path.startswith("/") else default_path(request_path),
                host_only=not domain,
                secure="secure" in attributes,
                http_only="httponly" in attributes,
                expires_at=self._expiry(attributes),
                created=0,
            )
        )

    def _expiry(self, attributes: dict[str, str]) -> float:
        max_age = attributes.get("max-age", "")
        if re.fullmatch(r"-?\d+", max_age, re.ASCII):  # it wins over Expires
            if max_age.startswith("-") or not max_age.strip("0"):
                return -1.0
            return self._wall_s() + int(max_age) if len(max_age) <= 15 else _NEVER
        return parse_date(attributes.get("expires", ""))

    def _store(self, cookie: Cookie) -> bool:
        key = (cookie.domain, cookie.path, cookie.name)
        old = self._cookies.get(key)
        if cookie.expires_at <= self._wall_s():
            self._cookies.pop(key, None)
            return True
        if old is None:
            self._created += 1
            if len(self._cookies) >= _MAX_COOKIES:
                del self._cookies[min(self._cookies, key=lambda k: self._cookies[k].created)]
        cookie.created = self._created if old is None else old.created
        self._cookies[key] = cookie
        return True

    def header(self, *, host: str, path: str, secure: bool) -> str:
        """
        Return the Cookie header's value for a request; empty for none.

        Args:
            host: Host that the request goes to, without a port.
            path: Path of the request; a query is passed over.
            secure: Whether it goes over TLS.
        """
        if not self._cookies:
            return ""
        now = self._wall_s()
        host = host.lower()
        path = path.partition("?")[0]
        sent: list[Cookie] = []
        for key, cookie in list(self._cookies.items()):
            if cookie.expires_at <= now:
                del self._cookies[key]
            elif _is_sent(cookie, host, path, secure):
                sent.append(cookie)
        sent.sort(key=lambda cookie: (-len(cookie.path), cookie.created))
        return "; ".join(
            f"{cookie.name}={cookie.value}" if cookie.name else cookie.value for cookie in sent
        )


def _attributes(parts: list[str]) -> dict[str, str]:
    """Return attribute values by lower-case name; the last of a name wins."""
    found: dict[str, str] = {}
    for part in parts:
        name, _, value = part.partition("=")
        if len(value.strip(" \t")) > _MAX_ATTRIBUTE:
            continue
        found[name.strip(" \t").lower()] = value.strip(" \t")
    return found


def _is_sent(cookie: Cookie, host: str, path: str, secure: bool) -> bool:
    if cookie.secure and not secure:
        return False
    if cookie.host_only and host != cookie.domain:
        return False
    return domain_matches(host, cookie.domain) and path_matches(path, cookie.path)


def _keeps_its_promise(name: str, attributes: dict[str, str]) -> bool:
    """Return whether a cookie is what the prefix of its name says (RFC 6265bis, 4.1.3)."""
    lower = name.lower()
    if lower.startswith("__secure-"):
        return "secure" in attributes
    if lower.startswith("__host-"):
        bound = not attributes.get("domain") and attributes.get("path") == "/"
        return "secure" in attributes and bound
    return True


def _promises(text: str) -> bool:
    return text.lower().startswith(("__secure-", "__host-"))


def _may_set(host: str, domain: str) -> bool:
    return domain == host or ("." in domain and domain_matches(host, domain))


def domain_matches(host: str, domain: str) -> bool:
    """Return whether a host is the domain or lies below it; an address only matches itself."""
    if host == domain:
        return True
    if not host.endswith("." + domain):
        return False
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return True
    return False


def path_matches(path: str, cookie_path: str) -> bool:
    """Return whether a request's path is the cookie's or lies below it."""
    if path == cookie_path:
        return True
    return path.startswith(cookie_path) and (
        cookie_path.endswith("/") or path[len(cookie_path)] == "/"
    )


def default_path(request_path: str) -> str:
    """Return the path of a cookie that names none: the request's up to its last slash."""
    path = request_path.partition("?")[0]
    if not path.startswith("/"):
        return "/"
    return path[: path.rfind("/")] or "/"


def parse_date(text: str) -> float:
    """
    Return a cookie's date as seconds since the epoch; infinity if it is none.

    The algorithm is that of RFC 6265, 5.1.1, which takes the many spellings that servers use.
    """
    clock: tuple[int, ...] = ()
    day = month = year = None
    for token in _DELIMITER.split(text):
        if not clock and (match := _TIME.match(token)):
            clock = tuple(int(part) for part in match.groups())
        elif day is None and (match := _DAY.match(token)):
            day = int(match[1])
        elif month is None and token[:3].lower() in _MONTHS:
            month = _MONTHS.index(token[:3].lower()) + 1
        elif year is None and (match := _YEAR.match(token)):
            year = int(match[1])
    if not clock or day is None or month is None or year is None:
        return _NEVER
    if year < 100:
        year += 1900 if year >= 70 else 2000
    hour, minute, second = clock
    if not (1 <= day <= 31 and year >= 1601 and hour <= 23 and minute <= 59 and second <= 59):
        return _NEVER
    if day > calendar.monthrange(year, month)[1]:
        return _NEVER
    return float(calendar.timegm((year, month, day, hour, minute, second)))
