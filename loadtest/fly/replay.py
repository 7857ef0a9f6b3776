"""
The grammar of ``fly-replay``: what an app asks of the proxy, and what the proxy tells the target.

    fly-replay: region="cdg,ord,any";state=captured_write;timeout=5s;fallback=force_self
    fly-replay-src: instance=148e21;region=syd;t=1700000000000000;state=captured_write

Source: https://fly.io/docs/networking/dynamic-request-routing/
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal, cast, get_args

from loadtest.fly.replay_cache import Keep, keep_in_json

Fallback = Literal["force_self", "prefer_self"]
FailureReason = Literal["timeout", "retries_exhausted", "no_candidate"]

REPLAY_CONTENT_TYPE = "application/vnd.fly.replay+json"
"""Content type of an answer whose body is the replay, as JSON."""

ANYWHERE = "any"
"""The word that ends a list of regions open to all others."""

_US = frozenset(
    ["atl", "bos", "den", "dfw", "ewr", "iad", "lax", "mia", "ord", "phx", "sea", "sjc"]
)
REGION_ALIASES: dict[str, frozenset[str]] = {
    "apac": frozenset(["bom", "hkg", "nrt", "sin", "syd"]),
    "eu": frozenset(["ams", "arn", "cdg", "fra", "lhr", "mad", "otp", "waw"]),
    "na": _US | frozenset(["gdl", "qro", "yul", "yyz"]),
    "sa": frozenset(["bog", "eze", "gig", "gru", "scl"]),
    "us": _US,
    "usa": _US,
}
"""Words that stand for several regions."""

_REGION = re.compile(r"[a-z0-9]{2,8}")
_TIMEOUT = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)(ms|s)")
_FIELD = re.compile(
    r'[ \t]*([A-Za-z_-]+)[ \t]*=[ \t]*(?:"((?:[^"\\]|\\.)*)"|([^;"]*))[ \t]*(?:;|$)'
)
_TOKEN = re.compile(r"[\x21\x23-\x3a\x3c-\x7e]+")  # visible, neither a quote nor a semicolon
_TEXT = re.compile(r"[\t\x20-\x7e\x80-\xff]*")
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


class ReplayError(ValueError):
    """An answer asks for a replay in words that Fly does not know (Fly's code PA03)."""


@dataclass(frozen=True, slots=True)
class Transform:
    """What the JSON form changes in the request: a new path, headers taken away and added."""

    path: str | None = None
    delete_headers: tuple[str, ...] = ()
    set_headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Replay:
    """
    What an app asks of the proxy.

    Args:
        regions: Codes or aliases in order of preference; empty when the app names none.
        anywhere: The list ended with ``any``: other regions will do as well.
        instance: This machine and no other.
        prefer_instance: This machine if it can be had.
        app: Another app.
        state: Opaque text for the target.
        elsewhere: Not the machine that answered.
        timeout_s: How long to try to reach the target.
        fallback: Whom to give the request back to when the target cannot be reached.
        transform: What to change in the request.
        keep: What the JSON form wants to be remembered of it.
    """

    regions: tuple[str, ...] = ()
    anywhere: bool = False
    instance: str | None = None
    prefer_instance: str | None = None
    app: str | None = None
    state: str | None = None
    elsewhere: bool = False
    timeout_s: float | None = None
    fallback: Fallback | None = None
    transform: Transform = Transform()
    keep: Keep | None = None


@dataclass(frozen=True, slots=True)
class ReplaySource:
    """Who asked for a replay, when (microseconds since the epoch), and the state it gave."""

    instance: str
    region: str
    t_us: int
    state: str | None = None


def parse_replay(header: str) -> Replay:
    """
    Read the value of a ``fly-replay`` header; keys that Fly may add later are passed over.

    Raises:
        ReplayError: The sentence says which part is wrong and what is allowed.
    """
    fields: dict[str, Any] = dict(_fields(header))
    if not fields:
        raise ReplayError("fly-replay is empty; give at least one key=value, such as region=cdg")
    quoted = {key for key, (_, was_quoted) in fields.items() if was_quoted}
    values: dict[str, Any] = {key: value for key, (value, _) in fields.items()}
    if "," in values.get("region", "") and "region" not in quoted:
        raise ReplayError(
            f"fly-replay: region={values['region']} is a list and must be quoted: "
            f'region="{values["region"]}"'
        )
    return _replay(values)


def parse_replay_json(body: bytes) -> Replay:
    """
    Read the body of an answer with :data:`REPLAY_CONTENT_TYPE`.

    Raises:
        ReplayError: The body is not a JSON object, or a value is not allowed.
    """
    try:
        values = json.loads(body)
    except ValueError:
        raise ReplayError("the replay's body is not JSON") from None
    if not isinstance(values, dict):
        raise ReplayError("the replay's body is not a JSON object")
    values = {
        key: value for key, value in values.items() if value is not None
    }  # null names nothing
    for key, value in values.items():
        if isinstance(value, bool):
            values[key] = str(value).lower()
        elif key in _KEYS and not isinstance(value, str):
            raise ReplayError(f"the replay's {key} is {value!r}; it must be text")
    replay = _replay(values, _transform(values.get("transform") or {}))
    keep = keep_in_json(values.get("cache"))
    return replay if keep is None else replace(replay, keep=keep)


def format_replay(replay: Replay) -> str:
    """Return the header that :func:`parse_replay` reads as ``replay`` (without a transform)."""
    regions = [*replay.regions, *([ANYWHERE] if replay.anywhere else [])]
    timeout = None if replay.timeout_s is None else f"{round(replay.timeout_s * 1000)}ms"
    values = {
        "region": ",".join(regions) or None,
        "instance": replay.instance,
        "prefer_instance": replay.prefer_instance,
        "app": replay.app,
        "state": replay.state,
        "elsewhere": "true" if replay.elsewhere else None,
        "timeout": timeout,
        "fallback": replay.fallback,
    }
    return _join((key, value) for key, value in values.items() if value is not None)


def format_replay_source(source: ReplaySource) -> str:
    """Return the value of ``fly-replay-src``."""
    head = f"instance={source.instance};region={source.region};t={source.t_us}"
    return head if source.state is None else f"{head};{_join([('state', source.state)])}"


def parse_replay_source(header: str) -> ReplaySource:
    """
    Read the value of ``fly-replay-src``.

    Raises:
        ReplayError: A field lacks or is no number where one is due.
    """
    values = {key: value for key, (value, _) in _fields(header)}
    try:
        return ReplaySource(
            values["instance"], values["region"], int(values["t"]), values.get("state")
        )
    except (KeyError, ValueError):
        raise ReplayError(
            f"fly-replay-src is {header!r}; it must hold instance, region and t (a number)"
        ) from None


def format_replay_failure(
    source: ReplaySource, target: Replay, reason: FailureReason, elapsed_ms: int
) -> str:
    """Return the value of ``fly-replay-failed``, which goes with a request given back."""
    values = {
        "instance": target.instance,
        "app": target.app,
        "region": ",".join(target.regions) or None,
        "replay_source": source.instance,
        "reason": reason,
        "elapsed_ms": str(elapsed_ms),
    }
    return _join((key, value) for key, value in values.items() if value is not None)


def parse_region_list(text: str) -> tuple[tuple[str, ...], bool]:
    """
    Read an ordered list of region codes and aliases, such as ``fly-prefer-region`` carries.

    Returns:
        The codes, and whether the list was open to any other region.

    Raises:
        ReplayError: A word in it is not a region code.
    """
    words = [word.strip().lower() for word in text.split(",")]
    for word in words:
        if not _REGION.fullmatch(word):
            raise ReplayError(f"region {word!r} is not a region code, an alias or 'any'")
    return tuple(word for word in words if word != ANYWHERE), ANYWHERE in words


def region_matches(word: str, region: str) -> bool:
    """Tell whether ``region`` is what ``word``, a code or an alias, stands for."""
    return word == region or region in REGION_ALIASES.get(word, ())


_KEYS = frozenset(
    ["region", "instance", "prefer_instance", "app", "state", "elsewhere", "timeout", "fallback"],
)


def _fields(header: str) -> Iterator[tuple[str, tuple[str, bool]]]:
    seen: set[str] = set()
    position, end = 0, len(header.rstrip(" \t;"))
    while position < end:
        match = _FIELD.match(header, position)
        if match is None:
            raise ReplayError(
                f"fly-replay: cannot read {header[position:].strip()!r}; "
                "it must be key=value pairs, separated by ';'"
            )
        key, quoted, plain = match.group(1).lower(), match.group(2), match.group(3)
        if key in seen:
            raise ReplayError(f"fly-replay: {key} is given twice")
        seen.add(key)
        if quoted is not None:
            yield key, (re.sub(r"\\(.)", r"\1", quoted), True)
        else:
            yield key, (plain.strip(" \t"), False)
        position = match.end()


def _replay(values: dict[str, Any], transform: Transform = Transform()) -> Replay:
    regions, anywhere = parse_region_list(values["region"]) if "region" in values else ((), False)
    elsewhere = values.get("elsewhere", "false").lower()
    if elsewhere not in ("true", "false"):
        raise ReplayError(f"fly-replay: elsewhere is {elsewhere!r}; it must be true or false")
    fallback = values.get("fallback")
    if fallback is not None and fallback not in get_args(Fallback):
        raise ReplayError(
            f"fly-replay: fallback is {fallback!r}; it must be force_self or prefer_self"
        )
    for key in ("instance", "prefer_instance", "app"):
        if key in values and not _TOKEN.fullmatch(values[key]):
            raise ReplayError(f"fly-replay: {key} is {values[key]!r}; it must be a name")
    if not _TEXT.fullmatch(values.get("state", "")):
        raise ReplayError(f"fly-replay: state is {values['state']!r}; a header cannot carry it")
    return Replay(
        regions=regions,
        anywhere=anywhere,
        instance=values.get("instance"),
        prefer_instance=values.get("prefer_instance"),
        app=values.get("app"),
        state=values.get("state"),
        elsewhere=elsewhere == "true",
        timeout_s=_timeout_s(values["timeout"]) if "timeout" in values else None,
        fallback=cast("Fallback | None", fallback),
        transform=transform,
    )


def _timeout_s(text: str) -> float:
    match = _TIMEOUT.fullmatch(text)
    if match is None:
        raise ReplayError(f"fly-replay: timeout is {text!r}; it must be like 10s or 800ms")
    return float(match.group(1)) / (1000 if match.group(2) == "ms" else 1)


def _transform(value: Any) -> Transform:
    try:
        path = value.get("path")
        delete = tuple(str(name) for name in _listed(value, "delete_headers"))
        added = tuple(
            (str(item["name"]), str(item["value"])) for item in _listed(value, "set_headers")
        )
    except (AttributeError, KeyError, TypeError):
        raise ReplayError(
            "the replay's transform must hold path (text), delete_headers (names) and "
            "set_headers (objects with name and value)"
        ) from None
    if path is not None and not (isinstance(path, str) and re.fullmatch(r"/[\x21-\x7e]*", path)):
        raise ReplayError(f"the replay's transform.path is {path!r}; it must start with '/'")
    for name, text in added:
        if not _NAME.fullmatch(name) or re.search(r"[\r\n\0]", text):
            raise ReplayError(f"the replay's transform sets {name!r}, which is not a header")
    return Transform(path, delete, added)


def _listed(value: dict[str, Any], key: str) -> list[Any]:
    """Return a list that may be missing or null; a text is no list, though it has letters."""
    found = value.get(key)
    if not isinstance(found, list | None):
        raise TypeError(key)
    return found or []


def _join(pairs: Iterable[tuple[str, str]]) -> str:
    return ";".join(f"{key}={_quoted(value)}" for key, value in pairs)


def _quoted(value: str) -> str:
    if _TOKEN.fullmatch(value) and "," not in value:
        return value
    return '"' + re.sub(r'(["\\])', r"\\\1", value) + '"'
