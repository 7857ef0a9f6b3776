"""
Builds the bytes of a request: head, body, cookies.

Source: RFC 9112, section 3 (request line); RFC 9110, section 5 (fields) and 8.6 (Content-Length).
"""

from __future__ import annotations

import json as json_module
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol, runtime_checkable
from urllib.parse import quote, urlencode

from loadtest.engine.client.cookies import CookieJar
from loadtest.engine.client.origin import Origin

TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_FORBIDDEN_IN_VALUE = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_UNRESERVED = "/?%:@!$&'()*+,;=~-._[]|"
_PLAIN_PATH = re.compile(r"[A-Za-z0-9/?%:@!$&'()*+,;=~._|-]*")
_OURS = ("content-length", "transfer-encoding")
_WITH_BODY = frozenset(("POST", "PUT", "PATCH"))  # whose Content-Length is sent even if it is 0
_DEFAULTS = {"user-agent": "loadtest", "accept": "*/*", "accept-encoding": "gzip, deflate, br"}

Pairs = Mapping[str, object] | Sequence[tuple[str, object]]
Params = Pairs | str | bytes


@runtime_checkable
class Readable(Protocol):
    """An open file."""

    def read(self) -> bytes | str:
        """Return what is left of it."""
        ...


Body = bytes | bytearray | memoryview | str | Pairs | Readable | Iterator[bytes | str]

FORM = "application/x-www-form-urlencoded"
JSON = "application/json"


def build_request_line(method: str, path: str) -> bytes:
    """
    Return the first line of a request.

    Args:
        method: HTTP method.
        path: Path and query; characters that the line cannot carry are percent-encoded.

    Raises:
        ValueError: The method is none.
    """
    if not TOKEN.fullmatch(method):
        raise ValueError(f"method {method!r}: letters only, such as GET")
    path = path.partition("#")[0]
    if not _PLAIN_PATH.fullmatch(path):
        path = quote(path, safe=_UNRESERVED)
    return f"{method} {path} HTTP/1.1\r\n".encode("latin-1")


def build_fields(
    origin: Origin, headers: Mapping[str, str | bytes | None], content_type: str
) -> bytes:
    """
    Return a request's headers and the blank line after them.

    Args:
        origin: Names the host.
        headers: In any case; they replace the defaults of the same name, or take them away: None.
        content_type: Of the body; empty for none. A header of that name wins.

    Raises:
        ValueError: A header name or value that would break the head's framing.
    """
    fields = {"host": origin.host_header, **_DEFAULTS}
    if content_type:
        fields["content-type"] = content_type
    for name, given in headers.items():
        value = given.decode("latin-1") if isinstance(given, bytes) else given
        key = name.lower()
        if value is None and key != "host":
            fields.pop(key, None)
        else:
            fields[key] = _checked(name, value)
    lines = [f"{_title(name)}: {value}\r\n" for name, value in fields.items()]
    return ("".join(lines) + "\r\n").encode("latin-1")


def _checked(name: str, value: object) -> str:
    if not TOKEN.fullmatch(name):
        raise ValueError(f"header name {name!r}: only letters, digits and !#$%&'*+.^_`|~-")
    if name.lower() in _OURS:
        raise ValueError(f"header {name}: the client sets it from the body; leave it out")
    if not isinstance(value, str) or _FORBIDDEN_IN_VALUE.search(value):
        raise ValueError(f"header {name}: value {value!r} must be text without line breaks")
    if any(ord(c) > 255 for c in value):
        raise ValueError(f"header {name}: value {value!r} must be Latin-1; percent-encode the rest")
    return value


def _title(name: str) -> str:
    return "-".join(part.capitalize() for part in name.split("-"))


def encode_body(method: str, data: Body | None, json: object) -> tuple[bytes | None, str]:
    """
    Return a request's body (None for no body) and its content type (empty: the scenario says it).

    Args:
        method: Decides whether no body is said to be one of no bytes.
        data: Bytes and text go as they are, and so does what an open file or an iterator of them
            gives; a mapping or pairs go as a form.
        json: Anything that JSON can say.

    Raises:
        ValueError: Both are given.
    """
    if json is not None:
        if data is not None:
            raise ValueError("give data= or json=, not both")
        return json_module.dumps(json, separators=(",", ":")).encode(), JSON
    if data is None:
        return (b"" if method in _WITH_BODY else None), ""
    if isinstance(data, Readable):
        data = data.read()
    elif isinstance(data, Iterator):
        data = b"".join(piece.encode() if isinstance(piece, str) else piece for piece in data)
    if isinstance(data, bytes | bytearray | memoryview):
        return bytes(data), ""
    if isinstance(data, str):
        return data.encode(), ""
    return urlencode(data, doseq=True).encode(), FORM


def with_query(path: str, params: Params) -> str:
    """Return a path with parameters appended to its query; those that are None are left out."""
    path = path.partition("#")[0]
    if isinstance(params, str | bytes):
        query = params if isinstance(params, str) else params.decode()
    else:
        pairs = params.items() if isinstance(params, Mapping) else params
        query = urlencode([pair for pair in pairs if pair[1] is not None], doseq=True)
    if not query:
        return path
    return f"{path}{'&' if '?' in path else '?'}{query}"


def with_cookies(head: bytes, jar: CookieJar, origin: Origin, path: str) -> bytes:
    """Return a head with the cookies that belong in it; a Cookie header of one's own wins."""
    if b"\r\nCookie: " in head:
        return head
    value = jar_header(jar, origin, path)
    if not value:
        return head
    return head[:-2] + b"Cookie: " + value.encode("latin-1", "replace") + b"\r\n\r\n"


def jar_header(jar: CookieJar, origin: Origin, path: str) -> str:
    """Return the Cookie header of the cookies that a jar has for a request; empty for none."""
    return jar.header(host=origin.server_name, path=path, secure=origin.secure)
