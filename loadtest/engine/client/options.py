"""
What Locust's clients take besides: accepted with its meaning, or refused in a sentence.

All that makes requests of a scenario's options goes through `settle` and `time_outs`: the measuring
client, the redirects that it follows, and the sessions of locustfiles.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote, urlsplit, urlunsplit

from loadtest.engine.client.cookies import check_pair
from loadtest.engine.client.multipart import encode_form
from loadtest.engine.client.request import Body

REFUSED: Final = {
    "cert": "a client certificate is the plan's: client.certificate, or --cert",
    "proxies": "requests go straight to their target; leave it out",
    "hooks": "there are none; judge the response after the call",
    "context": "rows carry no context; put what tells requests apart into name=",
}

VERIFY: Final = (
    "what is trusted is the plan's: client.ca_file or client.insecure (--ca-file, --insecure)"
)


Credentials = tuple[str | bytes, str | bytes]
Timeout = float | tuple[float | None, float | None] | None
TimeOuts = tuple[float | None, float | None]
UNSAID: Final[TimeOuts] = (None, None)


class OptionError(TypeError, ValueError):
    """
    A scenario asks for what the client cannot do; nothing was sent.

    It is the scenario's fault and none of the target's, so it ends a run.
    """


@dataclass(frozen=True, slots=True)
class Asked:
    """
    What a request's options come to.

    Args:
        headers: Its headers.
        data: Its body, as ``encode_body`` takes it.
        cookies: Sent besides those that are kept, and kept nowhere.
        follow: Redirects are followed.
        stream: The body of the answer is read as it comes.
    """

    headers: dict[str, str]
    data: Body | None
    cookies: Mapping[str, str] | None = None
    follow: bool = False
    stream: bool = False


def settle(
    options: Mapping[str, object],
    headers: Mapping[str, str] | None,
    data: Body | None = None,
    *,
    insecure: bool = False,
) -> Asked:
    """
    Return what the options of Locust's clients say.

    Args:
        options: By name; ``auth`` becomes a header and ``files`` a body, ``verify`` may say what
            holds anyway.
        headers: The request's own.
        data: Its body, or the other fields of a form with files.
        insecure: Whether certificates are not verified.

    Raises:
        OptionError: There is no such option, or the client cannot do what it says; the sentence
            tells what to do instead.
        ValueError: What an option says makes no sense.
    """
    found, cookies, flags = dict(headers or {}), None, {"allow_redirects": False, "stream": False}
    for name, value in options.items():
        if name in flags:
            flags[name] = bool(value)
        elif name == "auth":
            if value is not None:
                found["Authorization"] = basic_credentials(value)
        elif name == "cookies":
            cookies = _checked(value) if value else None
        elif name == "files":
            if value:
                data, found["Content-Type"] = encode_form(value, data)
        elif name == "verify":
            if value not in (True, None) and not (value is False and insecure):
                raise OptionError(f"verify={value!r}: {VERIFY}")
        elif name not in REFUSED:
            raise OptionError(f"request() has no option {name!r}")
        elif value:
            raise OptionError(f"{name}=: {REFUSED[name]}")
    return Asked(found, data, cookies, flags["allow_redirects"], flags["stream"])


def time_outs(timeout: Timeout) -> TimeOuts:
    """
    Return seconds for each phase of opening a connection, and to the last byte of the answer.

    Args:
        timeout: Seconds for either; a pair, one of which may be None; None for the client's own.

    Raises:
        ValueError: It is neither.
    """
    if timeout is None:
        return UNSAID
    pair = timeout if isinstance(timeout, tuple | list) else (timeout, timeout)
    try:
        connect, read = (None if seconds is None else float(seconds) for seconds in pair)
    except (TypeError, ValueError):
        connect = read = math.nan
    if not all(seconds is None or 0 < seconds < math.inf for seconds in (connect, read)):
        raise ValueError(
            f"timeout={timeout!r}: need seconds above 0, or a pair of them, to connect and to the "
            "answer"
        )
    return connect, read


def basic_credentials(auth: object) -> str:
    """
    Return the Authorization header of a user and a password (RFC 7617), in UTF-8.

    Raises:
        ValueError: They are no pair of texts or bytes; the sentence does not show them.
    """
    if (
        not isinstance(auth, tuple | list)
        or len(auth) != 2
        or not all(isinstance(part, str | bytes) for part in auth)
    ):
        raise ValueError("auth=: need (USER, PASSWORD), two texts; put other schemes in headers=")
    user, password = (part if isinstance(part, bytes) else part.encode() for part in auth)
    if b":" in user:
        raise ValueError("auth=: a user's name cannot hold a colon (RFC 7617)")
    return "Basic " + base64.b64encode(user + b":" + password).decode()


def without_credentials(
    url: str, headers: Mapping[str, str] | None = None
) -> tuple[str, Mapping[str, str] | None]:
    """
    Return a URL without its user and password, and headers with them, unless they have others.

    Raises:
        ValueError: It is no URL, or its user's name cannot be sent.
    """
    parts = urlsplit(url)
    said, at, place = parts.netloc.rpartition("@")
    if not at:
        return url, headers
    user, _, password = said.partition(":")
    own = {"Authorization": basic_credentials((unquote(user), unquote(password)))}
    return urlunsplit(parts._replace(netloc=place)), {**own, **(headers or {})}


def _checked(cookies: object) -> Mapping[str, str]:
    if not isinstance(cookies, Mapping):
        raise ValueError("cookies=: need a mapping of names to values")
    for name, value in cookies.items():
        check_pair(name, value)
    return cookies


def cookie_header(cookies: Mapping[str, str], kept: str) -> str:
    """
    Return a Cookie header with cookies of one request's own besides those that are kept.

    Args:
        cookies: Names and values.
        kept: Cookie header of those that are kept, where the others win; empty for none.
    """
    own = [f"{name}={value}" for name, value in cookies.items()]
    others = [pair for pair in kept.split("; ") if pair and pair.partition("=")[0] not in cookies]
    return "; ".join([*others, *own])
