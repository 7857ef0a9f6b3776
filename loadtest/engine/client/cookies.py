"""
A user's cookies, kept and sent as a browser does.

Source: draft-ietf-httpbis-rfc6265bis-20, sections 5.1 (dates, domains, paths), 5.6 (Set-Cookie),
5.7 (storage) and 5.8 (Cookie).
There is no public-suffix list here: names without a dot count as public, which keeps a server from
setting a cookie for all of ``com``, but not for all of ``co.uk``.
"""

from __future__ import annotations

import calendar
import ipaddress
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

_MAX_COOKIE = 4096  # bytes of name and value; attributes have a bound of their own
_MAX_ATTRIBUTE = 1024
_MAX_COOKIES = 300
_MAX_AGE_S = 10**15  # an age beyond any run; larger numbers would not fit a float
_NEVER = float("inf")
_DELIMITER = re.compile(r"[\x09\x20-\x2f\x3b-\x40\x5b-\x60\x7b-\x7e]+")
_TIME = re.compile(r"(\d{1,2}):(\d{1,2}):(\d{1,2})(?:\D.*)?$")
_DAY = re.compile(r"(\d{1,2})(?:\D.*)?$")
_YEAR = re.compile(r"(\d{2,4})(?:\D.*)?$")
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")  # what no header may carry
_AGE = re.compile(r"-?[0-9]+")
_OWN_NAME = re.compile(r"[^\x00-\x20;=\x7f]+")
_OWN_VALUE = re.compile(r"[^\x00-\x1f;\x7f]*")
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

        Args:
            name: Latin-1 without blanks, control characters, ``;`` and ``=``.
            value: Latin-1 without control characters and ``;``.
            host: Where it is sent to; its subdomains do not get it.
            path: Sent with requests at and below this path.

        Raises:
            ValueError: It could not stand in a Cookie header, or would forge another one.
        """
        check_pair(name, value)
        self._store(Cookie(name, value, _canonical(host), path, True, False, False, _NEVER, 0))

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
        if _CONTROL.search(header):
            return False
        pair, *parts = header.split(";")
        name, equals, value = pair.partition("=")
        if not equals:  # a value without a name is sent back as it came
            name, value = "", name
        name, value = name.strip(" \t"), value.strip(" \t")
        if not 0 < len(name) + len(value) <= _MAX_COOKIE:
            return False
        attributes = _attributes(parts)
        host = _canonical(host)
        domain = attributes.get("domain", "").removeprefix(".").lower()
        if domain and not _may_set(host, domain):
            return False
        path = attributes.get("path", "")
        cookie = Cookie(
            name=name,
            value=value,
            domain=domain or host,
            path=path if path.startswith("/") else default_path(request_path),
            host_only=not domain or (domain == host and _is_public(domain)),
            secure="secure" in attributes,
            http_only="httponly" in attributes,
            expires_at=self._expiry(attributes),
            created=0,
        )
        return _keeps_promise(cookie, says_path="path" in attributes) and self._store(cookie)

    def _expiry(self, attributes: dict[str, str]) -> float:
        max_age = attributes.get("max-age", "")
        if _AGE.fullmatch(max_age):  # it wins over Expires
            age_s = min(int(max_age), _MAX_AGE_S)
            return self._wall_s() + age_s if age_s > 0 else -_NEVER
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
        host = _canonical(host)
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


def check_pair(name: str, value: str) -> None:
    """
    Refuse a cookie of a scenario's own that could not stand in a Cookie header.

    Raises:
        ValueError: The name or the value carries what the header cannot, or they are too long.
    """
    if not isinstance(name, str) or not _OWN_NAME.fullmatch(name):
        raise ValueError(
            f"cookie name {name!r}: text without blanks, control characters, ';' and '='"
        )
    if not isinstance(value, str) or not _OWN_VALUE.fullmatch(value):
        raise ValueError(
            f"cookie {name}: value {value!r} must be text without control characters and ';'; "
            "percent-encode it"
        )
    if any(ord(c) > 255 for c in name + value):
        raise ValueError(f"cookie {name}: value {value!r} must be Latin-1; percent-encode the rest")
    if len(name) + len(value) > _MAX_COOKIE:
        raise ValueError(
            f"cookie {name}: {len(name) + len(value)} bytes of name and value; "
            f"at most {_MAX_COOKIE} are sent"
        )


def _canonical(host: str) -> str:
    return host.lower().removesuffix(".")


def _keeps_promise(cookie: Cookie, *, says_path: bool) -> bool:
    """Tell whether a cookie is what the prefix of its name promises (rfc6265bis, 4.1.3 and 5.7)."""
    # what begins like a promise in a nameless value would look like one when it is sent back
    promise = (cookie.name or cookie.value).lower()
    if not promise.startswith(("__secure-", "__host-")):
        return True
    if not cookie.name or not cookie.secure:
        return False
    return promise.startswith("__secure-") or (
        cookie.host_only and says_path and cookie.path == "/"
    )


def _attributes(parts: list[str]) -> dict[str, str]:
    """Return attribute values by lower-case name; the last of a name wins, an overlong one not."""
    found: dict[str, str] = {}
    for part in parts:
        name, _, value = part.partition("=")
        if len(value := value.strip(" \t")) <= _MAX_ATTRIBUTE:
            found[name.strip(" \t").lower()] = value
    return found


def _is_sent(cookie: Cookie, host: str, path: str, secure: bool) -> bool:
    if cookie.secure and not secure:
        return False
    if cookie.host_only and host != cookie.domain:
        return False
    return domain_matches(host, cookie.domain) and path_matches(path, cookie.path)


def _may_set(host: str, domain: str) -> bool:
    return domain == host or (not _is_public(domain) and domain_matches(host, domain))


def _is_public(domain: str) -> bool:
    """Tell whether a domain holds hosts of different owners, as far as its spelling tells."""
    return "." not in domain


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
