"""What Locust's clients take besides: accepted with its meaning, or refused in a sentence."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any, Final

from loadtest.engine.client.cookies import check_pair

REFUSED: Final = {
    "stream": "the body is always read to its end, within limits; leave it out",
    "cert": "a client certificate is the plan's: client.certificate, or --cert",
    "proxies": "requests go straight to their target; leave it out",
    "hooks": "there are none; judge the response after the call",
    "context": "rows carry no context; put what tells requests apart into name=",
}


VERIFY: Final = (
    "what is trusted is the plan's: client.ca_file or client.insecure (--ca-file, --insecure)"
)
DEALT_WITH: Final = frozenset(("allow_redirects", "files"))


def apply_options(
    options: Mapping[str, Any],
    headers: Mapping[str, str] | None,
    kept_cookies: str,
    *,
    insecure: bool = False,
) -> dict[str, str]:
    """
    Return a request's headers with what the options of Locust's clients say.

    Args:
        options: By name; ``auth`` and ``cookies`` become headers, ``verify`` may say what holds
            anyway. Those that are dealt with before may be there, and none of them is read.
        headers: The request's own.
        kept_cookies: Cookie header of the cookies that servers have set; empty for none.
        insecure: Whether certificates are not verified.

    Raises:
        ValueError: The client cannot do what an option says; the sentence tells what to do instead.
        TypeError: There is no such option.
    """
    found = dict(headers or {})
    for name, value in options.items():
        if name == "auth":
            if value is not None:
                found["Authorization"] = basic_credentials(value)
        elif name == "cookies":
            if value:
                found["Cookie"] = cookie_header(value, kept_cookies)
        elif name == "verify":
            if value not in (True, None) and not (value is False and insecure):
                raise ValueError(f"verify={value!r}: {VERIFY}")
        elif name in REFUSED:
            if value:
                raise ValueError(f"{name}=: {REFUSED[name]}")
        elif name in DEALT_WITH:
            pass
        else:
            raise TypeError(f"request() has no option {name!r}")
    return found


def basic_credentials(auth: Any) -> str:
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


def cookie_header(cookies: Any, kept: str) -> str:
    """
    Return a Cookie header with cookies of one request's own besides those that are kept.

    Args:
        cookies: Names and values.
        kept: Cookie header of those that are kept, where the others win; empty for none.

    Raises:
        ValueError: They are no mapping, or one could not stand in a header.
    """
    if not isinstance(cookies, Mapping):
        raise ValueError("cookies=: need a mapping of names to values")
    for name, value in cookies.items():
        check_pair(name, value)
    own = [f"{name}={value}" for name, value in cookies.items()]
    others = [pair for pair in kept.split("; ") if pair and pair.partition("=")[0] not in cookies]
    return "; ".join([*others, *own])
