"""
Heads of requests and answers as an edge passes them on: what it takes away, adds and re-frames.

Pure functions.  Sources: RFC 9110 7.6 (what belongs to one connection), RFC 9112 6 (framing),
https://fly.io/docs/networking/request-headers/ (what Fly adds).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from http import HTTPStatus

from loadtest.fly.ids import ulid
from loadtest.world.edge.types import AnswerOptions

Headers = list[tuple[bytes, bytes]]

HOP_BY_HOP = frozenset(
    [
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    ]
)
"""Headers that concern one connection only, in lower case."""

_SET_BY_EDGE = frozenset(
    [
        b"fly-client-ip",
        b"fly-dispatch-start",
        b"fly-forwarded-port",
        b"fly-forwarded-proto",
        b"fly-forwarded-ssl",
        b"fly-preferred-instance-unavailable",
        b"fly-region",
        b"fly-replay-cache-status",
        b"fly-replay-failed",
        b"fly-replay-src",
        b"fly-request-id",
        b"via",
        b"x-forwarded-for",
        b"x-forwarded-port",
        b"x-forwarded-proto",
        b"x-forwarded-ssl",
        b"x-request-start",
    ]
)
_SET_ON_ANSWERS = frozenset([b"fly-request-id", b"server", b"via"])
_SERVER = b"Fly/embedded"
SWITCHING = 101
"""The answer after which both sides speak another protocol."""

_IDEMPOTENT = frozenset([b"GET", b"HEAD", b"OPTIONS", b"PUT", b"DELETE", b"TRACE"])


@dataclass(slots=True)
class RequestHead:
    """
    What a client asked for.

    Args:
        method: In capitals, as sent.
        target: Path and query, or ``*``.
        version: ``1.1`` or ``1.0``.
        headers: In the order and spelling sent.
        keep_alive: The client will use the connection again.
        upgrade: Protocol that it wants to speak from here on; empty for none that an edge passes.
    """

    method: bytes
    target: bytes
    version: str
    headers: Headers
    keep_alive: bool
    upgrade: bytes = b""

    @property
    def idempotent(self) -> bool:
        """Tell whether sending it twice does no more than sending it once (RFC 9110 9.2.2)."""
        return self.method in _IDEMPOTENT

    @property
    def chunked(self) -> bool:
        """Tell whether a body of unknown length follows."""
        return find(self.headers, b"transfer-encoding") is not None


@dataclass(slots=True)
class AnswerHead:
    """
    What a machine answered.

    Args:
        status: Its status.
        reason: The status's phrase.
        headers: As sent.
        region: Where the machine stands; empty for an answer of the edge's own.
        options: What the edge does to its headers; None leaves them.
    """

    status: int
    reason: bytes
    headers: Headers
    region: bytes = b""
    options: AnswerOptions | None = None


@dataclass(frozen=True, slots=True)
class Caller:
    """
    Who called an edge and how; the same for every request of one connection.

    Args:
        client: Address of the client.
        local: Address it called.
        port: Port it called.
        secure: It called by TLS.
        region: Region of the edge.
    """

    client: bytes
    local: bytes
    port: int
    secure: bool
    region: bytes


def find(headers: Headers, name: bytes) -> bytes | None:
    """Return the first value of the header ``name`` (lower case), or None."""
    for key, value in headers:
        if key.lower() == name:
            return value
    return None


def request_id(now_ms: int, entropy: int, region: str) -> bytes:
    """
    Return a Fly request id: a ULID and the region of the edge.

    Args:
        now_ms: Milliseconds since the epoch, 48 bits.
        entropy: 80 random bits.
        region: Region of the edge.
    """
    return f"{ulid(now_ms, entropy)}-{region}".encode()


def request_lines(
    head: RequestHead,
    caller: Caller,
    *,
    identity: bytes,
    start_us: int,
    added: Headers,
    close: bool,
) -> bytes:
    """
    Return the head of a request as a machine gets it.

    Args:
        head: As the client sent it.
        caller: Who sent it.
        identity: The request's id.
        start_us: When the edge took it, microseconds since the epoch.
        added: Further headers; they replace the client's of the same name.
        close: The connection will not be used again.
    """
    dropped = _dropped(head.headers) | _SET_BY_EDGE | {name.lower() for name, _ in added}
    lines = [b"%b %b HTTP/1.1\r\n" % (head.method, head.target)]
    forwarded, via = caller.client + b", " + caller.local, b"%b fly.io" % head.version.encode()
    for name, value in head.headers:
        key = name.lower()
        if key not in dropped:
            lines.append(b"%b: %b\r\n" % (name, value))
        elif key == b"x-forwarded-for":
            forwarded = value + b", " + forwarded
        elif key == b"via":
            via = value + b", " + via
    secure = caller.secure
    lines.append(
        b"Fly-Client-IP: %b\r\nFly-Forwarded-Port: %d\r\nFly-Region: %b\r\nFly-Request-Id: %b\r\n"
        b"Via: %b\r\nX-Forwarded-For: %b\r\nX-Forwarded-Port: %d\r\nX-Forwarded-Proto: %b\r\n"
        b"X-Forwarded-Ssl: %b\r\nX-Request-Start: t=%d\r\n"
        % (
            caller.client,
            caller.port,
            caller.region,
            identity,
            via,
            forwarded,
            caller.port,
            b"https" if secure else b"http",
            b"on" if secure else b"off",
            start_us,
        )
    )
    lines.extend(b"%b: %b\r\n" % pair for pair in added)
    if head.chunked:
        lines.append(b"Transfer-Encoding: chunked\r\n")
    if head.upgrade:
        lines.append(b"Connection: Upgrade\r\nUpgrade: %b\r\n\r\n" % head.upgrade)
    else:
        lines.append(b"Connection: close\r\n\r\n" if close else b"\r\n")
    return b"".join(lines)


@dataclass(frozen=True, slots=True)
class Framing:
    """
    How the body of an answer goes to the client.

    Args:
        body: There is one.
        chunked: In chunks, because its length is unknown.
        close: The connection ends after the answer.
    """

    body: bool
    chunked: bool
    close: bool


def answer_framing(request: RequestHead, answer: AnswerHead) -> Framing:
    """Decide how the body of ``answer`` is framed towards the client (RFC 9112 6.3)."""
    body = request.method != b"HEAD" and answer.status >= 200 and answer.status not in (204, 304)
    sized = (
        find(answer.headers, b"content-length") is not None
        and find(answer.headers, b"transfer-encoding") is None
    )
    endless = body and not sized
    old = request.version == "1.0"
    return Framing(
        body=body,
        chunked=endless and not old,
        close=not request.keep_alive or (endless and old),
    )


def answer_headers(answer: AnswerHead, identity: bytes, *, sized: bool) -> Headers:
    """
    Return the headers of an answer that go on to the client, and the edge's own.

    Args:
        answer: As the machine sent it.
        identity: The request's id; empty when there was no request yet.
        sized: A length that the machine told still holds.

    Which region answered is told by the edge where the app does not tell it itself, unless fly.toml
    wants the answers of the app as they are.
    """
    options = answer.options
    pristine = options is not None and options.pristine
    dropped = _dropped(answer.headers)
    if not pristine:
        dropped |= _SET_ON_ANSWERS
    if answer.status == 204 or not sized:
        dropped |= {b"content-length"}
    kept, via = [], b"1.1 fly.io"
    for name, value in answer.headers:
        key = name.lower()
        if key not in dropped:
            kept.append((name, value))
        elif key == b"via":
            via = value + b", " + via
    if not pristine:
        if answer.region and find(kept, b"fly-region") is None:
            kept.append((b"fly-region", answer.region))
        kept += [(b"server", _SERVER), (b"via", via)]
        if identity:
            kept.append((b"fly-request-id", identity))
    if options is not None:
        kept = [pair for pair in kept if pair[0].lower() not in options.gone]
        kept += options.added
    return kept


def answer_lines(
    request: RequestHead, answer: AnswerHead, framing: Framing, identity: bytes
) -> bytes:
    """Return the head of an answer as the client gets it."""
    lines = [b"HTTP/1.1 %d %b\r\n" % (answer.status, answer.reason)]
    kept = answer_headers(answer, identity, sized=not framing.chunked)
    lines += [b"%b: %b\r\n" % pair for pair in kept]
    if framing.chunked:
        lines.append(b"transfer-encoding: chunked\r\n")
    if answer.status == SWITCHING:
        protocol = find(answer.headers, b"upgrade") or request.upgrade
        lines.append(b"connection: Upgrade\r\nupgrade: %b\r\n\r\n" % protocol)
    elif framing.close:
        lines.append(b"connection: close\r\n\r\n")
    else:
        lines.append(b"connection: keep-alive\r\n\r\n" if request.version == "1.0" else b"\r\n")
    return b"".join(lines)


def informational_headers(answer: AnswerHead) -> Headers:
    """Return the headers of an interim answer (1xx) that go on to the client."""
    dropped = _dropped(answer.headers)
    return [pair for pair in answer.headers if pair[0].lower() not in dropped]


def informational_lines(answer: AnswerHead) -> bytes:
    """Return an interim answer (1xx), headers and all, for a client of HTTP/1.1."""
    lines = [b"HTTP/1.1 %d %b\r\n" % (answer.status, answer.reason)]
    lines += [b"%b: %b\r\n" % pair for pair in informational_headers(answer)]
    return b"".join([*lines, b"\r\n"])


def error_answer(status: int, code: str, sentence: str) -> tuple[AnswerHead, bytes]:
    """
    Return an answer of the edge's own, head and body.

    Args:
        status: Such as 502.
        code: Fly's error code, such as ``PA02``; empty when Fly has none.
        sentence: What went wrong, for a person.
    """
    phrase = HTTPStatus(status).phrase
    text = f"{status} {phrase}: {code + ': ' if code else ''}{sentence}\n".encode()
    headers = [
        (b"content-type", b"text/plain; charset=utf-8"),
        (b"content-length", b"%d" % len(text)),
        *([(b"fly-error-code", code.encode())] if code else ()),
    ]
    return AnswerHead(status, phrase.encode(), headers), text


def chunk(data: bytes) -> Iterable[bytes]:
    """Return the pieces of one chunk of a chunked body."""
    return (b"%x\r\n" % len(data), data, b"\r\n")


def _dropped(headers: Headers) -> frozenset[bytes]:
    for name, value in headers:
        if name.lower() == b"connection" and value.lower() not in (b"keep-alive", b"close"):
            named = (word.strip().lower() for word in value.split(b","))
            return HOP_BY_HOP.union(named)
    return HOP_BY_HOP
