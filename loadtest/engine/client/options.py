"""What Locust's clients take besides: accepted with its meaning, or refused in a sentence."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any, Final

from loadtest.engine.client.cookies import check_pair

_REFUSED: Final = {
    "files": "build the multipart body and give it as data=, its content type in headers=",
    "stream": "the body is always read to its end, within limits; leave it out",
    "cert": "a client certificate cannot be given request by request; leave it out",
    "proxies": "requests go straight to their target; leave it out",
    "hooks": "there are none; judge the response after the call",
    "context": "rows carry no context; put what tells requests apart into name=",
}


def apply_options(
    options: Mapping[str, Any], headers: Mapping[str, str] | None, kept_cookies: str
) -> dict[str, str]:
    """
    Return a request's headers with what the options of Locust's clients say.

    Args:
        options: By name; ``auth`` and ``cookies`` become headers, ``allow_redirects`` and
            ``verify`` may say what holds anyway.
        headers: The request's own.
        kept_cookies: Cookie header of the cookies that servers have set; empty for none.

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
                found["Cookie"] = _cookie_header(value, kept_cookies)
        elif name == "allow_redirects":
            if value:
                raise ValueError(
                    "allow_redirects=True: a redirect is not followed, each hop is a request with "
                    "times of its own; ask for where it leads"
                )
        elif name == "verify":
            if value is not True and value is not None:
                raise ValueError(
                    f"verify={value!r}: certificates are always verified, by the system's "
                    "authorities or the target's own; leave it out"
                )
        elif name in _REFUSED:
            if value:
                raise ValueError(f"{name}=: {_REFUSED[name]}")
        else:
            raise TypeError(f"request() has no option {name!r}")
    return found


def basic_credentials(auth: Any) -> str:
    """
    Return the Authorization header of a user and a password (RFC 7617), in UTF-8.

    Raises:
        ValueError: They are no pair of texts; the sentence does not show them.
    """
    if not isinstance(auth, tuple | list) or [type(part) for part in auth] != [str, str]:
        raise ValueError("auth=: need (USER, PASSWORD), two texts; put other schemes in headers=")
    user, password = auth
    if ":" in user:
        raise ValueError("auth=: a user's name cannot hold a colon (RFC 7617)")
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def _cookie_header(cookies: Any, kept: str) -> str:
    if not isinstance(cookies, Mapping):
        raise ValueError("cookies=: need a mapping of names to values")
    for name, value in cookies.items():
        check_pair(name, value)
    own = [f"{name}={value}" for name, value in cookies.items()]
    others = [pair for pair in kept.split("; ") if pair and pair.partition("=")[0] not in cookies]
    return "; ".join([*others, *own])
