"""
Requests that somebody has already: a curl command line, a HAR file, an OpenAPI document.

Sources: curl(1), the options that browsers' "copy as cURL" writes; HTTP Archive 1.2
(w3c.github.io/web-performance/specs/HAR).
"""

from __future__ import annotations

import base64
import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, urljoin, urlsplit

from loadtest.errors import PlanError
from loadtest.plan.openapi import described_paths, read_document, server_of
from loadtest.text import one_line

MOST_REQUESTS: Final = 50
"""Requests that are taken; a journey of more is none that somebody reads."""

_MOST_BYTES: Final = 64 << 20
_MOST_COMMANDS: Final = 4_000_000
_LONGEST_COMMAND: Final = 200_000
"""Letters of all command lines, and of one: a shell's words take ten times longer in three times
as long a word."""
_VALUED: Final = {
    "-X": "method", "--request": "method", "-H": "header", "--header": "header",
    "-d": "data", "--data": "data", "--data-raw": "data", "--data-ascii": "data",
    "--data-binary": "data", "--data-urlencode": "encoded", "--json": "json",
    "-u": "user", "--user": "user", "-b": "cookie", "--cookie": "cookie",
    "-A": "agent", "--user-agent": "agent", "-e": "referer", "--referer": "referer",
    "--url": "url",
}  # fmt: skip
_FLAGS: Final = {"-I": "head", "--head": "head", "-G": "get", "--get": "get"}
_IGNORED: Final = {
    *("-s", "--silent", "-S", "--show-error", "-v", "--verbose", "-i", "--include"),
    *("--compressed", "-L", "--location", "-f", "--fail", "-#", "--progress-bar", "-N"),
    *("--no-buffer", "--http1.1", "--http2", "-g", "--globoff"),
}
_IGNORED_VALUED: Final = {
    *("-o", "--output", "-m", "--max-time", "--connect-timeout", "--retry", "-w", "--write-out"),
}
_SHOWN_TYPES: Final = frozenset({"document", "xhr", "fetch"})
_SAFE: Final = frozenset({"GET", "HEAD"})


@dataclass(frozen=True, slots=True)
class RecordedRequest:
    """One request as it was written down: an absolute URL, headers in their order, a body."""

    method: str
    url: str
    headers: tuple[tuple[str, str], ...] = ()
    body: str = ""


@dataclass(frozen=True, slots=True)
class Recording:
    """Requests to one origin; ``notes`` tell what was left out, for people."""

    origin: str
    requests: tuple[RecordedRequest, ...]
    notes: tuple[str, ...] = ()


def read_recording(path: Path, target: str = "") -> Recording:
    """
    Read a file of curl command lines, a HAR file or an OpenAPI document; its content tells which.

    Args:
        path: The file.
        target: URL that an OpenAPI document without an absolute one of its own is about.

    Raises:
        PlanError: It cannot be read, or has no request; says what is missing.
    """
    shown = f"--from {str(path)[:200]}"
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise PlanError(f"{shown}: is larger than {_MOST_BYTES >> 20} MB; cut it down")
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise PlanError(f"{shown}: cannot be read: {why}") from error
    content = read_document(shown, text)
    try:
        if isinstance(content, Mapping) and isinstance(content.get("log"), Mapping):
            return _one_origin(shown, list(_har(content["log"])), _left_out(content["log"]))
        if isinstance(content, Mapping) and isinstance(content.get("paths"), Mapping):
            return _openapi(shown, content, target)
    except (TypeError, AttributeError, KeyError, IndexError, RecursionError) as error:
        raise PlanError(f"{shown}: is bent: {one_line(str(error))[:200]}") from error
    if content is not None or not re.search(r"(?m)^\s*(\$ )?curl\s", text):
        raise PlanError(
            f"{shown}: is neither curl command lines, a HAR file nor an OpenAPI document (JSON or "
            "YAML)"
        )
    notes: list[str] = []
    return _one_origin(shown, list(_curl(shown, text, notes)), notes)


def _one_origin(shown: str, requests: list[RecordedRequest], notes: list[str]) -> Recording:
    """Keep the requests to the first one's origin, at most ``MOST_REQUESTS``."""
    requests = [request for request in requests if _origin(request.url)]
    if not requests:
        raise PlanError(f"{shown}: has no request that can be asked again")
    origin = _origin(requests[0].url)
    own = [request for request in requests if _origin(request.url) == origin]
    if others := len(requests) - len(own):
        notes.append(f"{others} requests to other hosts than {origin} are left out")
    if len(own) > MOST_REQUESTS:
        notes.append(
            f"{len(own) - MOST_REQUESTS} requests after the first {MOST_REQUESTS} are left out"
        )
    return Recording(origin, tuple(own[:MOST_REQUESTS]), tuple(notes))


def _origin(url: str) -> str:
    """Return scheme, host and port of a URL; empty where it has none."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return ""
    host = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{host}" if host and parts.scheme in ("http", "https") else ""


def _curl(shown: str, text: str, notes: list[str]) -> Iterator[RecordedRequest]:
    joined = re.sub(r"\\\r?\n", " ", text)
    longest = max(map(len, joined.splitlines()), default=0)
    if len(joined) > _MOST_COMMANDS or longest > _LONGEST_COMMAND:
        raise PlanError(
            f"{shown}: has {len(joined)} letters of command lines, {longest} in the longest; at "
            f"most {_MOST_COMMANDS} and {_LONGEST_COMMAND} are read: cut it down, or use a HAR file"
        )
    for line in joined.splitlines():
        words = line.strip().removeprefix("$ ")
        if not words.startswith("curl"):
            continue
        try:
            found = shlex.split(words.replace("$'", "'"))
        except ValueError as error:
            raise PlanError(f"{shown}: {words[:80]!r}: {error}") from error
        yield _curl_request(shown, found[1:], notes)


@dataclass(slots=True)
class _Given:
    """What the options of one command line gave."""

    url: str = ""
    method: str = ""
    headers: list[tuple[str, str]] = field(default_factory=list)
    data: list[str] = field(default_factory=list)
    flags: set[str] = field(default_factory=set)


def _curl_request(shown: str, words: list[str], notes: list[str]) -> RecordedRequest:
    given = _Given()
    queue = list(words)
    while queue:
        word = queue.pop(0)
        name, _, joined = word.partition("=") if word.startswith("--") else (word, "", "")
        if name in _VALUED:
            if not joined and not queue:
                raise PlanError(f"{shown}: {name} has no value")
            _take(given, _VALUED[name], joined or queue.pop(0))
        elif word[:2] in _VALUED and len(word) > 2 and not word.startswith("--"):
            _take(given, _VALUED[word[:2]], word[2:])
        elif word in _FLAGS:
            given.flags.add(_FLAGS[word])
        elif word in _IGNORED_VALUED:
            del queue[:1]
        elif word in ("-k", "--insecure"):
            notes.append(f"{word} is left out; `loadtest run --insecure` says the same")
        elif word.startswith("-") and len(word) > 1:
            if word not in _IGNORED:
                notes.append(f"{one_line(word)[:40]} is left out")
        else:
            given.url = given.url or word
    if not given.url:
        raise PlanError(f"{shown}: a curl command line has no URL")
    return _built(given)


def _take(given: _Given, what: str, value: str) -> None:
    match what:
        case "header":
            name, colon, text = value.partition(":")
            if colon:
                given.headers.append((name.strip(), text.strip()))
        case "data" | "encoded":
            given.data.append(_encoded(value) if what == "encoded" else value)
        case "json":
            given.data.append(value)
            given.headers.append(("Content-Type", "application/json"))
        case "user":
            token = base64.b64encode(value.encode()).decode()
            given.headers.append(("Authorization", f"Basic {token}"))
        case "cookie":
            given.headers.append(("Cookie", value))
        case "agent":
            given.headers.append(("User-Agent", value))
        case "referer":
            given.headers.append(("Referer", value))
        case _:
            setattr(given, what, value)


def _encoded(value: str) -> str:
    name, equals, text = value.partition("=")
    return f"{name}={quote(text)}" if equals else quote(value)


def _built(given: _Given) -> RecordedRequest:
    url = given.url if "://" in given.url else f"http://{given.url}"
    body = "&".join(given.data)
    if "get" in given.flags and body:
        url, body = f"{url}{'&' if '?' in url else '?'}{body}", ""
    method = given.method or ("HEAD" if "head" in given.flags else "POST" if body else "GET")
    named = {name.lower() for name, _ in given.headers}
    if body and "content-type" not in named:
        given.headers.append(("Content-Type", "application/x-www-form-urlencoded"))
    return RecordedRequest(method.upper(), url, tuple(given.headers), body)


def _har(log: Mapping[str, Any]) -> Iterator[RecordedRequest]:
    for entry in log.get("entries") or ():
        request = entry["request"]
        url, method = str(request["url"]), str(request["method"]).upper()
        if not url.startswith(("http://", "https://")) or method not in _SAFE:
            continue
        if entry.get("_resourceType", "document") in _SHOWN_TYPES:
            headers = tuple((str(h["name"]), str(h["value"])) for h in request.get("headers") or ())
            yield RecordedRequest(method, url, headers)


def _left_out(log: Mapping[str, Any]) -> list[str]:
    """Return what of a HAR file is not asked again."""
    entries = list(log.get("entries") or ())
    writes = sum(str(entry["request"]["method"]).upper() not in _SAFE for entry in entries)
    parts = sum(entry.get("_resourceType", "document") not in _SHOWN_TYPES for entry in entries)
    told = {
        f"{writes} requests that write (POST and its kin) are left out: add them by hand": writes,
        f"{parts} images, scripts, styles and their kin are left out": parts,
    }
    return [sentence for sentence, count in told.items() if count]


def _openapi(shown: str, document: Mapping[str, Any], target: str) -> Recording:
    base = server_of(document)
    if target and not base.startswith(("http://", "https://")):
        base = urljoin(_origin(target), base)
    if not base.startswith(("http://", "https://")):
        raise PlanError(
            f"{shown}: servers: no absolute URL; give the target as a URL on the command line"
        )
    paths, notes = described_paths(document)
    return _one_origin(shown, [RecordedRequest("GET", f"{base}{path}") for path in paths], notes)
