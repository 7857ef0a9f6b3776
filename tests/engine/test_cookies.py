"""A user's cookies, by RFC 6265."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loadtest.engine.client.cookies import (
    CookieJar,
    default_path,
    domain_matches,
    parse_date,
    path_matches,
)


class Time:
    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def jar(time: Time) -> CookieJar:
    return CookieJar(time)


def sent(jar: CookieJar, path: str = "/", host: str = "a.example", secure: bool = False) -> str:
    return jar.header(host=host, path=path, secure=secure)


def store(
    jar: CookieJar, header: str, host: str = "a.example", path: str = "/recipes/new?x=1"
) -> bool:
    return jar.store(header, host=host, request_path=path)


def test_a_cookie_comes_back_below_the_path_it_was_set_from(jar: CookieJar) -> None:
    """The default path is the request's up to its last slash, without the query."""
    assert store(jar, "a=1")
    assert sent(jar, "/recipes/7?q=/x") == "a=1"
    assert sent(jar, "/recipes") == "a=1"
    assert sent(jar, "/") == ""
    assert sent(jar, "/recipesque") == ""


@pytest.mark.parametrize(
    ("path", "default"),
    [("", "/"), ("x", "/"), ("/", "/"), ("/a", "/"), ("/a/", "/a"), ("/a/b?c/d", "/a")],
)
def test_default_path(path: str, default: str) -> None:
    """RFC 6265, 5.1.4."""
    assert default_path(path) == default


@pytest.mark.parametrize(
    ("path", "cookie_path", "matches"),
    [
        ("/a/b", "/a", True),
        ("/a", "/a", True),
        ("/a/", "/a/", True),
        ("/a", "/a/", False),
        ("/ab", "/a", False),
        ("/anything", "/", True),
    ],
)
def test_path_match(path: str, cookie_path: str, matches: bool) -> None:
    """RFC 6265, 5.1.4."""
    assert path_matches(path, cookie_path) is matches


@pytest.mark.parametrize(
    ("host", "domain", "matches"),
    [
        ("a.example.com", "example.com", True),
        ("example.com", "example.com", True),
        ("badexample.com", "example.com", False),
        ("1.2.3.4", "3.4", False),
        ("::1", "::1", True),
    ],
)
def test_domain_match(host: str, domain: str, matches: bool) -> None:
    """RFC 6265, 5.1.3: below the domain at a dot, and never for an address."""
    assert domain_matches(host, domain) is matches


def test_a_domain_cookie_reaches_siblings_a_host_cookie_does_not(jar: CookieJar) -> None:
    """Domain widens; without it a cookie stays with its host."""
    store(jar, "wide=1; Domain=.Example.com; Path=/", host="a.example.com")
    store(jar, "narrow=1; Path=/", host="a.example.com")
    assert sent(jar, host="b.example.com") == "wide=1"
    assert sent(jar, host="A.example.com") == "wide=1; narrow=1"


@pytest.mark.parametrize("domain", ["other.com", "com", "a.b.example.com", "xample.com"])
def test_a_server_cannot_set_cookies_for_others(jar: CookieJar, domain: str) -> None:
    """A domain the host does not lie in, or a whole top-level domain, is refused."""
    assert not store(jar, f"a=1; Domain={domain}", host="b.example.com")
    assert len(jar) == 0


def test_secure_cookies_need_tls(jar: CookieJar) -> None:
    """Secure keeps a cookie off plain connections; HttpOnly is kept as a fact."""
    store(jar, "a=1; Secure; HttpOnly; Path=/")
    assert sent(jar) == ""
    assert sent(jar, secure=True) == "a=1"
    assert next(iter(jar)).http_only


def test_max_age_wins_over_expires(jar: CookieJar, time: Time) -> None:
    """And both end a cookie in time."""
    store(jar, "a=1; Max-Age=10; Expires=Thu, 01 Jan 1970 00:00:00 GMT; Path=/")
    assert sent(jar) == "a=1"
    assert jar.get("a") == "1"
    time.now += 11
    assert jar.get("a") is None
    assert sent(jar) == ""
    assert len(jar) == 0


@pytest.mark.parametrize(
    "end", ["Max-Age=0", "Max-Age=-1", "Expires=Thu, 01 Jan 1970 00:00:00 GMT"]
)
def test_a_past_end_deletes(jar: CookieJar, end: str) -> None:
    """The way a server takes a cookie back."""
    store(jar, "a=1; Path=/")
    store(jar, f"a=; Path=/; {end}")
    assert len(jar) == 0


def test_longer_paths_first_then_the_older(jar: CookieJar) -> None:
    """RFC 6265, 5.4; replacing a cookie keeps its place."""
    for header in ("old=1; Path=/", "deep=1; Path=/recipes", "new=1; Path=/", "old=2; Path=/"):
        store(jar, header)
    assert sent(jar, "/recipes/1") == "deep=1; old=2; new=1"


@pytest.mark.parametrize(
    "header", ["", "=", "a=b\x00c", "a\x07=1", "a=" + "x" * 4096, "a=1\r\nX: y", "a=1; Path=\x00"]
)
def test_what_is_no_cookie_is_ignored(jar: CookieJar, header: str) -> None:
    """Control characters above all, which could forge a request header."""
    assert not store(jar, header)
    assert len(jar) == 0


def test_the_jar_is_bounded(jar: CookieJar) -> None:
    """A server that sets ever new cookies displaces its oldest."""
    for number in range(400):
        store(jar, f"c{number}=1; Path=/")
    assert len(jar) == 300
    assert jar.get("c99") is None
    assert jar.get("c100") == "1"


def test_a_cookie_of_ones_own(jar: CookieJar) -> None:
    """A scenario may set and clear cookies itself."""
    jar.set("a", "1", host="A.example")
    assert sent(jar) == "a=1"
    jar.clear()
    assert sent(jar) == ""


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("Sun, 06 Nov 1994 08:49:37 GMT", 784111777),
        ("Sunday, 06-Nov-94 08:49:37 GMT", 784111777),
        ("Sun Nov  6 08:49:37 1994", 784111777),
        ("06 nov 1994 8:49:37", 784111777),
        ("01-Jan-69 00:00:00", 3124224000),
        ("Sun, 31 Feb 2027 00:00:00 GMT", math.inf),
        ("01 Jan 1600 00:00:00", math.inf),
        ("01 Jan 2027 24:00:00", math.inf),
        ("tomorrow", math.inf),
        ("", math.inf),
    ],
)
def test_dates_in_the_spellings_servers_use(text: str, seconds: float) -> None:
    """RFC 6265, 5.1.1; what is no date makes a session cookie."""
    assert parse_date(text) == seconds


@given(st.text(max_size=80))
@settings(max_examples=200)
def test_no_header_breaks_the_jar(text: str) -> None:
    """Whatever a server sends, what goes back is one line."""
    jar = CookieJar()
    store(jar, text)
    line = sent(jar, "/recipes/", secure=True)
    assert "\r" not in line
    assert "\n" not in line


@pytest.mark.parametrize(
    ("header", "host", "wanted"),
    [
        ("a=1; Domain=shop.test; Path=/", "api.shop.test", "a=1"),
        ("a=1; Domain=.shop.test; Path=/", "api.shop.test", "a=1"),
        ("a=1; Path=/", "api.shop.test", ""),
        ("a=1; Domain=..shop.test; Path=/", "shop.test", ""),
        ("v; Path=/", "shop.test", "v"),
        ("=v; Path=/", "shop.test", "v"),
        ("a=" + "x" * 4090 + "; Path=/; HttpOnly; SameSite=Lax", "shop.test", "a=" + "x" * 4090),
        ("a=1; Path=/; Junk=" + "y" * 5000, "shop.test", "a=1"),
        ("a=1; Path=/; Max-Age=" + "9" * 40, "shop.test", "a=1"),
        ("__Secure-a=1; Path=/", "shop.test", ""),
        ("__Secure-a=1; Path=/; Secure", "shop.test", "__Secure-a=1"),
        ("__Host-a=1; Path=/; Secure", "shop.test", "__Host-a=1"),
        ("__host-a=1; Path=/; Secure; Domain=shop.test", "shop.test", ""),
        ("__Host-a=1; Path=/x; Secure", "shop.test", ""),
        ("=__Host-a=1; Path=/; Secure", "shop.test", ""),
    ],
)
def test_the_newer_rules_hold(header: str, host: str, wanted: str) -> None:
    """RFC 6265, 5.3, and 6265bis: domains, sizes, prefixes, cookies without a name."""
    jar = CookieJar()
    jar.store(header, host="shop.test", request_path="/")
    assert jar.header(host=host, path="/", secure=True) == wanted


@pytest.mark.parametrize(("name", "value"), [("a\r\nX", "1"), ("a", "1\r\nX: y"), ("a", "1; b=2")])
def test_a_cookie_of_ones_own_cannot_forge_a_header(name: str, value: str) -> None:
    with pytest.raises(ValueError, match="no control characters"):
        CookieJar().set(name, value, host="shop.test")
