"""A user's cookies, by RFC 6265 as browsers read it today (rfc6265bis)."""

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
    "header", ["", "=", " ; Path=/", "a=b\x00c", "a\x07=1", "a=1; Path=/\x7f", "a=1\r\nX: y"]
)
def test_what_is_no_cookie_is_ignored(jar: CookieJar, header: str) -> None:
    """Control characters above all, which could forge a request header."""
    assert not store(jar, header)
    assert len(jar) == 0


@pytest.mark.parametrize(
    ("header", "back"), [("v; Path=/", "v"), ("=v; Path=/", "v"), ("=a=b; Path=/", "a=b")]
)
def test_a_value_without_a_name_comes_back_as_it_came(
    jar: CookieJar, header: str, back: str
) -> None:
    """rfc6265bis, 5.6 and 5.8.3."""
    assert store(jar, header)
    assert sent(jar) == back


def test_a_domain_equal_to_the_host_reaches_its_subdomains(jar: CookieJar) -> None:
    """RFC 6265, 5.3 step 6: only a cookie without a Domain stays with its host."""
    store(jar, "wide=1; Domain=example.com; Path=/", host="example.com")
    store(jar, "narrow=1; Path=/", host="example.com")
    assert sent(jar, host="api.example.com") == "wide=1"
    assert sent(jar, host="example.com") == "wide=1; narrow=1"


@pytest.mark.parametrize(
    ("domain", "host", "kept"),
    [
        (".example.com", "a.example.com", True),
        ("..example.com", "a.example.com", False),
        ("example.com", "a.example.com.", True),
        (".", "a.example.com", True),
        ("localhost", "localhost", True),
        ("localhost", "a.localhost", False),
        ("127.0.0.1", "127.0.0.1", True),
        ("a.example.com:8080", "a.example.com", False),
    ],
)
def test_one_leading_dot_is_taken_off_a_domain(
    jar: CookieJar, domain: str, host: str, kept: bool
) -> None:
    """RFC 6265, 5.2.3: one and no more; what is left must be the host or above it."""
    assert store(jar, f"a=1; Path=/; Domain={domain}", host=host) is kept
    assert sent(jar, host=host) == ("a=1" if kept else "")


def test_a_name_without_a_dot_is_a_suffix_and_its_cookies_stay_with_it(jar: CookieJar) -> None:
    """What nobody can register below, such as localhost, shares nothing (rfc6265bis, 5.7)."""
    store(jar, "a=1; Domain=localhost; Path=/", host="localhost")
    assert sent(jar, host="localhost") == "a=1"
    assert sent(jar, host="b.localhost") == ""


def test_the_size_that_counts_is_that_of_name_and_value(jar: CookieJar) -> None:
    """4096 bytes of them; attributes come on top, and one of more than 1024 is passed over."""
    assert store(jar, f"a={'x' * 4095}; Path=/; HttpOnly; Comment={'y' * 1500}")
    assert not store(jar, f"a={'x' * 4096}; Path=/")
    assert store(jar, f"b=1; Path=/; Path=/{'p' * 1024}")
    assert sent(jar) == f"a={'x' * 4095}; b=1"


@pytest.mark.parametrize(
    ("header", "kept"),
    [
        ("__Secure-a=1; Path=/", False),
        ("__Secure-a=1; Secure; Domain=example.com", True),
        ("__Host-a=1; Secure; Path=/", True),
        ("__HOST-a=1; Path=/", False),
        ("__Host-a=1; Secure", False),
        ("__Host-a=1; Secure; Path=/recipes", False),
        ("__Host-a=1; Secure; Path=/; Domain=example.com", False),
        ("=__Host-a=1; Secure; Path=/", False),
    ],
)
def test_a_prefix_is_a_promise(jar: CookieJar, header: str, kept: bool) -> None:
    """rfc6265bis, 4.1.3: a cookie whose attributes break it is not taken."""
    assert store(jar, header, host="example.com", path="/") is kept


@pytest.mark.parametrize(
    ("max_age", "kept"), [("9" * 40, True), ("-" + "9" * 40, False), ('"0"', True), ("1.5", True)]
)
def test_any_number_is_an_age_and_nothing_else(
    jar: CookieJar, time: Time, max_age: str, kept: bool
) -> None:
    """A number of any length ends the cookie then, what is no number is passed over."""
    assert store(jar, f"a=1; Path=/; Max-Age={max_age}")
    time.now += 10**9
    assert (sent(jar) == "a=1") is kept


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("a", "1\r\nX-Injected: 1"),
        ("a", "1; admin=1"),
        ("a", "1\x00"),
        ("a", "1\t2"),
        ("a\n", "1"),
        ("a;b", "1"),
        ("a=b", "1"),
        ("a b", "1"),
        ("", "1"),
        ("a", "\u65e5"),
        ("a", "x" * 4096),
        ("a", 1),
    ],
)
def test_a_cookie_of_ones_own_cannot_forge_a_header(jar: CookieJar, name: str, value: str) -> None:
    """Line breaks and separators are refused where the scenario sets them."""
    with pytest.raises(ValueError, match="cookie"):
        jar.set(name, value, host="a.example")
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
    assert sent(jar, host="b.a.example") == ""
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
